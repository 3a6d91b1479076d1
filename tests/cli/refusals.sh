# refusals.sh - what can be known at the start is refused at the start: nothing is measured (no
# stage is reported, nothing is left), and the message says what to do.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

# refused CODE WORDS ARGS...
refused() {
    wanted=$1 words=$2
    shift 2
    expect "$wanted" "$@"
    says err "$words"
    if grep -q -e 'MB in' -e 'is kept' err; then bad "ram $*: was refused after measuring"; else good; fi
    is "$(ls -d ./*partial* 2>/dev/null)" "" "what ram $* left"
}

# ---- outputs -----------------------------------------------------------------------------------
cp -r "$tiny" src
mkdir other holds holds/deep locked
cp -r "$tiny" holds/deep/src
echo x >other/notes
echo x >file
ln -s /nonexistent/zz dangling
ln -s src link
ln -s other to-other
before=$(cat src/* | cksum)
for out in other other/ ./other "$tmp/other" to-other file; do
    refused 2 'not a quantised model\|is a file' quantize src -o $out --force
done
for out in src src/ ./src "$tmp/src" link link/ src/../src other/../src; do
    refused 2 'is the source model; choose another -o' quantize src -o $out --force
    refused 2 'is the source model; choose another -o' quantize link -o $out
done
refused 2 'holds the source' quantize src -o . --force
refused 2 'holds the source' quantize src -o .. --force
refused 2 'holds the source' quantize holds/deep/src -o holds --force
refused 2 'lies inside the source model' quantize src -o src/out
refused 2 'lies inside the source model' quantize src -o link/out
refused 2 'does not exist' quantize src -o dangling
refused 2 'does not exist' quantize src -o dangling --force
refused 1 'no directory no to write it into' quantize src -o no/such
refused 1 'file' quantize src -o file/out
refused 2 'name of the output is empty' quantize src -o ''
is "$(cat src/* | cksum)" "$before" "the source"
# Weights that are links lead to where they are.
mkdir linked store && mv holds/deep/src/model.safetensors store && cp src/*.json linked &&
    ln -s ../store/model.safetensors linked/model.safetensors
echo '{"quantization": {}}' >store/config.json
refused 2 'holds the source' quantize linked -o store --force
present store/model.safetensors

# A link to an earlier result stays a link; what it leads to is replaced.
expect 0 quantize src -o real --method uniform -q
ln -s real to-real
expect 2 quantize src -o to-real --method uniform
expect 0 quantize src -o to-real --method uniform --bits 8 --force -q
[ -L to-real ] || bad "the link was replaced"
is "$("$JSON_GET" real/config.json quantization bits)" 8 "bits behind the link"
rm -r real to-real

# ---- files -------------------------------------------------------------------------------------
expect 0 analyze src -o m.json -q
refused 2 'is a directory' analyze src -o other --force
refused 2 'is a directory' allocate m.json -o other --force
refused 2 'does not exist' analyze src -o dangling --force
refused 1 'no directory' analyze src -o no/such.json
refused 2 'is what is being read' allocate m.json -o ./m.json --force
refused 2 'is what is being read' analyze src -o link/model.safetensors --force
refused 2 'is what is being read' analyze src -o src/config.json --force
refused 2 'is what is being read' synthesize src -o link/tokenizer.json --force

# ---- budgets -----------------------------------------------------------------------------------
refused 4 'its smallest plan takes [0-9]' quantize src -o q --bpw 1
refused 4 '6.00 kB is too small for this model; the minimum is 1[.0-9]* MB' quantize src -o q --size 6kB
refused 4 '8.00 MiB is too small: 6.00 MiB of it are usable; the KV cache of 100 tokens needs 250 KiB' \
    quantize src -o q --fit 8MiB --context 100
refused 4 'bytes-per-token: 6000 bytes are too few .* reads 1[0-9]* bytes a token' \
    quantize src -o q --bytes-per-token 6kB
refused 2 'nothing would be quantised' quantize src -o q --size 1GB
for option in --size --fit --bytes-per-token --max-memory --shard-size; do
    refused 2 "$option 6: 6 B is too small; did you mean $option 6GB?" quantize src -o q $option 6
done
refused 2 'did you mean --size 6GB' allocate m.json -o p.json --size 6
refused 2 'above 0' quantize src -o q --bpw 0

# ---- texts, architectures ----------------------------------------------------------------------
: >empty
head -c 400 "$RAM" >binary
refused 1 'nowhere.txt' quantize src -o q --calibration nowhere.txt
refused 3 'empty' quantize src -o q --calibration empty
refused 3 'binary' quantize src -o q --calibration binary
refused 2 'must be a file' quantize src -o q --calibration other
refused 2 'tokens; 32 are needed' quantize src -o q --effort fast --calibration file
refused 1 'nowhere.txt' analyze src -o a.json --probe --calibration nowhere.txt
refused 2 'must be a file' analyze src -o a.json --probe --calibration other
cp -r src odd
sed 's/"model_type": *"qwen3"/"model_type": "zamba"/; s/Qwen3ForCausalLM/ZambaForCausalLM/' \
    src/config.json >odd/config.json
refused 3 'zamba' quantize odd -o q --effort best
refused 3 'zamba' quantize odd -o q --encoder gptq
refused 3 'zamba' analyze odd -o a.json --probe

# ---- options that need, or exclude, another ----------------------------------------------------
refused 2 'tier needs --probe' analyze src -o a.json --tier kl
refused 2 'curves needs --probe' analyze src -o a.json --curves
refused 2 'calibration needs --probe' analyze src -o a.json --calibration file
refused 2 'size and --bpw exclude' quantize src -o q --size 3MB --bpw 4
refused 2 'size and --fit exclude' allocate m.json -o p.json --size 3MB --fit 16GB
refused 2 'bpw and --fit exclude' allocate m.json -o p.json --bpw 3 --fit 16GB
refused 2 'context needs --fit' quantize src -o q --context 100
refused 2 'bytes-per-token applies only to method budget' \
    allocate m.json -o p.json --method v1 --bytes-per-token 3MB
refused 2 'shows all sizes; leave out --bytes-per-token' allocate m.json --pareto --bytes-per-token 3MB
refused 2 'writes no plan; leave out -o' allocate m.json -o p.json --pareto
refused 2 'writes no plan; leave out -o' allocate m.json -o p.json --method all
refused 2 'shows all sizes; leave out --bpw' allocate m.json --pareto --bpw 4
refused 2 'bits needs --method uniform' quantize src -o q --bits 4
refused 2 't8 applies only to methods v1' quantize src -o q --t8 .5
refused 2 'expert-rule applies only' quantize src -o q --method uniform --expert-rule max
refused 2 'effort applies only to method budget' quantize src -o q --method v1 --effort fast
refused 2 'no-svd leaves out a metric' quantize src -o q --method v1 --no-svd
refused 2 'calibration has no effect' quantize src -o q --method v1 --calibration file
refused 2 'ram analyze' quantize src -o q --dry-run --keep-manifest
refused 2 'unknown encoder' allocate m.json -o p.json --bpw 4 --encoder magic
refused 2 'zzz' quantize src -o q --set 'zzz=4'
refused 2 'zzz' allocate m.json -o p.json --set 'zzz=4'
absent q p.json a.json

# What the manifest lacks is said.
expect 0 allocate m.json -o p.json --bpw 4.5
says err 'has no sensitivities.*--probe --curves'
finish

# remake.sh - the command in the card of a result makes the same files again, whatever the options;
# a card of an edited plan says so and names the plan.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

mkdir bin first again
ln -s "$RAM" bin/ram
PATH=$tmp/bin:$PATH
for d in first again; do
    ln -s "$tiny" "$d/tiny-qwen3"
    head -c 40000 "$tiny/tokenizer.json" >"$d/it's text.txt"
done

# The commands of made/README.md.
commands() { awk '/^## How to run/ { exit } /^```/ { inside = !inside; next } inside' "$1/made/README.md"; }

# remakes ARGS...: quantize with them, and the same tree from the command in its card.
remakes() {
    rm -rf first/made again/made
    if (cd first && ram quantize tiny-qwen3 -o made -q "$@") 2>err; then good; else
        bad "quantize $*: $(cat err)"
        return
    fi
    commands first >script
    if (cd again && sh -e ../script) >log 2>&1; then good; else bad "$(cat script): $(cat log)"; fi
    same_trees first/made again/made "$(cat script), after quantize $*"
}

remakes --method auto
remakes --method v2 --t2 off --t8 0.6 --t16 0.875 --set 'down_proj=6g64' --set "it's|up_proj=5" \
    --weights svd=.3,error=.7 --expert-rule max --profile cpu --shard-size 900kB
remakes --method v1 --search --protect 'embed' --protect 'k_proj' --sensitive 'v_proj' --seed 7 \
    --output-probes 8 --keep-manifest
remakes --method uniform --bits 3 --group 64 --keep-embeddings --encoder search --no-svd
remakes --effort fast
remakes --effort fast --size 3MB --bytes-per-token 2.6MB --seed 3 --sensitive 'o_proj' --keep-manifest
remakes --effort fast --fit 92MiB --context 100 --encoder rtn
remakes --effort fast --bpw 4.3 --calibration "it's text.txt"
# The self-check may take a uniform width instead; the command then does the same.
remakes --effort fast --bpw 16 --encoder rtn

# Stage by stage, and with another encoder than the plan was made for.
mkdir first/stages
(cd first && rm -rf made && ram analyze tiny-qwen3 -o stages/m.json --probe --tier local -q &&
    ram allocate stages/m.json -o stages/p.json --bpw 4.25 -q &&
    ram convert tiny-qwen3 --plan stages/p.json -o made -q) || bad "the stages failed"
commands first >script
is "$(wc -l <script | tr -d ' ')" 3 "commands in the card of the stages"
rm -rf again/made
(cd again && sh -e ../script) >log 2>&1 || bad "$(cat script): $(cat log)"
same_trees first/made again/made "the stages"
is "$("$JSON_GET" first/made/ram.json settings encoder)" search "the encoder of a probed plan"
rm -rf first/made
expect 0 quantize "$tiny" -o first/made --effort fast --bpw 4.25 -q
cmp first/made/model.safetensors again/made/model.safetensors || bad "stages and quantize differ"

# What data was used is said, and only then.
expect 0 quantize "$tiny" -o text --effort fast --calibration "first/it's text.txt"
sum=$(sha256sum "first/it's text.txt" 2>/dev/null || shasum -a 256 "first/it's text.txt")
grep -q "\`it's text.txt\` (40000 bytes, SHA-256 \`${sum%% *}\`)" text/README.md ||
    bad "the card does not name the calibration text"
grep -q 'no calibration data' text/README.md && bad "the card denies the calibration text"
is "$("$JSON_GET" text/ram.json settings calibration sha256)" "${sum%% *}" "the text in ram.json"
says err "it's text.txt (40000 bytes, SHA-256 ${sum%% *})"
grep -q 'no calibration data was used' first/made/README.md || bad "the card names no lack of data"

# An edited plan.
(cd first && sed 's/\("name": "model.layers.1.mlp.up_proj.weight".*\)"bits": [0-9]*, "group": [0-9]*/\1"bits": 8, "group": 32/' \
    stages/p.json >plan.json && rm -rf made && ram convert tiny-qwen3 --plan plan.json -o made -q)
grep -q 'edited by hand' first/made/README.md || bad "the card does not say that its plan was edited"
commands first >script
cp first/plan.json again/plan.json
rm -rf again/made
(cd again && sh -e ../script) >log 2>&1 || bad "$(cat script): $(cat log)"
same_trees first/made again/made "an edited plan"
finish

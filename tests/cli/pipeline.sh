# pipeline.sh - each stage on the shipped model, in every form, and what is and is not overwritten.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

expect 0 inspect "$tiny"
says out Qwen3ForCausalLM
silent err
expect 0 inspect "$tiny" --tensors
says out 'model.layers.4.mlp.down_proj.weight'
expect 0 inspect "$tiny" --json
json out
expect 0 inspect "$tiny" --tensors --json
json out

expect 0 analyze "$tiny" -o m.json
present m.json
absent m.json.ram-partial
is "$("$JSON_GET" m.json schema)" ram.manifest/1 "schema of the manifest"
is "$("$JSON_GET" m.json model parameters)" 4984192 "parameters"
cp m.json first.json
expect 2 analyze "$tiny" -o m.json
says err 'm.json: exists; --force replaces it'
expect 0 analyze "$tiny" -o m.json --force --json
json out
same m.json first.json "a second analysis"
expect 0 analyze "$tiny" -o quiet.json -q
silent out
silent err
same quiet.json first.json "an analysis with -q"

for method in uniform v1 v2 v3 v2-opt v3-opt auto; do
    expect 0 allocate m.json -o "$method.json" --method "$method"
    is "$("$JSON_GET" "$method.json" schema)" ram.plan/1 "schema of the plan $method"
    expect 0 allocate m.json -o again.json --force --method "$method" --json
    json out
    same "$method.json" again.json "plan $method, written twice"
done
expect 2 allocate m.json -o v1.json --method v1
expect 2 allocate m.json -o x.json --method v9
expect 2 allocate m.json -o x.json --set 'down_proj'
expect 2 allocate m.json -o x.json --set '(=4'
expect 2 allocate m.json -o x.json --protect '['
expect 2 allocate m.json -o x.json --expert-rule median
expect 2 allocate m.json -o x.json --method uniform --bits 7
absent x.json

expect 0 allocate m.json -o set.json --method v1 --set 'down_proj=6g64' --set 'up_proj=3g32'
i=0 seen=0
while unit=$("$JSON_GET" set.json units $i name 2>/dev/null); do
    case $unit in
    *down_proj*) want="6 64 user" seen=$((seen + 1)) ;;
    *up_proj*) want="3 32 user" seen=$((seen + 1)) ;;
    *) want= ;;
    esac
    [ -z "$want" ] || is "$("$JSON_GET" set.json units $i bits) $("$JSON_GET" set.json units $i group) $("$JSON_GET" set.json units $i reason)" "$want" "$unit"
    i=$((i + 1))
done
is $seen 10 "units that --set named"

expect 0 allocate m.json --method all
for method in uniform v1 v2 v3 v2-opt v3-opt; do
    says out "$method"
done
says out 'KL:.* unknown'
expect 0 allocate m.json --method all --json
json out
is "$("$JSON_GET" out methods 0 predicted_kld)" null "a divergence that was not predicted"
absent all.json

expect 0 convert "$tiny" --plan auto.json -o dir --dry-run
says out model.safetensors
absent dir
expect 0 convert "$tiny" --plan auto.json -o dir
present dir/config.json dir/model.safetensors dir/ram.json dir/README.md dir/tokenizer.json
expect 0 inspect dir
says out 'parameters *4,984,192 ' # what the codes stand for, as of the source
says out 'coding *MLX affine'
says out 'It cannot be converted: its weights are MLX codes already'
expect 0 inspect "$tiny"
says out 'parameters *4,984,192 '
if grep -q -e measured -e coding "$tmp/out"; then bad "a survey speaks of what it has not"; else good; fi
json dir/config.json quantization
json dir/ram.json
expect 2 convert "$tiny" --plan auto.json -o dir
says err 'exists; --force replaces it'
expect 0 convert "$tiny" --plan auto.json -o dir --force --json
json out
mkdir elsewhere # the model card names the directory
expect 0 convert "$tiny" --plan auto.json -o elsewhere/dir --markdown
same_trees dir elsewhere/dir "two conversions"
# The bytes promised are the bytes written.
promised=$("$JSON_GET" auto.json summary bytes)
header=$(od -An -t u8 -N 8 dir/model.safetensors | tr -d ' ')
is $(($(wc -c <dir/model.safetensors) - header - 8)) "$promised" "bytes of the weights"

expect 0 verify dir
expect 0 verify dir --plan auto.json --against "$tiny"
expect 0 verify dir --plan auto.json --json
json out
expect 5 verify dir --plan uniform.json
expect 5 verify dir --plan v1.json --against "$tiny"

# What makes no sense is refused before anything is measured.
for mistake in '--method v9' '--encoder none' '--format none' '--set (=4' '--protect [' '--bits 3' \
    '--method v1 --size 3MB' '--expert-rule median' '--method v1 --effort fast' '--effort slow'; do
    expect 2 quantize "$tiny" -o q $mistake
    absent q q.ram-partial
done
# A dry run leaves what it measured for the run that writes.
expect 0 quantize "$tiny" -o q --method auto --dry-run
says out 'with --resume instead of'
absent q
present q.ram-partial/log
expect 0 quantize "$tiny" -o q --method auto --resume
is "$(tail -n 1 out)" 'mlx_lm.generate --model q --prompt "The history of"' "the last line"
cmp q/model.safetensors dir/model.safetensors || bad "quantize and the single stages differ"
absent q.ram-partial q/ram-manifest.json
expect 2 quantize "$tiny" -o q
expect 0 quantize "$tiny" -o q --method auto --force --json --keep-manifest
json out directory
json out plan
json out verify
same q/ram-manifest.json m.json "the manifest that quantize kept"
expect 0 quantize "$tiny" -o "it's here" --method uniform --bits 6 --group 64 -q
silent out
silent err
expect 0 quantize "$tiny" -o "it's here" --method uniform --bits 6 --group 64 --force
is "$(tail -n 1 out)" "mlx_lm.generate --model 'it'\\''s here' --prompt \"The history of\"" "quoted"

# Budgets that cannot be met, and that can.
expect 4 allocate m.json -o small.json --size 1MB
says err '[0-9]'
expect 4 quantize "$tiny" -o small --bpw 1
absent small small.json
expect 0 quantize "$tiny" -o small --size 3MB --effort fast --json --keep-manifest
[ "$(cat small/*.safetensors | wc -c)" -le 3000000 ] || bad "more than 3 MB of weight files"
is "$("$JSON_GET" out self_check fell_back)" false "whether a budget fell back"
is "$("$JSON_GET" out self_check tokens)" 256 "unseen tokens"
is "$("$JSON_GET" out self_check sequences)" 8 "their sequences"
for figure in kld_error kld_uniform_error difference_error; do
    case $("$JSON_GET" out self_check $figure) in
    0.*) good ;;
    *) bad "self_check has no $figure" ;;
    esac
done
# The stages are counted, in plain words.
says err '\[1/7\] measuring the weights: '
says err '\[2/7\] generating sample text: '
says err '\[7/7\] comparing with the original on unseen text: '
kept=small/ram-manifest.json
expect 0 allocate $kept -o small.json --size 3MB --encoder search
expect 0 convert "$tiny" --plan small.json -o anew --encoder search
cmp small/model.safetensors anew/model.safetensors || bad "a kept manifest gives another budget"
# Without a size: 4.5 bits a weight of all 4,984,192.
expect 0 quantize "$tiny" -o usual --effort normal
says out "^Estimate on the model's own text, 2048 unseen tokens: KL divergence"
says out '^[0-9.e-]* ([0-9.e-]* to [0-9.e-]*) nats/token, predicted '
is "$(grep -c "^Estimated on the model's own text, 2,048 tokens" usual/README.md)" 1 "estimates of the card"
says out '^Plain .* of this size: [0-9.e-]* ([0-9.e-]* to [0-9.e-]*), .* worse'
[ "$(cat usual/*.safetensors | wc -c)" -le 2803608 ] || bad "more than 4.5 bits a weight"
expect 0 verify usual --against "$tiny"
# Every width of the family fits, and costs less the more it takes.
expect 0 allocate $kept --method budget --pareto --json
json out 0 kld
json out 5 kld_uniform
json out 5 uniform
expect 0 allocate $kept --pareto
says out 'best uniform'
says out ' [3-8]-bit g128 '
# Every method has a prediction, for the same encoder.
expect 0 allocate $kept --method all
says out 'KL: predicted .* nats/token'
says out 'with encoder'
expect 0 allocate $kept --method all --json
for i in 0 1 2 3 4 5 6 7; do
    case $("$JSON_GET" out methods $i predicted_kld) in
    0.*) good ;;
    *) bad "method $i has no predicted divergence" ;;
    esac
done
expect 2 allocate $kept --method v1 --pareto
# A plan that a person edited.
sed 's/\("name": "model.layers.1.mlp.up_proj.weight".*\)"bits": [0-9]*, "group": [0-9]*/\1"bits": 8, "group": 32/' \
    small.json >edited.json
expect 0 convert "$tiny" --plan edited.json -o edited --encoder search
expect 0 verify edited --plan edited.json --against "$tiny"
cmp -s edited/model.safetensors anew/model.safetensors && bad "an edited plan changed nothing"
expect 2 allocate m.json -o x.json --method v1 --size 3MB

# What a model says is a JSON string, whatever it is.
expect 0 generate "$tiny" --prompt 'say "this"' --max-tokens 3 --temperature 1 --json
json out text
is "$("$JSON_GET" out prompt)" 'say "this"' "the prompt in JSON"

# The library does what the command does.
mkdir library
"$EXAMPLE" "$tiny" library/usual fast >out 2>err
is $? 0 "exit code of examples/quantize.c"
expect 0 quantize "$tiny" -o usual --effort fast --force -q
same_trees library/usual usual "what the library and the command wrote"
finish

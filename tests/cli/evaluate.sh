# evaluate.sh - scores, comparisons, generation and budgets, on the shipped model and, where they
# are, the shared ones. The text is this project's own documentation.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

cat "$RAM_SOURCE"/README.md "$RAM_SOURCE"/ARCHITECTURE.md "$RAM_SOURCE"/CONTRIBUTING.md >text
score() { expect 0 evaluate "$@" --task text --data text --seq-len 256 --precision f32; }
result() { "$JSON_GET" "$1" results "$2"; }

score "$tiny" -o one.json --threads 1
says out 'PPL  *mean'
is "$("$JSON_GET" one.json schema)" ram.score/1 "schema of the score"
for threads in 2 7; do
    score "$tiny" -o "$threads.json" --threads $threads
    is "$(result "$threads.json" nll)" "$(result one.json nll)" "NLL with $threads threads"
done
expect 2 evaluate "$tiny" --task text --data text -o one.json
says err 'one.json: exists'
expect 2 evaluate "$tiny" --task nonsense --data text
says err 'there are: '
expect 1 evaluate "$tiny" --task text --data absent
head -c 100 text >short
expect 3 evaluate "$tiny" --task text --data short
says err 'a window needs'

# Kept at 16 bits, a model is itself in another container: stacked experts, split projections.
models=$tiny
for name in ref-qwen3-moe ref-glm4-moe-lite; do
    if [ -d "$shared/models/$name" ]; then models="$models $shared/models/$name"; fi
done
for model in $models; do
    name=$(basename "$model")
    expect 0 quantize "$model" -o "$name-16" --method uniform --bits 16 -q
    score "$name-16" --reference "$model" -o "$name-16.json"
    is "$(result "$name-16.json" kld_mean)" 0.0 "divergence of $name at 16 bits"
    is "$(result "$name-16.json" top1_agreement)" 1.0 "agreement of $name at 16 bits"
done

# A budget is a bound on the file, and buys more than round numbers do.
expect 0 analyze "$tiny" -o m.json --probe -q
expect 0 allocate m.json -o budget.json --bpw 4.25 --encoder search -q
expect 0 convert "$tiny" --plan budget.json -o budget --encoder search -q
expect 0 allocate m.json -o uniform.json --method uniform --bits 4 --group 128 -q
expect 0 convert "$tiny" --plan uniform.json -o uniform -q
bytes=$(wc -c <budget/model.safetensors) most=$((4984192 * 425 / 800))
if [ "$bytes" -le $most ] && [ "$bytes" -ge $((most * 998 / 1000)) ]; then
    good
else
    bad "a budget of $most bytes gave $bytes"
fi
score budget --reference "$tiny" -o budget-score.json
score uniform --reference "$tiny" -o uniform-score.json
if awk "BEGIN { exit !(2 * $(result budget-score.json kld_mean) < $(result uniform-score.json kld_mean)) }"; then
    good
else
    bad "KLD $(result budget-score.json kld_mean) with a budget, $(result uniform-score.json kld_mean) uniform"
fi
expect 4 allocate m.json -o small.json --size 100KiB
says err 'its smallest plan takes'
absent small.json
expect 0 allocate m.json -o large.json --size 1GiB -q
is "$("$JSON_GET" large.json summary effective_bits)" 16.0 "bits of a budget without bounds"
expect 2 allocate m.json -o x.json --method v1 --bpw 4
expect 0 allocate m.json -o fit.json --fit 1GiB --context 4096 -q
is "$("$JSON_GET" fit.json settings fit_keys_values)" 10485760 "bytes of keys and values"

expect 0 compare one.json uniform-score.json budget-score.json
says out 'change %'
expect 0 compare one.json budget-score.json --json
json out scores 1 ppl_change
expect 0 compare one.json budget-score.json --markdown
expect 3 compare m.json

expect 0 generate "$tiny" --prompt 'The history of' --max-tokens 12
says out '^The history of .'
cp out first
expect 0 generate "$tiny" --prompt 'The history of' --max-tokens 12 --threads 1
same out first "generation with one thread"
expect 0 generate "$tiny" --prompt 'The history of' --max-tokens 12 --temperature 1 --seed 7
finish

# evaluate.sh - scores, comparisons, generation and budgets, on the shipped model and on mixtures of
# experts. The text is this project's own documentation.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

cat "$RAM_SOURCE"/README.md "$RAM_SOURCE"/ARCHITECTURE.md "$RAM_SOURCE"/CONTRIBUTING.md >text
score() { expect 0 evaluate "$@" --task text --data text --seq-len 256 --precision f32; }
result() { "$JSON_GET" "$1" results "$2"; }

score "$tiny" -o one.json --threads 1
says out 'PPL  *mean'
is "$("$JSON_GET" one.json schema)" ram.score/1 "schema of the score"
score "$tiny" --limit 3 --log-samples windows.log -q
is "$(wc -l <windows.log)" 3 "lines of samples"
sed -n 2p windows.log >window.json
is "$("$JSON_GET" window.json window)" 1 "index of the second window"
json window.json nll 254
expect 2 evaluate "$tiny" --task text --data text --log-samples windows.log
says err 'windows.log: exists'
timeless() { grep -vE '"(seconds|tokens_per_second|peak_memory_bytes|threads)":' "$1"; }
timeless one.json >one
expect 0 evaluate "$tiny" --reference "$tiny" --task text --data text --threads 1 -o both.json -q
timeless both.json >both
for threads in 2 7; do
    score "$tiny" -o "$threads.json" --threads $threads
    timeless "$threads.json" >many
    same one many "all but times, in f32 with $threads threads"
    expect 0 evaluate "$tiny" --reference "$tiny" --task text --data text --threads $threads \
        -o "both-$threads.json" -q
    timeless "both-$threads.json" >many
    same both many "all but times, of two models in bf16 with $threads threads"
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
find_model ref-qwen3-moe
sparse=$model
find_model ref-glm4-moe-lite
for model in "$tiny" "$sparse" "$model"; do
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
says out '^|.*change %'
expect 0 compare one.json budget-score.json uniform-score.json --csv
is "$(wc -l <out)" 4 "lines of CSV"
says out '^budget,[0-9]*,[0-9.]*,[0-9.]*,'
expect 2 compare one.json --csv --json
expect 0 evaluate "$tiny" --task text --data text --seq-len 128 --precision f32 -o other.json
expect 0 compare one.json other.json
says out 'different settings (seq_len 128, not 256); not compared'
expect 3 compare m.json

# Questions: three forms of the same, examples, a limit, and what must be given.
options='"choices": {"text": ["one", "another thing"], "label": ["A", "B"]}'
question="{\"question\": \"What is %s?\", $options, \"answerKey\": \"%s\"}"
options='"choices": ["one", "another thing"]'
ready="{\"query\": \"Question: What is %s?\\\\nAnswer:\", $options, \"gold\": %s}"
for i in 1 2 3 4 5 6; do
    printf "$question\\n" $i A $i$i B
done >arc.jsonl
for i in 1 2 3 4 5 6; do
    printf "$ready\\n" $i 0 $i$i 1
done >ready.jsonl
choose() { expect 0 evaluate "$tiny" --task arc_challenge --precision f32 --shots 3 "$@"; }
choose --data arc.jsonl --fewshot-data arc.jsonl -o arc.json --log-samples arc.log
says out 'documents *12'
is "$(wc -l <arc.log)" 12 "lines of samples"
is "$(result arc.json documents)" 12 "documents"
is "$("$JSON_GET" arc.json settings fewshot_seed)" 1234 "seed of the examples"
if [ "$(result arc.json tokens_computed)" -lt "$(result arc.json tokens_asked)" ]; then
    good
else
    bad "the choices share nothing"
fi
choose --data ready.jsonl --fewshot-data ready.jsonl --log-samples ready.log --threads 1
same arc.log ready.log "two forms of the same questions"
choose --data arc.jsonl --fewshot-data ready.jsonl --limit 5 --log-samples limit.log --threads 7
head -5 arc.log >first
same first limit.log "the first questions of a run"
expect 2 evaluate "$tiny" --task arc_challenge --data arc.jsonl
says err '--fewshot-data FILE'
expect 2 evaluate "$tiny" --task arc_challenge --data arc.jsonl --shots 0 --log-samples arc.log
says err 'arc.log: exists'
expect 2 evaluate "$tiny" --task arc_challenge --data arc.jsonl --shots 0 --reference "$tiny"
says err 'takes no reference'
choose --data arc.jsonl --fewshot-data arc.jsonl -o again.json
expect 0 compare arc.json again.json
says out '0 questions lost, 0 won'
# One row for a model with all its tasks.
expect 0 compare one.json arc.json uniform-score.json
is "$(grep -c '^  tiny-qwen3 ' out)" 1 "rows of a model with two tasks"
says out '^arc_challenge: only tiny-qwen3 has a score of it'
says out 'What the columns mean'

i=0
while [ $i -lt 12 ]; do
    printf 'Cooking: A cook has %d eggs. he\n%d\nbreaks one.\nsings [x] loud.\nruns.\ncooks.\n' \
        $i $((i % 4))
    i=$((i + 1))
done >six.txt
expect 0 evaluate "$tiny" --task hellaswag --data six.txt --fewshot-data six.txt -o six.json
is "$("$JSON_GET" six.json settings shots)" 10 "examples of HellaSwag"
expect 0 evaluate "$tiny" --task hellaswag --data six.txt --shots 0
expect 3 evaluate "$tiny" --task hellaswag --data arc.jsonl --shots 0
says err 'arc.jsonl: line 1: .*not HellaSwag'
head -7 six.txt >short.txt
expect 3 evaluate "$tiny" --task hellaswag --data short.txt --shots 0
says err 'inside a question'

expect 0 generate "$tiny" --prompt 'The history of' --max-tokens 12
says out '^The history of .'
cp out first
expect 0 generate "$tiny" --prompt 'The history of' --max-tokens 12 --threads 1
same out first "generation with one thread"
expect 0 generate "$tiny" --prompt 'The history of' --max-tokens 12 --temperature 1 --seed 7
# A text also ends at eos_token_id of generation_config.json: here at " century" (952).
cp -r "$tiny" ends
printf '{"eos_token_id": [4095, 952]}' >ends/generation_config.json
expect 0 generate ends --prompt 'The history of' --max-tokens 12
is "$(cat out)" 'The history of the 19th' "the text before the token of generation_config.json"
printf '{"eos_token_id": ' >ends/generation_config.json
expect 0 generate ends --prompt 'The history of' --max-tokens 12
same out first "a generation_config.json that cannot be read does not count"
finish

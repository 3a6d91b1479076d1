# schema.sh - the JSON of every verb and every record is as docs/schema says, and docs/formats.md
# names every schema.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"
: "${JSON_SCHEMA:?the checker of schemas}"
schemas=$RAM_SOURCE/docs/schema

# as SCHEMA FILE [-l]
as() {
    if "$JSON_SCHEMA" $3 "$schemas/$1.json" "$2" 2>differences; then
        good
    else
        bad "$2 is not as docs/schema/$1.json says: $(head -5 differences)"
    fi
}
head -c 4000 "$RAM_SOURCE/ARCHITECTURE.md" >text

expect 0 inspect "$tiny" --json
as inspect out
expect 0 inspect "$tiny" --json --tensors
as inspect out
expect 0 analyze "$tiny" -o m.json --probe --curves --json
as inspect out
as manifest m.json
expect 0 analyze "$tiny" -o plain.json -q
as manifest plain.json
for method in uniform v1 v3-opt auto budget; do
    expect 0 allocate m.json -o $method.json --method $method --json -v
    as allocate out
    as plan $method.json
done
expect 0 allocate plain.json -o weights.json --method budget --json
as allocate out
as plan weights.json
expect 0 allocate plain.json -o search.json --method v2 --search --set 'down_proj=6g64' --json
as plan search.json
expect 0 allocate m.json -o fit.json --fit 1GiB --json
as plan fit.json
expect 0 allocate m.json --method all --json
as methods out
expect 0 allocate m.json --pareto --json
as pareto out
expect 0 convert "$tiny" --plan v1.json -o dir --dry-run --json
as convert out
expect 0 convert "$tiny" --plan v1.json -o dir --json
as convert out
as converted dir/ram.json
expect 0 verify dir --json
as verify out
expect 0 verify dir --against "$tiny" --plan v1.json --json
as verify out
expect 5 verify dir --plan uniform.json --json
as verify out
expect 0 quantize "$tiny" -o q --size 3MB --effort fast --keep-manifest --json
as quantize out
as converted q/ram.json
as manifest q/ram-manifest.json
expect 0 quantize "$tiny" -o none --method auto --dry-run --json
as quantize out
expect 0 evaluate dir --task text --data text --seq-len 64 --limit 3 --reference "$tiny" \
    --json --log-samples windows -o one.json
as score out
as score one.json
as sample-window windows -l
expect 0 evaluate "$tiny" --task text --data text --seq-len 64 --limit 3 --json -o two.json
as score out
cat >asked <<'END'
{"query": "One and one is", "choices": ["two", "three"], "gold": 0}
{"query": "The sea is", "choices": ["wide", "a tin"], "gold": 0}
END
expect 0 evaluate "$tiny" --task arc_challenge --data asked --fewshot-data asked --shots 1 --json \
    --log-samples questions -o three.json
as score out
as sample-question questions -l
expect 0 evaluate dir --task arc_challenge --data asked --fewshot-data asked --shots 1 -o four.json -q
expect 0 compare two.json one.json three.json four.json --json
as compare out
expect 0 tokenize "$tiny" text --json
as tokenize out
expect 0 tokenize "$tiny" text --json --count
as tokenize out
expect 0 synthesize "$tiny" --sequences 2 --length 8 --json
as synthesize out
expect 0 synthesize "$tiny" --sequences 2 --length 8 --json --ids
as synthesize out
expect 0 generate "$tiny" --prompt 'The "sea"' --max-tokens 3 --json
as generate out

# The checker finds what is wrong, and no schema says more than it checks.
wrong() {
    if "$JSON_SCHEMA" "$schemas/$1.json" "$2" 2>differences; then
        bad "$3 passes docs/schema/$1.json"
    elif grep -q "$4" differences; then
        good
    else
        bad "$3: $(cat differences)"
    fi
}
sed 's/"bits": 4/"bits": 7/' v1.json >changed
wrong plan changed "a width that does not exist" 'bits: is none of the values'
sed 's/"reason": /"why": /' v1.json >changed
wrong plan changed "a key of another name" 'reason: is missing'
sed 's/"manifest": "./"manifest": "X/' v1.json >changed
wrong plan changed "a digest that is none" 'manifest: does not match'
sed 's/"layer": 0/"layer": -1/' v1.json >changed
wrong plan changed "a layer below 0" 'layer: is too small'
sed 's/"role": "embed"/"role": 3/' v1.json >changed
wrong plan changed "a number for a string" 'role: has another type'
wrong manifest v1.json "a plan" 'schema: is not the one value'
wrong converted v1.json "a plan" 'plan: is missing'
for file in "$schemas"/*.json; do
    name=$(basename "$file")
    if grep -q "$name" "$RAM_SOURCE/docs/formats.md"; then good; else bad "docs/formats.md lacks $name"; fi
    "$JSON_SCHEMA" "$file" two.json 2>differences
    is "$?$(grep 'bad schema' differences)" "$([ "$name" = score.json ] || [ "$name" = common.json ]; echo $?)" "$name"
done
finish

# broken.sh - bad input: the exit code, and a message that names the file and the tensor.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

# A fresh copy of the model to break.
fresh() { rm -rf m && cp -r "$tiny" m && chmod -R u+w m; }
# poke FILE OFFSET BYTES: overwrites bytes, given as printf escapes.
poke() { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null; }

expect 1 inspect ./nowhere
says err nowhere
expect 1 analyze ./nowhere -o m.json
HF_HUB_CACHE=$tmp/hub expect 1 inspect nobody/nothing
says err 'download nobody/nothing'

fresh
weights=m/model.safetensors size=$(wc -c <m/model.safetensors)
for keep in 0 7 8 100 $((size / 2)) $((size - 1)); do
    fresh
    head -c "$keep" "$tiny/model.safetensors" >$weights
    expect 3 inspect m
    says err model.safetensors
done
fresh
printf 'x' >>$weights # a byte too many
expect 3 inspect m
poke $weights 0 '\377\377\377\377\377\377\377\377'
expect 3 inspect m
fresh
poke $weights 7 '\001'
expect 3 inspect m
fresh
poke $weights 8 '}'
expect 3 inspect m
fresh
printf '\001\000\000\000\000\000\000\000{' >$weights
expect 3 inspect m

fresh
rm m/config.json
expect 3 inspect m
says err config.json
for text in '' '{' '[]' '{"model_type": "a",}' '{} {}'; do
    fresh
    printf '%s' "$text" >m/config.json
    expect 3 inspect m
    says err config.json
done
fresh
rm $weights
expect 3 inspect m
mkdir $weights
expect 1 inspect m
says err 'not a regular file'

# A shard that the index names and the directory lacks.
fresh
mv $weights m/model-00001-of-00002.safetensors
cat >m/model.safetensors.index.json <<END
{"metadata": {}, "weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors"}}
END
expect 3 inspect m
says err model-00002-of-00002.safetensors

# NaN and infinity in a matrix: named and refused. The file's middle lies in a layer's matrix.
for bits in '\300\177' '\200\177'; do
    fresh
    poke $weights $((size / 4 * 2)) "$bits"
    expect 3 analyze m -o m.json
    says err 'weight'
    absent m.json
    expect 3 quantize m -o q
    absent q
done

# An architecture that nobody knows: everything but convert.
fresh
sed 's/"qwen3"/"enigma"/; s/Qwen3ForCausalLM/EnigmaForCausalLM/' "$tiny/config.json" >m/config.json
expect 0 inspect m
expect 0 analyze m -o enigma.json
expect 0 allocate enigma.json -o enigma-plan.json
expect 3 convert m --plan enigma-plan.json -o q
says err enigma
absent q

# Records.
expect 0 analyze "$tiny" -o good.json
expect 0 allocate good.json -o plan.json
for text in '' '{' '[]' '{}' '{"schema": "ram.manifest/2"}' '{"schema": "ram.plan/1"}'; do
    printf '%s' "$text" >bad.json
    expect 3 allocate bad.json -o p.json
    says err bad.json
    expect 3 convert "$tiny" --plan bad.json -o q
    says err bad.json
done
head -c 2000 good.json >bad.json
expect 3 allocate bad.json -o p.json
expect 3 allocate plan.json -o p.json # a plan is not a manifest
expect 3 convert "$tiny" --plan good.json -o q
expect 1 allocate nowhere.json -o p.json
sed 's/"bits": *4/"bits": 7/' plan.json >bad.json
expect 3 convert "$tiny" --plan bad.json -o q
sed 's/"group": *128/"group": 100/' plan.json >bad.json
expect 3 convert "$tiny" --plan bad.json -o q
sed 's/layers\.3\.mlp\.up_proj/layers.3.mlp.side_proj/' plan.json >bad.json
expect 3 convert "$tiny" --plan bad.json -o q
says err up_proj
absent p.json q

# What was written and then damaged.
expect 0 convert "$tiny" --plan plan.json -o q
cp -r q q2
poke q2/model.safetensors $(($(wc -c <q/model.safetensors) / 2)) '\125\252\125\252'
expect 5 verify q2 --against "$tiny"
says out differs
head -c 100000 q/model.safetensors >q2/model.safetensors
expect 3 verify q2
cp q/model.safetensors q2/
sed 's/"bits": *4/"bits": 8/' q/config.json >q2/config.json
expect 5 verify q2
rm q2/config.json
expect 3 verify q2
expect 1 verify ./nowhere
finish

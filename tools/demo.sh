#!/bin/sh
# demo.sh RAM DIR - quantises the model that comes with the sources into DIR, and compares the result
# with plain 4 bits and with the published methods.
set -eu
ram=$1 out=$2
root=$(dirname "$0")/..
model=$root/examples/tiny-qwen3
shared=${RAM_SHARED:-$root/../shared}
work=$out-compared

mkdir -p "$(dirname "$out")"
rm -rf "$work"
mkdir -p "$work"
echo "\$ $ram quantize examples/tiny-qwen3 -o $out --keep-manifest"
echo
"$ram" quantize "$model" -o "$out" --keep-manifest --force
cat <<END

(mlx_lm is a Python package: pip install "mlx-lm". It runs on Macs, and on Linux with mlx[cpu].)

The same model at other sizes and by other methods, each evaluated on a text against the original:
perplexity, and KL divergence in nats per token.

END

# The documentation of this program: English that the model never saw.
text=$work/text score_options="--task text --seq-len 256"
cat "$root"/README.md "$root"/ARCHITECTURE.md "$root"/docs/*.md >"$text"
if [ -r "$shared/data/wikitext2/wiki.test.raw" ]; then
    text=$shared/data/wikitext2/wiki.test.raw score_options="--task wikitext --seq-len 512 --limit 32"
fi

# score NAME DIR
score() {
    # shellcheck disable=SC2086
    "$ram" evaluate "$2" $score_options --data "$text" --reference "$model" -q --force \
        -o "$work/$1.json"
}

# method NAME ALLOCATE-OPTIONS: from the manifest that was kept
method() {
    name=$1
    shift
    "$ram" allocate "$out/ram-manifest.json" -o "$work/$name.plan" -q "$@"
    "$ram" convert "$model" --plan "$work/$name.plan" -o "$work/$name" -q
    score "$name" "$work/$name"
}

bytes_of() { cat "$1"/*.safetensors | wc -c | tr -d ' '; }

score bf16 "$model"
method uniform-4bit --method uniform --bits 4 --group 64
method v1 --method v1
method v2 --method v2
method v3-opt --method v3-opt
score budget-4.5-bits "$out"
for rival in uniform-4bit v3-opt; do
    "$ram" quantize "$model" -o "$work/budget-as-$rival" --size "$(bytes_of "$work/$rival")" -q
    score "budget-as-$rival" "$work/budget-as-$rival"
done

cd "$work"
set -- bf16.json v1.json v2.json v3-opt.json budget-as-v3-opt.json uniform-4bit.json \
    budget-as-uniform-4bit.json budget-4.5-bits.json
echo "\$ cd $work && ram compare $*"
echo
case $ram in
/*) ;;
*) ram=$OLDPWD/$ram ;;
esac
"$ram" compare "$@"
cat <<END

budget-as-X takes at most as many bytes as X. To see the plans of all sizes, from the kept manifest:
ram allocate $out/ram-manifest.json --method budget --pareto --encoder gptq
The result is in $out:
END
cd "$OLDPWD"
ls -l "$out" | awk 'NR > 1 { printf "  %10d  %s\n", $5, $9 }'

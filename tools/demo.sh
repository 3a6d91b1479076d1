#!/bin/sh
# demo.sh RAM DIR - the main job on the model that ships with the sources, into DIR.
set -eu
ram=$1 out=$2
model=$(dirname "$0")/../examples/tiny-qwen3

mkdir -p "$(dirname "$out")"
echo "\$ $ram quantize examples/tiny-qwen3 -o $out --keep-manifest"
echo
"$ram" quantize "$model" -o "$out" --keep-manifest --force
cat <<END

(mlx_lm is a Python package: pip install "mlx-lm". It runs on Macs, and on Linux with mlx[cpu].)

What every method would have made of this model, from the manifest that was kept:

\$ $ram allocate $out/ram-manifest.json --method all

END
"$ram" allocate "$out/ram-manifest.json" --method all
echo
echo "The result lies in $out:"
ls -l "$out" | awk 'NR > 1 { printf "  %10d  %s\n", $5, $9 }'

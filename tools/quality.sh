#!/bin/sh
# quality.sh - measures the budget method: KLD at equal bytes against uniform widths, the published
# methods and stock mlx_lm, and what each of its steps contributes. docs/notebook.md has the result.
#
# usage: quality.sh RAM OUT [MODEL ...]
# Writes OUT/quality.md and OUT/quality.json; what was measured before is read from OUT/cache.
# RAM_SHARED: where models and texts are (default ../shared). RAM_VENV: a Python environment with
# mlx_lm (default build/interop-venv, which `make interop` makes); without it the rivals are left
# out. RAM_PARTS: uniform,budget,rivals,text,encoders,ladder,shuffled or fewer.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
ram=$1 out=$2
shift 2
shared=${RAM_SHARED:-$root/../shared}
python=${RAM_VENV:-$root/build/interop-venv}/bin/python

[ -e "$shared/data/wikitext2/wiki.test.raw" ] || {
    echo "SKIP quality: no wiki.test.raw in $shared/data/wikitext2"
    exit 0
}
command -v python3 >/dev/null || { echo "SKIP quality: no python3"; exit 0; }
set -- --ram "$ram" --out "$out" --shared "$shared" "$@"
[ -z "${RAM_PARTS:-}" ] || set -- --parts "$RAM_PARTS" "$@"
if "$python" -c "import mlx_lm" 2>/dev/null; then
    set -- --python "$python" "$@"
    # mlx for Linux comes with the reference BLAS; ours is an order of magnitude faster.
    blas=$(ldconfig -p 2>/dev/null | sed -n 's/.*libopenblas\.so\.0 .*=> //p' | head -n 1)
    [ -z "$blas" ] || set -- --blas "$blas" "$@"
else
    echo "quality: no mlx_lm in $python: its rows are left out (make interop installs it)" >&2
fi
exec python3 -B "$root/bench/quality/quality.py" "$@"

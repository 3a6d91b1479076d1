#!/bin/sh
# Interoperation with the stock Python programs, from PyPI in a private virtual environment.
#
# usage: run.sh [bits] [load] [metrics] [spectrum] [nll] [tokenizer] [choice]
# All but spectrum, unless named.
# RAM: the command (default build/ram). RAM_VENV: an environment to use instead of
# build/interop-venv, which is made if it is missing. SKIP and success if PyPI cannot be reached.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
build=${RAM_BUILD:-$root/build}
venv=${RAM_VENV:-$build/interop-venv}
log=$build/interop-venv.log
export RAM=${RAM:-$build/ram}
export RAM_SHARED=${RAM_SHARED:-$root/../shared}
export RAM_INTEROP_WORK=${RAM_INTEROP_WORK:-$build/interop-work}
export PYTHONDONTWRITEBYTECODE=1

skip() {
    echo "SKIP interop: $1"
    exit 0
}

[ -x "$RAM" ] || { echo "interop: $RAM is not there; build it first" >&2; exit 1; }
modules="import mlx.core, mlx_lm, transformers, torch, safetensors, tokenizers"
if ! "$venv/bin/python" -c "$modules" 2>/dev/null; then
    [ -n "${RAM_VENV:-}" ] && { echo "interop: $RAM_VENV lacks a module" >&2; exit 1; }
    command -v python3 >/dev/null || skip "no python3"
    mkdir -p "$build"
    echo "interop: installing mlx, mlx-lm, transformers, torch into $venv (log: $log)"
    python3 -m venv "$venv" >"$log" 2>&1 || skip "python3 -m venv failed, see $log"
    "$venv/bin/pip" install -q 'mlx[cpu]' mlx-lm transformers torch safetensors tokenizers numpy \
        >>"$log" 2>&1 || skip "PyPI cannot be reached, see $log"
    # Only the choice tasks need the harness, of exactly this version; without it they say SKIP.
    "$venv/bin/pip" install -q 'lm_eval==0.4.11' datasets accelerate >>"$log" 2>&1 || true
    "$venv/bin/python" -c "$modules" >>"$log" 2>&1 || skip "the packages do not run here, see $log"
fi
mkdir -p "$RAM_INTEROP_WORK"
exec "$venv/bin/python" "$root/tests/interop/interop.py" "$@"

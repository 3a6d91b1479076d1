# harness.sh - what the shell tests of the command share; source it first.
#
# RAM is the command, RAM_SOURCE the source root. Every test gets an empty directory $tmp, which
# goes when it ends. A failed expectation is counted and told; finish gives the exit code.

: "${RAM:?the command to test}" "${RAM_SOURCE:?the source root}"
tiny=$RAM_SOURCE/examples/tiny-qwen3
failures=0 checks=0

tmp=$(mktemp -d)
# A killed child may still write while the directory goes.
trap 'chmod -R u+w "$tmp" 2>/dev/null; rm -rf "$tmp" 2>/dev/null || true' EXIT
trap 'exit 1' INT TERM
cd "$tmp" || exit 1

good() { checks=$((checks + 1)); }
bad() { checks=$((checks + 1)); failures=$((failures + 1)); echo "FAIL: $*"; }

# expect CODE ARGS...: runs ram; stdout and stderr are left in $tmp/out and $tmp/err.
expect() {
    wanted=$1
    shift
    "$RAM" "$@" >"$tmp/out" 2>"$tmp/err"
    code=$?
    if [ $code -eq "$wanted" ]; then
        good
    else
        bad "ram $*: exit code $code, expected $wanted"
        sed 's/^/    stderr: /' "$tmp/err"
    fi
}

# says out|err PATTERN: the last command's stream has a line that matches.
says() {
    if grep -q -e "$2" "$tmp/$1"; then
        good
    else
        bad "std$1 does not say '$2':"
        sed 's/^/    /' "$tmp/$1"
    fi
}

silent() { if [ -s "$tmp/$1" ]; then bad "std$1 is not empty: $(head -3 "$tmp/$1")"; else good; fi; }
same() { if cmp "$1" "$2"; then good; else bad "$1 and $2 differ: $3"; fi; }
same_trees() { if diff -r "$1" "$2"; then good; else bad "$1 and $2 differ: $3"; fi; }
is() { if [ "$1" = "$2" ]; then good; else bad "$3: '$1', expected '$2'"; fi; }
absent() { for p in "$@"; do if [ -e "$p" ]; then bad "$p is there"; else good; fi; done; }
present() { for p in "$@"; do if [ -e "$p" ]; then good; else bad "$p is not there"; fi; done; }
json() { if "$JSON_GET" "$@" >/dev/null; then good; else bad "$1 is not JSON, or lacks: $*"; fi; }

# find_model NAME: $model becomes the directory of that model: a trained one of ../shared or, where that
# is not, one of the same inventory with random weights, with the tokenizer of $tiny.
find_model() {
    model=${RAM_SHARED:-$RAM_SOURCE/../shared}/models/$1
    [ ! -d "$model" ] || return 0
    model=$tmp/models/$1
    [ ! -d "$model" ] || return 0
    mkdir -p "$tmp/models"
    if "$MAKE_CHECKPOINT" "$RAM_SOURCE/tests/data/configs/$1.config.json" "$model" --mtp 0 >"$tmp/out" &&
        cp "$tiny"/tokenizer*.json "$model"; then
        good
    else
        bad "$1 could not be made"
    fi
}

skip() { echo "SKIP: $*"; exit 77; }

finish() {
    echo "$((checks - failures)) of $checks expectations hold"
    [ "$failures" -eq 0 ] && [ "$checks" -gt 0 ]
    exit
}

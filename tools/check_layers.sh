#!/bin/sh
# check_layers.sh - the architecture as a test: which module may include which (ARCHITECTURE.md),
# no circles between files, the command sees ram.h alone, names of files and tags of structs are
# unique.
# Prints every breach; exit code 1 if there was one.
set -eu
cd "$(dirname "$0")/.."

# A module, a colon, and the modules whose headers it may include beside its own.
layers='
base:
kern: base
codec: base kern
arch: base
ckpt: base arch kern codec
record: base codec
format: base arch codec ckpt record
text: base arch
infer: base arch kern codec ckpt format
analyze: base arch kern codec ckpt format record
allocate: base arch codec record
convert: base arch codec ckpt format record
evaluate: base infer record text
probe: base arch kern codec ckpt infer record text
report: base arch codec record
drive: base arch kern codec ckpt format record text infer analyze allocate convert evaluate probe report
'
breaches=$(mktemp)
trap 'rm -f "$breaches"' EXIT

# "file:line: included/path.h" for every include in quotes.
includes() {
    grep -Hn '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$@" 2>/dev/null |
        sed 's/^\([^:]*:[^:]*\):[^"]*"\([^"]*\)".*/\1: \2/' || true
}

for dir in src/*/; do
    module=$(basename "$dir")
    allowed=$(echo "$layers" | sed -n "s/^$module://p")
    if ! echo "$layers" | grep -q "^$module:"; then
        echo "src/$module: a module that check_layers.sh does not know" >>"$breaches"
        continue
    fi
    includes "$dir"*.[ch] "$dir"*.inc | while read -r where path; do
        case $path in
        ram.h) ;;
        */*)
            into=${path%%/*}
            case " $allowed $module " in
            *" $into "*) ;;
            *) echo "$where $path: $module may include only:$allowed" ;;
            esac ;;
        *) echo "$where $path: write the module too, as in \"$module/$path\"" ;;
        esac
        [ "$path" = ram.h ] || [ -f "src/$path" ] || echo "$where $path: no such header"
    done >>"$breaches"
done

includes cli/*.[ch] | while read -r where path; do
    [ "$path" = ram.h ] || [ -f "cli/$path" ] ||
        echo "$where $path: the command may include ram.h and its own headers only"
done >>"$breaches"

# Circles between files. x.h, x.c and x.inc are one node, and what any of them includes is an edge, so
# that a circle is found whether headers close it or a source does. Two kinds of edges do not count:
# from x to x_y, since a file may be told of its own parts, which see its types (store, store_parts);
# and from a table to its entries, listed here, which are given the type of a row.
tables='
codec/form codec/affine
format/format format/mlx
'
includes src/*/*.[ch] src/*/*.inc | awk -v tables="$tables" '
    BEGIN { n = split(tables, list, "\n"); for (i = 1; i <= n; i++) listed[list[i]] = 1 }
    {
        from = $1; to = $2
        sub(/^src\//, "", from); sub(/\.[a-z]*:.*/, "", from); sub(/\.[a-z]*$/, "", to)
        if (from != to && index(to, from "_") != 1 && to ~ /\// && !((from " " to) in listed))
            print from, to
    }' | sort -u | tsort 2>&1 >/dev/null | sed 's/^tsort: /circle of includes: /' >>"$breaches"

find src include cli -name '*.[ch]' | sed 's|.*/||' | sort | uniq -d |
    sed 's/$/: more than one file has this name/' >>"$breaches"

grep -hE '^(struct|union|enum) ram_[a-z0-9_]+ \{' src/*/*.[ch] include/*.h | sort | uniq -d |
    sed 's/ {$/: defined more than once/' >>"$breaches"

cat "$breaches"
if [ -s "$breaches" ]; then
    echo "layers: $(wc -l <"$breaches") breaches"
    exit 1
fi
echo "layers: $(find src cli -name '*.[ch]' | wc -l) files keep to them"

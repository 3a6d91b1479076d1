#!/bin/sh
# check_headers.sh - every header compiles alone, and ram.h also as C++ where a compiler is there.
set -eu
cd "$(dirname "$0")/.."

cc=${CC:-cc}
flags="-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Iinclude -Isrc -Icli $(pkg-config --cflags \
    jansson libpcre2-8 libutf8proc libmd)"
n=0 failed=0
for header in include/*.h src/*/*.h cli/*.h; do
    # Named as a user of it would, not compiled itself: #pragma once and guards are then silent.
    n=$((n + 1))
    printf '#include "%s"\ntypedef int not_empty;\n' "$PWD/$header" |
        $cc $flags -fsyntax-only -x c - || { echo "$header: does not compile alone"; failed=1; }
done
if command -v c++ >/dev/null; then
    printf '#include "%s"\n' "$PWD/include/ram.h" | c++ -Wall -Wextra -Werror -fsyntax-only -x c++ - ||
        { echo "include/ram.h: does not compile as C++"; failed=1; }
fi
[ $failed = 0 ] && echo "headers: $n compile alone"
exit $failed

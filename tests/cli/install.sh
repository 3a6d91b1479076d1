# install.sh - what an installation holds, and that programs in C and in C++ can be built against it,
# with the shared and with the static library. Every C program of examples/ and of the documents is
# one of them.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

build=$(dirname "$RAM")
# As a package is made: into a directory that stands for the root.
DESTDIR=$tmp/stage cmake --install "$build" >log 2>&1 || bad "cmake --install: $(cat log)"
pc=$(find "$tmp/stage" -name ram.pc)
present "$pc"
[ "$failures" -eq 0 ] || finish
there=$tmp/stage$(PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --variable=prefix ram)
lib=$(dirname "$(dirname "$pc")")
present "$there/bin/ram" "$there/include/ram.h" "$there/share/man/man1/ram.1" "$lib/libram.a"
is "$("$there/bin/ram" --version)" "$("$RAM" --version)" "version of the installed command"
[ "$failures" -eq 0 ] || finish
if nm "$lib/libram.a" | grep -q '__[at]san_'; then
    echo "a library with sanitizers: no program is built against it"
    finish
fi

config() { PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --define-variable=prefix="$there" "$@" ram; }
is "ram $(config --modversion)" "$("$RAM" --version)" "version of ram.pc"
if [ "$(uname -s)" = Linux ]; then
    present "$lib/libram.so" "$lib/libram.so.0"
    is "$(objdump -p "$lib/libram.so" | awk '$1 == "SONAME" { print $2 }')" libram.so.0 "soname"
fi
LD_LIBRARY_PATH=$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH

# The programs of the documents: every block between ```c and ``` is one.
mkdir programs
cp "$RAM_SOURCE"/examples/*.c programs
awk '/^```c$/ { n++; into = sprintf("programs/document%d.c", n); next }
     /^```/ { into = ""; next }
     into { print >into }' "$RAM_SOURCE"/README.md "$RAM_SOURCE"/docs/*.md \
    "$RAM_SOURCE"/examples/README.md
[ -f programs/document1.c ] || bad "no program was found in the documents"
# And the promise of ram.h's head: every struct can be zeroed.
{
    echo '#include <ram.h>'
    echo '#include <string.h>'
    echo 'int main(void) {'
    awk '/^struct ram_[a-z_]+ \{/ { print "    { struct " $2 " x = {0}; (void)x; }" }' \
        "$RAM_SOURCE/include/ram.h"
    echo '    return strcmp(ram_version(), RAM_VERSION); }'
} >programs/zeroed.c

strict="-Wall -Wextra -pedantic -Werror -Wno-missing-field-initializers"
for source in programs/*.c; do
    name=$(basename "$source" .c)
    ${CC:-cc} -std=c11 $strict "$source" $(config --cflags) -o "$name" $(config --libs) 2>log ||
        bad "$source as C11: $(cat log)"
    # Static: libram.a by its name, since a linker prefers the shared one.
    ${CC:-cc} -std=c11 $strict "$source" $(config --cflags) -o "$name.static" "$lib/libram.a" \
        $(config --libs --static | sed 's/-lram//') 2>log || bad "$source, static: $(cat log)"
    if command -v "${CXX:-c++}" >/dev/null; then
        ${CXX:-c++} -std=c++17 $strict -x c++ "$source" -x none $(config --cflags) -o "$name.cxx" \
            $(config --libs) 2>log || bad "$source as C++17: $(cat log)"
    fi
done
command -v "${CXX:-c++}" >/dev/null || echo "no C++ compiler: nothing is compiled as C++"
[ "$failures" -eq 0 ] || finish

for program in ./zeroed ./zeroed.static; do
    $program
    is $? 0 "exit code of $program: library and header have one version"
done
./quantize >out 2>err
is $? 2 "exit code of the example without arguments"
for program in ./quantize ./quantize.static; do
    rm -rf quantized
    $program "$tiny" quantized fast >out 2>err
    is $? 0 "exit code of $program"
    expect 0 verify quantized --against "$tiny"
done

# The lists of the library are those of the help.
./list >out 2>err
is $? 0 "exit code of examples/list.c"
help=$(for verb in quantize allocate convert evaluate; do "$RAM" $verb --help; done)
while read -r list name; do
    case $list in families | forms) continue ;; esac
    echo "$help" | grep -qw -e "$name" ||
        bad "$list: \"$name\" is in no --help"
done <out
is "$(grep -c '^methods ' out)" 8 "number of methods"
is "$(grep -c '^efforts ' out)" 3 "number of efforts"
grep -qx 'families qwen3_moe' out || bad "qwen3_moe is no family: $(cat out)"

# The units of a plan.
expect 0 analyze "$tiny" -o m.json
expect 0 allocate m.json -o plan.json --method uniform --bits 4 --group 64
./plan plan.json >out 2>err
is $? 0 "exit code of examples/plan.c"
is "$(($(wc -l <out)))" "$("$JSON_GET" -n plan.json units)" "number of units"
finish

# install.sh - what an installation holds, and that a program can be built against it.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

there=$tmp/there
cmake --install "$(dirname "$RAM")" --prefix "$there" >log 2>&1 || bad "cmake --install: $(cat log)"
present "$there/bin/ram" "$there/include/ram.h" "$there/share/man/man1/ram.1"
is "$("$there/bin/ram" --version)" "$("$RAM" --version)" "version of the installed command"
pc=$(find "$there" -name ram.pc)
present "$pc"
[ "$failures" -eq 0 ] || finish
if nm "$(find "$there" -name libram.a)" | grep -q '__[at]san_'; then
    echo "a library with sanitizers: no program is built against it"
    finish
fi

config() { PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --define-variable=prefix="$there" "$@" ram; }
is "ram $(config --modversion)" "$("$RAM" --version)" "version of ram.pc"
${CC:-cc} -std=c11 "$RAM_SOURCE/examples/quantize.c" $(config --cflags) -o quantize \
    $(config --libs --static) 2>log || bad "examples/quantize.c does not build: $(cat log)"
./quantize >out 2>err
is $? 2 "exit code of the example without arguments"
./quantize "$tiny" quantized fast >out 2>err
is $? 0 "exit code of the example"
expect 0 verify quantized --against "$tiny"
finish

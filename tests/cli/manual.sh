# manual.sh - the manual page knows every verb, option and the version of the command.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

# As text, without the escapes of the formatter.
sed 's/\\f[A-Z]//g; s/\\-/-/g' "$RAM_SOURCE/docs/ram.1" >page
verbs=$("$RAM" --help | sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p' | grep -v '^ram$')
for verb in $verbs; do
    if grep -q "^\.B $verb$" page; then good; else bad "docs/ram.1 lacks the verb $verb"; fi
    for option in $("$RAM" "$verb" --help | sed -n 's/^  .*\(--[a-z0-9-]*\).*/\1/p' | sort -u); do
        if grep -q -e "$option\b" page; then good; else bad "docs/ram.1 lacks $option of $verb"; fi
    done
done
version=$("$RAM" --version)
if grep -q "^\.TH RAM 1 .* \"$version\"" page; then good; else bad "docs/ram.1 is not of $version"; fi
if command -v man >/dev/null; then
    is "$(man --warnings -E UTF-8 -l "$RAM_SOURCE/docs/ram.1" 2>&1 >/dev/null)" "" "man --warnings"
fi
finish

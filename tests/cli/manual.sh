# manual.sh - the manual page and the command know the same verbs and options, and one version.
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
# The other way.
for verb in $verbs; do "$RAM" "$verb" --help; done | grep -o -e '--[a-z][a-z0-9-]*' | sort -u >known
for option in $(grep -o -e '--[a-z][a-z0-9-]*' page | sort -u); do
    case $option in
    --name | --model) ;; # any option; mlx_lm's
    *) if grep -q -x -e "$option" known; then good; else bad "docs/ram.1 has $option, and no verb does"; fi ;;
    esac
done
version=$("$RAM" --version)
if grep -q "^\.TH RAM 1 .* \"$version\"" page; then good; else bad "docs/ram.1 is not of $version"; fi
if command -v man >/dev/null; then
    is "$(man --warnings -E UTF-8 -l "$RAM_SOURCE/docs/ram.1" 2>&1 >/dev/null)" "" "man --warnings"
fi
finish

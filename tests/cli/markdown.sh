# markdown.sh - --markdown prints Markdown: every table has its line of dashes and as many cells in
# every row, and nothing outside of code is set in columns with spaces.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

cat >check.awk <<'END'
function wrong(what) { print FILENAME ":" FNR ": " what ": " $0; failed = 1 }
/^(```|~~~)/ { code = !code; next }
code || /^    / { next }
/^\|/ {
    cells = gsub(/\\\|/, "") * 0 + gsub(/\|/, "|")
    rows++
    tables += rows == 1
    if (rows == 1) wanted = cells
    if (cells != wanted) wrong("a row of " cells " bars below one of " wanted)
    if (rows == 2 && $0 !~ /^\|(:?-+:?\|)+$/) wrong("no line of dashes below the heads")
    next
}
{ if (rows == 1) wrong("a table of one line"); rows = 0 }
/[^ ]   *[^ ]/ { wrong("columns set with spaces") }
END { if (!tables && need) { print FILENAME ": no table"; failed = 1 } exit failed }
END

# markdown TABLES ARGS...: runs ram with --markdown; TABLES is 1 if there must be a table.
markdown() {
    need=$1
    shift
    expect 0 "$@" --markdown
    if awk -v need="$need" -f check.awk out >wrongs; then
        good
    else
        bad "ram $* --markdown: $(head -3 wrongs)"
    fi
}
head -c 4000 "$RAM_SOURCE/ARCHITECTURE.md" >text

markdown 1 inspect "$tiny"
markdown 1 inspect "$tiny" --tensors
markdown 1 analyze "$tiny" -o m.json --probe
markdown 1 allocate m.json -o plan.json --method auto -v
markdown 1 allocate m.json -o budget.json --method budget
markdown 1 allocate m.json -o search.json --method v2 --search
markdown 1 allocate m.json --method all
markdown 1 allocate m.json --pareto
markdown 1 convert "$tiny" --plan plan.json -o none --dry-run
markdown 1 convert "$tiny" --plan plan.json -o dir
markdown 1 verify dir
markdown 1 verify dir --against "$tiny" --plan plan.json
markdown 1 quantize "$tiny" -o none --dry-run --method v1
markdown 1 quantize "$tiny" -o q --size 3MB --effort fast
for model in "$tiny" dir; do
    markdown 1 evaluate $model --task text --data text --seq-len 64 --limit 4 -o $(basename $model).json
done
markdown 1 compare "$(basename "$tiny").json" dir.json
"$RAM" verify dir --plan budget.json --markdown >out 2>/dev/null
is $? 5 "exit code where a plan differs"
if awk -v need=1 -f check.awk out >wrongs; then good; else bad "differences: $(head -3 wrongs)"; fi
says out '^\* plan: `model'

# The check finds what it is for.
printf '| a | b |\n|---|---|\n| c |\n' >out
awk -v need=1 -f check.awk out >wrongs && bad "a row that lacks a cell passes"
printf 'name   bits\n' >out
awk -v need=0 -f check.awk out >wrongs && bad "columns of spaces pass"
finish

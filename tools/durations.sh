#!/bin/sh
# durations.sh BUILD - how long each test took when they were run last, as a table in Markdown: those
# of at least a second, and the sum of the others. CONTRIBUTING.md has such a table.
set -eu
log=$1/Testing/Temporary/LastTest.log
[ -f "$log" ] || { echo "durations: no $log; run the tests first" >&2; exit 1; }
awk '
    /^[0-9]+\/[0-9]+ Test: / { name = $3 }
    /^Test time = / { if ($4 >= 1) printf "%s %.0f\n", name, $4; else { rest += $4; n++ } total += $4 }
    END { printf "%d-others %.0f\nall-together %.0f\n", n, rest, total }' "$log" |
    sort -k2,2nr | awk '
    BEGIN { print "| test | seconds |\n|---|---|" }
    { sub("-", " ", $1) }
    $1 ~ /^all / { total = $2; next }
    { printf "| %s | %s |\n", $1, $2 }
    END { printf "| all | %s |\n", total }'

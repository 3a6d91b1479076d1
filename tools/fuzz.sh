#!/bin/sh
# fuzz.sh BUILD SECONDS JOBS - builds every fuzz target and runs each for so many seconds from its
# corpus. New inputs go to BUILD/corpus; a crash is left in BUILD, named, and the exit code is 1.
set -u
build=$1 seconds=$2 jobs=$3
cd "$(dirname "$0")/.." || exit 1

targets=$(ls tests/fuzz/*_*.c | sed 's|.*/||; s|\.c$||')
cmake --build "$build" -j"$jobs" --target $(echo "$targets" | sed 's/^/fuzz_/') || exit 1
failed=0
for name in $targets; do
    mkdir -p "$build/corpus/$name"
    if "$build/fuzz_$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
        -artifact_prefix="$build/$name-" -print_final_stats=1 \
        "$build/corpus/$name" "tests/fuzz/corpus/$name" >"$build/$name.log" 2>&1; then
        echo "fuzz $name: $(sed -n 's/.*number_of_executed_units: *//p' "$build/$name.log") inputs, no finding"
    else
        echo "fuzz $name: FOUND something:"
        tail -n 30 "$build/$name.log"
        failed=1
    fi
done
exit $failed

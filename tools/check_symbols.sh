#!/bin/sh
# check_symbols.sh libram.a [libram.so] - every symbol that the library defines for others begins
# with ram_, and none is a variable that can change: the library has no state of its own. The shared
# library exports what ram.h declares, no more and no less. No struct of ram.h is called like a
# function: a struct's name says what it is, not what was done.
set -eu
library=$1
shared=${2:-}
header=$(dirname "$0")/../include/ram.h
declared=$(grep -oE '^RAM_API [^;(]*\(' "$header" | grep -oE 'ram_[a-z0-9_]+\($' | tr -d '(' | sort)

# Mach-O has other sections and an underscore before each name; there, only names are checked.
if [ "$(uname -s)" = Darwin ]; then
    bad=$(nm -g -U "$library" | awk 'NF == 3 && $3 !~ /^_(ram_|_)/ { print $3 }')
    [ -z "$bad" ] || { echo "$bad: a global name must begin with ram_"; exit 1; }
    echo "symbols: all begin with ram_"
    exit 0
fi

# objdump's columns: value, flags (one of them a blank), section, size, name. Names that begin
# with two underscores are the compiler's (sanitizers, coverage). Between size and name stands
# .hidden for what the shared library keeps to itself.
symbols=$(objdump -t "$library" | awk '
    $1 ~ /^[0-9a-f]+$/ && $2 ~ /^[gu]$/ {
        section = $(NF - ($(NF - 1) == ".hidden" ? 3 : 2)); name = $NF
        if (section != "*UND*" && name !~ /^__/) print section, name
    }
    $1 ~ /^[0-9a-f]+$/ && $(NF - 2) == "*COM*" { print "*COM*", $NF }' | sort -u)
[ -n "$symbols" ] || { echo "$library: no symbols"; exit 1; }
bad=$(echo "$symbols" | awk '
    $2 !~ /^ram_/ { print $2 ": a global name must begin with ram_" }
    $1 ~ /^\.(data|bss|tdata|tbss)/ && $1 !~ /^\.data\.rel\.ro/ || $1 == "*COM*" {
        print $2 ": a global variable that can change" }')
tags=$(grep -oE '^(struct|enum) ram_[a-z0-9_]+' "$header" | awk '{ print $2 }' | sort -u)
bad=$bad$(echo "$symbols" | awk -v tags="$tags" '
    BEGIN { n = split(tags, list); for (i = 1; i <= n; i++) tag[list[i]] = 1 }
    $1 ~ /^\.text/ && $2 in tag { print $2 ": a struct of ram.h has the name of this function" }')
if [ -n "$shared" ]; then
    exported=$(nm -D --defined-only "$shared" | awk '$3 !~ /^_/ { print $3 }' | sort)
    bad=$bad$(printf '%s\n' $declared $exported | sort | uniq -u |
        sed 's/$/: declared in ram.h or exported by the shared library, but not both/')
fi
if [ -n "$bad" ]; then
    echo "$bad"
    exit 1
fi
echo "symbols: $(echo "$symbols" | wc -l) begin with ram_, none can change," \
    "$(echo "$declared" | wc -l) are exported"

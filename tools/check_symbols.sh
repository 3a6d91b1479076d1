#!/bin/sh
# check_symbols.sh LIBRARY - every symbol that the library defines for others begins with ram_, and
# none is a variable that can change: the library has no state of its own.
set -eu
library=$1

# Mach-O has other sections and an underscore before each name; there, only names are checked.
if [ "$(uname -s)" = Darwin ]; then
    bad=$(nm -g -U "$library" | awk 'NF == 3 && $3 !~ /^_(ram_|_)/ { print $3 }')
    [ -z "$bad" ] || { echo "$bad: a global name must begin with ram_"; exit 1; }
    echo "symbols: all begin with ram_"
    exit 0
fi

# objdump's columns: value, flags (one of them a blank), section, size, name. Names that begin
# with two underscores are the compiler's (sanitizers, coverage).
symbols=$(objdump -t "$library" | awk '
    $1 ~ /^[0-9a-f]+$/ && $2 ~ /^[gu]$/ {
        section = $(NF - 2); name = $NF
        if (section != "*UND*" && name !~ /^__/) print section, name
    }
    $1 ~ /^[0-9a-f]+$/ && $(NF - 2) == "*COM*" { print "*COM*", $NF }' | sort -u)
[ -n "$symbols" ] || { echo "$library: no symbols"; exit 1; }
bad=$(echo "$symbols" | awk '
    $2 !~ /^ram_/ { print $2 ": a global name must begin with ram_" }
    $1 ~ /^\.(data|bss|tdata|tbss)/ && $1 !~ /^\.data\.rel\.ro/ || $1 == "*COM*" {
        print $2 ": a global variable that can change" }')
if [ -n "$bad" ]; then
    echo "$bad"
    exit 1
fi
echo "symbols: $(echo "$symbols" | wc -l) begin with ram_, none can change"

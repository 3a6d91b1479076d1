# disk.sh - outputs that cannot be written: read-only directories, limits, a full disk. Exit code 1,
# a message that names the file, and nothing that looks like a result.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

expect 0 analyze "$tiny" -o m.json
expect 0 allocate m.json -o p.json

# leaves DIR: after a failure there is nothing in it.
empty() { is "$(ls -A "$1")" "" "what lies in $1"; }

try_everything_in() {
    expect 1 analyze "$tiny" -o "$1/m.json"
    says err "$1"
    expect 1 allocate m.json -o "$1/p.json"
    says err "$1"
    expect 1 convert "$tiny" --plan p.json -o "$1/dir"
    says err "$1"
    expect 1 quantize "$tiny" -o "$1/dir" --method auto
    says err "$1"
    empty "$1"
}

expect 1 analyze "$tiny" -o nowhere/m.json
expect 1 convert "$tiny" --plan p.json -o nowhere/dir
expect 1 allocate m.json -o nowhere/p.json

# Permissions do not bind root.
if [ "$(id -u)" -ne 0 ]; then
    mkdir locked
    chmod a-w locked
    try_everything_in locked
fi

# A limit on the size of files, in blocks of 512 bytes: every write beyond fails.
mkdir limited
(ulimit -f 40 && "$RAM" convert "$tiny" --plan p.json -o limited/dir) >out 2>err
is $? 1 "exit code of convert under a limit of 20 kB a file"
says err 'limited/dir'
(ulimit -f 4 && "$RAM" allocate m.json -o limited/p.json) >out 2>err
is $? 1 "exit code of allocate under a limit of 2 kB a file"
empty limited
# What was measured outlives a conversion that failed.
(ulimit -f 2000 && "$RAM" quantize "$tiny" -o limited/q --method auto) >out 2>err
is $? 1 "exit code of quantize under a limit of 1 MB a file"
says err '\-\-resume continues'
is "$(ls limited)" "q.ram-partial" "what a failed quantize left"
expect 0 quantize "$tiny" -o limited/q --method auto --resume
is "$(ls limited)" "q" "what a resumed quantize left"
rm -r limited/q

# A full and a read-only file system need a mount, and so a namespace of our own.
mkdir small
unshare -rm sh -c 'mount -t tmpfs -o size=200k none small' 2>/dev/null || {
    echo "no mounts here: full and read-only disks were not tried"
    finish
}
cat >in-small.sh <<'END'
. "$RAM_SOURCE/tests/cli/tools/harness.sh"
there=$1
mount -t tmpfs -o size=200k none "$there/small" || exit 1
expect 1 convert "$tiny" --plan "$there/p.json" -o "$there/small/dir"
says err 'No space left\|are free'
is "$(ls -A "$there/small")" "" "what a failed convert left on a full disk"
expect 1 quantize "$tiny" -o "$there/small/dir" --method auto -q
says err 'No space left\|are free'
absent "$there/small/dir"
rm -rf "$there"/small/*
head -c 300000 /dev/zero >"$there/small/fill" 2>/dev/null
expect 1 allocate "$there/m.json" -o "$there/small/p.json"
expect 1 analyze "$tiny" -o "$there/small/m.json"
absent "$there/small/p.json" "$there/small/m.json"
rm -rf "$there"/small/*
mount -o remount,ro "$there/small" || exit 1
expect 1 convert "$tiny" --plan "$there/p.json" -o "$there/small/dir"
says err "$there/small"
expect 1 analyze "$tiny" -o "$there/small/m.json"
expect 1 allocate "$there/m.json" -o "$there/small/p.json"
finish
END
if unshare -rm sh in-small.sh "$tmp"; then good; else bad "on a full or read-only disk"; fi
finish

# interrupt.sh - SIGINT and kill -9 in the middle: nothing half-written looks finished, and
# --resume gives the manifest that an undisturbed run gives.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

model=$tiny
# The slowest way, so that there is a middle to hit.
export RAM_CPU=ref
expect 0 analyze "$model" -o whole.json --threads 1
[ "$failures" -eq 0 ] || finish

# interrupt_analyze SIGNAL: sends it when some tensors are in the partial file. 0: hit in the middle.
interrupt_analyze() {
    rm -f m.json m.json.partial
    "$RAM" analyze "$model" -o m.json --threads 1 >out 2>err &
    pid=$!
    while kill -0 $pid 2>/dev/null && [ "$(wc -c 2>/dev/null <m.json.partial || echo 0)" -lt 5000 ]; do
        sleep 0.01
    done
    kill -"$1" $pid 2>/dev/null
    wait $pid 2>/dev/null
    code=$?
    [ ! -e m.json ]
}

middle() {
    for _ in 1 2 3 4 5; do
        "$@" && return 0
    done
    return 1
}

if middle interrupt_analyze INT; then
    is $code 130 "exit code after SIGINT"
    says err 'interrupted'
    says err '\-\-resume'
    present m.json.partial
    cp m.json.partial kept.partial
    expect 0 analyze "$model" -o m.json --resume --threads 2
    same m.json whole.json "resumed after SIGINT, and undisturbed"
    absent m.json.partial
    # A partial file that lost its end in the crash.
    rm m.json
    head -c $(($(wc -c <kept.partial) - 7)) kept.partial >m.json.partial
    expect 0 analyze "$model" -o m.json --resume
    same m.json whole.json "resumed from a torn partial file, and undisturbed"
    # One that belongs to other settings, or is nonsense, must not be mixed in.
    rm m.json
    cp kept.partial m.json.partial
    "$RAM" analyze "$model" -o m.json --resume --seed 7 >out 2>err
    code=$?
    if [ $code -eq 0 ]; then
        expect 0 analyze "$model" -o seed7.json --seed 7
        same m.json seed7.json "seed 7 after a partial file of seed 42, and undisturbed"
    else
        absent m.json
    fi
    rm -f m.json
    echo nonsense >m.json.partial
    "$RAM" analyze "$model" -o m.json --resume >out 2>err
    [ $? -ne 0 ] || same m.json whole.json "after a partial file of nonsense, and undisturbed"
else
    bad "SIGINT never met analyze in its middle"
fi

if middle interrupt_analyze KILL; then
    expect 0 analyze "$model" -o m.json --resume
    same m.json whole.json "resumed after kill -9, and undisturbed"
    expect 0 analyze "$model" -o again.json # without --resume: from the beginning
    same again.json whole.json "begun anew, and undisturbed"
else
    bad "kill -9 never met analyze in its middle"
fi

# Small shards, each flushed to the disk: there is time to kill between two.
expect 0 allocate whole.json -o plan.json --method uniform
mkdir undisturbed
expect 0 convert "$model" --plan plan.json -o undisturbed/dir --shard-size 100kB

interrupt_convert() {
    rm -rf dir dir.partial-*
    "$RAM" convert "$model" --plan plan.json -o dir --shard-size 100kB --threads 1 >out 2>err &
    pid=$!
    while kill -0 $pid 2>/dev/null && ! [ -e dir.partial-$pid ]; do :; done
    kill -"$1" $pid 2>/dev/null
    wait $pid 2>/dev/null
    code=$?
    [ ! -e dir ]
}

if middle interrupt_convert KILL; then
    expect 0 convert "$model" --plan plan.json -o dir --shard-size 100kB
    same_trees dir undisturbed/dir "converted after a kill -9, and undisturbed"
    is "$(echo dir.partial-*)" 'dir.partial-*' "what the killed run left"
else
    bad "kill -9 never met convert in its middle"
fi
if middle interrupt_convert INT; then
    is $code 130 "exit code of convert after SIGINT"
    is "$(echo dir.partial-*)" 'dir.partial-*' "what the interrupted run left"
else
    bad "SIGINT never met convert in its middle"
fi

# quantize: stopped while it measures, then resumed.
interrupt_quantize() {
    rm -rf q q.*
    "$RAM" quantize "$model" -o q --method auto --threads 1 >out 2>err &
    pid=$!
    while kill -0 $pid 2>/dev/null &&
        [ "$(wc -c 2>/dev/null <q.manifest.partial || echo 0)" -lt 5000 ]; do
        sleep 0.01
    done
    kill -INT $pid 2>/dev/null
    wait $pid 2>/dev/null
    code=$?
    [ ! -e q ]
}
if middle interrupt_quantize; then
    is $code 130 "exit code of quantize after SIGINT"
    present q.manifest.partial
    expect 0 quantize "$model" -o q --method auto --resume --keep-manifest
    same q/ram-manifest.json whole.json "the manifest of a resumed quantize"
    absent q.manifest.partial
else
    bad "SIGINT never met quantize in its middle"
fi
finish

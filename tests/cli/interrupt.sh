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
    rm -rf m.json m.json.ram-partial
    "$RAM" analyze "$model" -o m.json --threads 1 >out 2>err &
    pid=$!
    while kill -0 $pid 2>/dev/null && [ "$(wc -c 2>/dev/null <m.json.ram-partial/log || echo 0)" -lt 5000 ]; do
        sleep 0.01
    done
    kill -"$1" $pid 2>/dev/null
    wait $pid 2>/dev/null
    code=$?
    [ ! -e m.json ]
}

# same_figures A B: manifests of one model under two names.
same_figures() {
    sed '/"name":/d' "$1" | grep '"tensors"\|"metrics"' >a.txt
    sed '/"name":/d' "$2" | grep '"tensors"\|"metrics"' >b.txt
    same a.txt b.txt "figures of $1 and $2"
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
    present m.json.ram-partial
    cp -r m.json.ram-partial kept
    expect 0 analyze "$model" -o m.json --resume --threads 2
    same m.json whole.json "resumed after SIGINT, and undisturbed"
    absent m.json.ram-partial
    # A partial file that lost its end in the crash.
    rm m.json
    mkdir m.json.ram-partial
    head -c $(($(wc -c <kept/log) - 7)) kept/log >m.json.ram-partial/log
    expect 0 analyze "$model" -o m.json --resume
    says err 'ends in the middle of a record'
    same m.json whole.json "resumed from a torn log, and undisturbed"
    # One of other settings, or of nonsense, must not be mixed in.
    rm m.json
    cp -r kept m.json.ram-partial
    expect 0 analyze "$model" -o m.json --resume --seed 7
    expect 0 analyze "$model" -o seed7.json --seed 7
    same m.json seed7.json "seed 7 after measurements of seed 42, and undisturbed"
    rm -f m.json
    mkdir m.json.ram-partial
    echo nonsense nonsense >m.json.ram-partial/log
    expect 0 analyze "$model" -o m.json --resume
    says err 'is damaged or was written by another version'
    same m.json whole.json "after a log of nonsense, and undisturbed"
    # Without --resume it is left alone until the result is there.
    rm -f m.json
    cp -r kept m.json.ram-partial
    expect 0 analyze "$model" -o m.json
    says err 'kept but not used, because --resume was not given'
    same m.json whole.json "begun again, and undisturbed"
    absent m.json.ram-partial
    # Other weights, or another config, are never mixed in, and nothing is lost; a copy will do.
    rm -f m.json
    cp -r kept m.json.ram-partial
    cp -r "$model" other
    chmod -R u+w other
    printf '\001' | dd of=other/model.safetensors bs=1 seek=$(($(wc -c <other/model.safetensors) - 3)) \
        conv=notrunc 2>/dev/null
    expect 2 analyze other -o m.json --resume
    says err 'was measured from other weights: tensor .* of model.safetensors'
    sed 's/"rope_theta": [0-9.]*/"rope_theta": 12345.0/' "$model/config.json" >other/config.json
    cp "$model/model.safetensors" other/
    expect 2 analyze other -o m.json --resume
    says err 'was measured from another config.json'
    same m.json.ram-partial/log kept/log "a log that was refused, and the same before"
    cp "$model/config.json" other/
    expect 0 analyze other -o m.json --resume
    same_figures m.json whole.json
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
    rm -rf dir dir.ram-partial
    "$RAM" convert "$model" --plan plan.json -o dir --shard-size 100kB --threads 1 >out 2>err &
    pid=$!
    while kill -0 $pid 2>/dev/null && ! [ -e dir.ram-partial/output ]; do :; done
    kill -"$1" $pid 2>/dev/null
    wait $pid 2>/dev/null
    code=$?
    [ ! -e dir ]
}

if middle interrupt_convert KILL; then
    absent dir.ram-partial/output/config.json # nothing there looks finished
    expect 0 convert "$model" --plan plan.json -o dir --shard-size 100kB --resume --threads 2
    same_trees dir undisturbed/dir "converted after a kill -9, and undisturbed"
    absent dir.ram-partial
else
    bad "kill -9 never met convert in its middle"
fi
if middle interrupt_convert INT; then
    is $code 130 "exit code of convert after SIGINT"
    expect 0 convert "$model" --plan plan.json -o dir --shard-size 100kB
    same_trees dir undisturbed/dir "converted after a SIGINT, without --resume, and undisturbed"
    absent dir.ram-partial
else
    bad "SIGINT never met convert in its middle"
fi

# quantize: stopped while it measures, then resumed.
interrupt_quantize() {
    rm -rf q q.*
    "$RAM" quantize "$model" -o q --method auto --threads 1 >out 2>err &
    pid=$!
    while kill -0 $pid 2>/dev/null &&
        [ "$(wc -c 2>/dev/null <q.ram-partial/log || echo 0)" -lt 5000 ]; do
        sleep 0.01
    done
    kill -INT $pid 2>/dev/null
    wait $pid 2>/dev/null
    code=$?
    [ ! -e q ]
}
if middle interrupt_quantize; then
    is $code 130 "exit code of quantize after SIGINT"
    present q.ram-partial
    expect 0 quantize "$model" -o q --method auto --resume --keep-manifest
    same q/ram-manifest.json whole.json "the manifest of a resumed quantize"
    absent q.ram-partial
else
    bad "SIGINT never met quantize in its middle"
fi

# quantize, stopped in every stage in turn, by three signals, with another number of threads each
# time. What a stage has finished is seen in the log, so that no moment depends on the machine's
# speed; RAM_KEEP=always keeps everything at once.
unset RAM_CPU
mkdir steps
expect 0 quantize "$model" -o steps/q --effort best --keep-manifest --threads 2
RAM_KEEP=always
export RAM_KEEP
rm -rf q q.ram-partial
resume= threads=1
set -- KILL INT TERM
# kept WHAT: is it in the log? "2 /tokens": of two texts.
kept() {
    case $1 in
    [0-9]' '*)
        [ "$(grep -ao "[0-9a-f]\{32\}${1#* }" q.ram-partial/log 2>/dev/null | sort -u | wc -l)" -ge \
            "${1%% *}" ]
        ;;
    *) grep -aq -e "$1" q.ram-partial/log 2>/dev/null ;;
    esac
}
for finished in 'layers.1' '1 /tokens' '/rows' '2 /tokens' 'curves of layer 2' \
    'curves of embedding' 'blocks 3'; do
    # shellcheck disable=SC2086
    "$RAM" quantize "$model" -o q --effort best --keep-manifest --threads $threads $resume -q &
    pid=$!
    while kill -0 $pid 2>/dev/null && ! kept "$finished"; do
        sleep 0.02
    done
    kill -"$1" $pid 2>/dev/null
    wait $pid 2>/dev/null
    code=$?
    if [ $code -eq 130 ] || [ $code -eq 137 ]; then good; else bad "$1 at '$finished': $code"; fi
    absent q
    present q.ram-partial/log
    resume=--resume threads=$((3 - threads))
    set -- "$2" "$3" "$1"
done
expect 0 quantize "$model" -o q --effort best --keep-manifest --threads $threads --resume
same_trees q steps/q "stopped in every stage, and undisturbed"
absent q.ram-partial
finish

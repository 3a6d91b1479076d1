# usage.sh - --help of every verb, mistakes on the command line, and what they are told.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

verbs=$("$RAM" --help | sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p' | grep -v '^ram$')
for verb in quantize inspect analyze allocate convert verify; do
    case " $(echo $verbs) " in
    *" $verb "*) good ;;
    *) bad "ram --help does not name $verb" ;;
    esac
done

for verb in $verbs; do
    expect 0 "$verb" --help
    silent err
    says out "^usage: ram $verb "
    for option in threads max-memory json quiet verbose force help version; do
        says out "--$option"
    done
    is "$(awk 'length > 80' "$tmp/out")" "" "lines of $verb --help beyond 80 columns"
    cp "$tmp/out" long
    expect 0 "$verb" -h
    same out long "-h and --help"
    expect 0 help "$verb"
    same out long "help VERB and VERB --help"
    expect 0 --help "$verb" # before the verb
    same out long "--help VERB and VERB --help"
    expect 0 "$verb" --version
    says out '^ram [0-9.]*$'
    expect 2 "$verb" # no operand
    silent out
    says err "usage: ram $verb"
    expect 2 "$verb" "$tiny" --no-such-option
    says err 'unknown option --no-such-option'
    expect 2 "$verb" "$tiny" --thread 2
    says err 'did you mean --threads?'
    expect 2 "$verb" "$tiny" -Z
    expect 2 "$verb" "$tiny" --threads
    says err 'needs a value'
    expect 2 "$verb" "$tiny" --threads many
    expect 2 "$verb" "$tiny" --threads -1
    expect 2 "$verb" "$tiny" --json=yes
    expect 2 "$verb" "$tiny" --json --markdown
    case $verb in
    compare) ;; # takes any number
    *) expect 2 "$verb" "$tiny" surplus more ;;
    esac
    for size in x 6X 6GBB -1 0 1e9 0x10 nan '' 99999999999T; do
        expect 2 "$verb" "$tiny" --max-memory "$size"
    done
done

expect 0 --help
silent err
expect 0 help
expect 0 --version
is "$(cat out)" "ram $(sed -n 's/^#define RAM_VERSION "\(.*\)"/\1/p' "$RAM_SOURCE/include/ram.h")" version
expect 2
silent out
says err '^usage: ram'
expect 2 quantise
says err 'did you mean quantize?'
expect 2 zzzzzz
expect 2 --no-such-option
expect 2 --threads 2 # an option, no verb

for size in 3GiB 3G 3GB 3000M 3000MiB 3000MB 4294967296 1.5GiB 3gib 3000000kB; do
    expect 0 inspect "$tiny" --max-memory "$size"
done
expect 0 --threads 1 inspect --max-memory=3GB -- "$tiny" # options anywhere; -- ends them
expect 0 inspect -qv "$tiny"
expect 1 inspect -- --json # a file of that name, which there is not

expect 2 analyze "$tiny"
says err '-o MANIFEST is missing'
expect 2 analyze "$tiny" -o m.json --seed 0
expect 2 allocate m.json
expect 2 convert "$tiny" -o out-dir
says err '--plan PLAN is missing'
expect 2 convert "$tiny" --plan p.json
expect 2 convert "$tiny" --plan p.json -o out-dir --profile tpu
says err 'gpu, cpu'
expect 2 quantize "$tiny"
expect 2 quantize "$tiny" -o '' --dry-run=1
expect 2 allocate m.json -o p.json --t2 0
expect 2 allocate m.json -o p.json --t8 high
expect 2 allocate m.json -o p.json --weights svd=.2,colour=.8
expect 2 allocate m.json -o p.json --weights svd=0
expect 2 allocate m.json -o p.json --weights ''
absent m.json p.json out-dir

# A result that cannot be written is a failure.
if [ -e /dev/full ]; then
    "$RAM" inspect "$tiny" >/dev/full 2>err
    is $? 1 "exit code with a full stdout"
fi
finish

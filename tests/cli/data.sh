# data.sh - the files that models are evaluated on: read as Python reads them, and refused by the
# name of what they are where they are no text; tokens for which a model has no row.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

mark=$(printf '\357\273\277')
nll() { "$JSON_GET" "$1" results nll; }
score() { expect 0 evaluate "$tiny" --task text --seq-len 64 --precision f32 --json "$@"; }

# A text is the same text with other line ends and with a byte order mark, which is said.
head -c 3000 "$RAM_SOURCE/ARCHITECTURE.md" >plain
score --data plain
if grep -q 'note:' err; then bad "a note for plain text"; else good; fi
plain_nll=$(nll out)
is "$("$JSON_GET" out settings data_bytes)" 3000 "bytes of the file"
{ printf %s "$mark"; sed 's/$/\r/' plain; } >windows
score --data windows
is "$(nll out)" "$plain_nll" "a text with CR LF and a byte order mark"
says err 'note: windows: a byte order mark was left out; .* line ends (CR LF or CR) were read as LF'
score --data windows -q
silent err
"$RAM" evaluate "$tiny" --task text --seq-len 64 --precision f32 --json --data - <plain >out 2>err
is "$(nll out)" "$plain_nll" "a text from the standard input"

# What is no text, wherever a text is wanted.
printf 'PAR1\025\004\025\000\377\376\000binary' >parquet
printf '\037\213\010\000\000\000\000\000\000\003' >gzip
printf 't\000e\000x\000t\000 \000i\000n\000 \0001\0006\000' >utf16
printf 'a line\ncaf\351 au lait and more than that of plain text behind it\n' >latin1
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n' >pointer
: >empty
for kind in parquet:Parquet gzip:gunzip utf16:UTF-16LE 'latin1:line 2: byte 10 of the file is 0xE9' \
    'pointer:git lfs pull' 'empty:the file is empty'; do
    file=${kind%%:*} what=${kind#*:}
    expect 3 evaluate "$tiny" --task wikitext --seq-len 16 --data $file
    says err "$file: .*$what"
    expect 3 evaluate "$tiny" --task arc_challenge --shots 0 --data $file
    says err "$file: .*$what"
    expect 3 analyze "$tiny" -o m.json --probe --calibration $file -q
    says err "$file: .*$what"
    absent m.json
done
for kind in parquet:Parquet gzip:gunzip utf16:UTF-16LE; do
    expect 3 tokenize "$tiny" ${kind%%:*}
    says err "${kind%%:*}: .*${kind#*:}"
done
expect 0 tokenize "$tiny" latin1
says err 'not UTF-8 in 1 places'
expect 1 evaluate "$tiny" --task text --data .
head -c 100 plain >short
expect 3 evaluate "$tiny" --task text --data short --seq-len 512
says err 'the text has only [0-9]* tokens, a window needs 512'

# Questions, whatever lies around them.
arc='{"question": "Which town is by the sea?", "choices": {"text": ["this", "that"], "label": ["1", "2"]}, "answerKey": "2"}'
hellaswag='{"activity_label": "Rowing", "ctx_a": "Two sit in a boat.", "ctx_b": "they", "endings": ["row on.", "sell it.", "eat it.", "paint."], "label": "0"}'
ask() { expect 0 evaluate "$tiny" --task $task --data "$1" --shots 0 --json --log-samples log; }
for task in arc_challenge hellaswag; do
    if [ $task = hellaswag ]; then line=$hellaswag; else line=$arc; fi
    rm -f wanted
    for form in '%s\n' '%s' '%s\r\n' '%s\r' '\n\n%s\n' ' \t%s\n' "$mark%s\\n" '[%s]' '\n[\n%s\n]\n'; do
        rm -f log
        printf "$form" "$line" >document
        ask document
        is "$("$JSON_GET" out results documents)" 1 "documents in '$form'"
        if [ -f wanted ]; then same log wanted "$task as '$form'"; else mv log wanted; fi
    done
done
printf '\n%s\n\n{"question": "?", "choices": {"text": ["a"], "label": ["A"]}, "answerKey": ""}\n' \
    "$arc" >some
rm -f log
task=arc_challenge
ask some
says err 'note: some: passed over 2 blank lines and 1 document without an answer'
expect 3 evaluate "$tiny" --task hellaswag --shots 0 --data some
says err 'some: line 2: .*--task arc_challenge'

# A token that was added without a row for it matters where it stands in a text, and only there.
mkdir added
cp "$tiny"/config.json "$tiny"/model.safetensors "$tiny"/tokenizer_config.json added
awk '{ print } /"content": "<\|im_end\|>"/ { last = 1 }
    last && /^ *}/ { print ", {\"id\": 4096, \"content\": \"[PAD]\", \"special\": true}"; last = 0 }' \
    "$tiny/tokenizer.json" >added/tokenizer.json
row='the token "\[PAD\]" has the id 4096, but the embedding of added has 4096 rows'
expect 0 evaluate added --task text --seq-len 64 --precision f32 --json --data plain
is "$(nll out)" "$plain_nll" "a text without the token"
sed '14s/$/ [PAD]/' plain >with
expect 3 evaluate added --task text --seq-len 64 --data with
says err "with: $row"
expect 0 evaluate added --task text --seq-len 64 --data with --limit 1 -q
expect 3 analyze added -o m.json --probe --calibration with -q
says err "with: $row"
echo "$arc" | sed 's/that/[PAD]/' >asked
expect 3 evaluate added --task arc_challenge --shots 0 --data asked
says err "asked: document 0: $row"
expect 3 generate added --prompt 'Hello [PAD]'
says err "the prompt: $row"
silent out
expect 0 tokenize added with
says err 'note: 1 of .* tokens have no row in the model.s embedding, which has 4096 rows .*"\[PAD\]"'
expect 0 tokenize added plain
silent err
echo 4096 4095 9999 >ids
expect 0 tokenize added ids --decode
is "$(cat out)" '[PAD]<|im_end|>' "text of ids"
says err 'note: 1 of 3 ids have no token and were left out; the first is 9999'
finish

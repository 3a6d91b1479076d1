# synthesize.sh - the text that measurements run a model on: the same for any number of threads, the
# same as its ids, whole or absent.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

expect 0 synthesize "$tiny" --sequences 5 --length 24 --threads 1 -o text
silent out
says err 'wrote text'
expect 0 synthesize "$tiny" --sequences 5 --length 24 --threads 2
same out text "one thread into a file, two to the standard output"
expect 0 synthesize "$tiny" --sequences 5 --length 24 -o -
same out text "-o - and a file"
expect 0 synthesize "$tiny" --sequences 5 --length 24 --seed 42
same out text "seed 42 and none"
expect 0 synthesize "$tiny" --sequences 5 --length 24 --seed 43
if cmp -s out text; then bad "seed 43 gives the text of seed 42"; else good; fi

# Ids and text are of the same tokens.
expect 0 synthesize "$tiny" --sequences 5 --length 24 --ids --threads 1
cp out ids
expect 0 synthesize "$tiny" --sequences 5 --length 24 --ids --threads 2
same out ids "ids by two threads and by one"
is "$(wc -l <ids)" 5 "lines of ids"
is "$(awk 'NF != 24' ids)" "" "sequences of another length"
for i in 1 2 3 4 5; do
    sed -n "${i}p" ids >line
    expect 0 tokenize "$tiny" line --decode
    echo >>out
    awk -v i=$i '/^--- sequence [0-9]* of 5, begins with .* ---$/ { here = $3 == i; next } here' text >section
    same out section "sequence $i as ids and as text"
done
# What they begin with: in turn a document, and something else.
is "$(grep -c '^--- sequence' text)" 5 "sequences"
says out .
is "$(grep '^--- sequence' text | grep -c 'the start of a document')" 3 "documents"
is "$(grep '^--- sequence' text | grep -c "a user's turn\|a random token")" 2 "others"

expect 0 synthesize "$tiny" --sequences 5 --length 24 --json
is "$("$JSON_GET" out sequences)" 5 "sequences of the JSON"
is "$("$JSON_GET" out length)" 24 "their length"
is "$("$JSON_GET" out seed)" 42 "their seed"
is "$("$JSON_GET" -n out samples)" 5 "samples"
is "$("$JSON_GET" out samples 0 begins)" document "what the first begins with"
is "$("$JSON_GET" out samples 0 ids 0)" "$(cut -d' ' -f1 ids | head -1)" "its first id"
is "$("$JSON_GET" out samples 4 ids 23)" "$(awk 'END { print $24 }' ids)" "the last id of the last"

# Without options: what --effort best takes of a small model.
expect 0 synthesize "$tiny" --ids
is "$(wc -l <out)" 64 "sequences by default"
is "$(awk 'NF != 256' out)" "" "sequences that are not of 256 tokens"

# Nothing is overwritten, and the source never.
cp text before
expect 2 synthesize "$tiny" --sequences 1 --length 8 -o text
says err 'text.*--force'
same text before "a file that was there"
expect 0 synthesize "$tiny" --sequences 1 --length 8 -o text --force
if cmp -s text before; then bad "--force changed nothing"; else good; fi
cp -r "$tiny" model
chmod -R u+w model
expect 2 synthesize model --sequences 1 --length 8 -o model/model.safetensors --force
says err 'model.safetensors'
expect 1 synthesize "$tiny" --sequences 1 --length 8 -o nowhere/text
expect 2 synthesize "$tiny" --sequences 0
expect 2 synthesize "$tiny" --length 0
expect 2 synthesize "$tiny" --sequences 9000000000000000000 --length 9000000000000000000
says err 'too many'
expect 1 synthesize missing

# Text needs a tokenizer; ids do not.
rm model/tokenizer*.json
expect 3 synthesize model --sequences 1 --length 8 -o none
says err 'no tokenizer.json.*only ids (--ids)'
absent none
expect 0 synthesize model --sequences 1 --length 8 --ids
is "$(wc -w <out)" 8 "ids without a tokenizer"

# ^C leaves nothing.
"$RAM" synthesize "$tiny" --sequences 4000 --length 500 --threads 1 -o stopped >out 2>err &
pid=$!
tries=0
# Until it catches SIGINT (bit 1 of the mask), where that can be seen.
while [ $tries -lt 600 ] && ! grep -q '^SigCgt:.*[2367abef]$' /proc/$pid/status 2>/dev/null; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -INT $pid
wait $pid
is $? 130 "exit code after SIGINT"
says err 'interrupted'
absent stopped stopped.*
finish

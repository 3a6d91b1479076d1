# tokenize.sh - ids, their number, text from ids, and what is no tokenizer.
. "$RAM_SOURCE/tests/cli/tools/harness.sh"

printf 'The sea is wide.\n<|im_end|>' >text
expect 0 tokenize "$tiny" text
cp out ids
is "$(wc -l <ids)" 1 "lines of ids"
says out ' 4095$' # a special token in the text is one id
expect 0 tokenize "$tiny" text --count
is "$(cat out)" "$(wc -w <ids)" "--count"
expect 0 tokenize "$tiny" text --json
is "$("$JSON_GET" out tokens)" "$(wc -w <ids)" "tokens"
is "$("$JSON_GET" -n out ids)" "$(wc -w <ids)" "ids"
expect 0 tokenize "$tiny" text --json --count
is "$("$JSON_GET" out tokens)" "$(wc -w <ids)" "tokens"
expect 0 tokenize "$tiny" ids --decode
same out text "decoding what was encoded"
"$RAM" tokenize "$tiny" - <text >out
same out ids "a file and the standard input"

: >empty
expect 0 tokenize "$tiny" empty
is "$(cat out)" "" "ids of an empty file"
expect 0 tokenize "$tiny" empty --count
is "$(cat out)" 0 "their number"
expect 0 tokenize "$tiny" empty --decode
silent out

# Bytes that are no UTF-8 are U+FFFD, each maximal subpart one.
printf 'a\377\342\202b' >bad
printf 'a\357\277\275\357\277\275b' >repaired
expect 0 tokenize "$tiny" bad
cp out ids
expect 0 tokenize "$tiny" repaired
same out ids "broken bytes and their repair"

expect 1 tokenize "$tiny" missing
says err 'missing: No such file'
expect 3 tokenize "$tiny" text --decode
says err '"The" is not a token id'
expect 2 tokenize "$tiny" ids --decode --json
expect 2 tokenize "$tiny"
expect 1 tokenize nowhere text
mkdir none
expect 3 tokenize none text
says err 'none: no tokenizer.json, nor .*, nor any other file of a tokenizer'
echo '{}' >none/vocab.json
expect 3 tokenize none text
says err 'none: no tokenizer.json, nor .*; the directory has only vocab.json: copy the missing'
: >none/merges.txt
expect 3 tokenize none text
says err '"tokenizer_class" of tokenizer_config.json tells, and there is none'
rm none/merges.txt
while read -r file content kind; do
    printf '%b' "$content" >"none/$file"
    expect 3 tokenize none text
    says err "none: no tokenizer.json; the directory has .*, and $kind tokenizers are not supported"
    rm "none/$file"
done <<'END'
tekken.json {} Mistral's tekken
qwen.tiktoken IQ==\0409\n tiktoken
tiktoken.model IQ==\0409\n tiktoken
tokenizer.model IQ==\0409\n tiktoken
tokenizer.model \n\0016\n\0005<unk> SentencePiece
spiece.model \n\0016 SentencePiece
vocab.txt [PAD] WordPiece (BERT)
END
rm none/vocab.json
while read -r model kind; do
    echo "{\"normalizer\": {\"type\": \"Precompiled\"}, \"model\": $model}" >none/tokenizer.json
    expect 3 tokenize none text
    says err "tokenizer.json: .*: this is a $kind"
done <<'END'
{"type":"Unigram"} Unigram tokenizer (SentencePiece
{"type":"WordPiece"} WordPiece tokenizer
{"type":"WordLevel"} WordLevel tokenizer
{"type":"BPE","byte_fallback":true} SentencePiece BPE
END
echo '{"pre_tokenizer": {"type": "Metaspace"}}' >none/tokenizer.json
expect 3 tokenize none text
says err 'tokenizer.json: pre_tokenizer.type is "Metaspace"'
finish

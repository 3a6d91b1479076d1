/*
 * Text from anybody, through tokenizers of every kind that cost something: NFC, each hand-written
 * pattern and one of PCRE2, added tokens. What was encoded decodes to the repaired text.
 */
#include "text/tokenizer.h"
#include "text/tokenizer_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SPLIT(pattern)                                                                             \
    "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"behavior\": "            \
    "\"Isolated\", \"pattern\": {\"Regex\": \"" pattern "\"}}, " BYTES("false") "]}"
#define BYTES(regex)                                                                               \
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": " regex "}"
#define REST                                                                                       \
    "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "                                     \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*"                                                      \
    "|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define ADDED                                                                                      \
    "\"added_tokens\": [{\"content\": \"<x>\", \"special\": true}, {\"content\": \"<xx\"}],"

/* In the order of their numbers; the last normalises, so that it need not give the text back. */
static const struct {
    const char *pre_tokenizer, *extra;
} kinds[] = {
    {SPLIT("(?i:'s|'t|'re|'ve|'m|'ll|'d)" REST), ""},
    {SPLIT("'(?i:[sdmt]|ll|ve|re)" REST), ADDED},
    {BYTES("true"), ADDED},
    {SPLIT("(?i:'s|'t|'re|'ve|'m|'ll|'d)" REST), ADDED "\"normalizer\": {\"type\": \"NFC\"},"}};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

struct kit {
    struct ram_tokenizer *tokenizer;
    struct ram_encoder *encoder;
};

/* Every byte is a token, and a few pairs merge. */
static void make(struct kit *kit, size_t kind)
{
    struct ram_buf json = {0};
    struct ram_err err = {0};
    unsigned next = 0;

    ram_buf_printf(&json, "{\"pre_tokenizer\": %s, %s \"model\": {\"vocab\": {",
                   kinds[kind].pre_tokenizer, kinds[kind].extra);
    for (unsigned b = 0; b < 256; b++) {
        const bool plain = (b > 0x20 && b < 0x7F) || (b > 0xA0 && b != 0xAD);
        ram_buf_printf(&json, "\"\\u%04x\": %u, ", plain ? b : 0x100 + next++, b);
    }
    ram_buf_puts(&json, "\"aa\": 256, \"aaaa\": 257, \"ab\": 258, \"aab\": 259, "
                        "\"\\u0120\\u0120\": 260, \"\\u00c3\\u0125\": 261}, \"merges\": ["
                        "\"a a\", \"aa aa\", \"a b\", \"a ab\", \"\\u0120 \\u0120\", "
                        "\"\\u00c3 \\u0125\"]}}");
    if (ram_tokenizer_parse(&kit->tokenizer, json.data, json.size, "fuzz", &err) ||
        ram_encoder_new(&kit->encoder, kit->tokenizer, &err)) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    ram_buf_release(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kit kits[N_KINDS]; /* made once: a run has millions of inputs */
    struct ram_ids ids = {0};
    struct ram_buf repaired = {0}, normal = {0}, out = {0};
    struct ram_err err = {0};

    if (!size)
        return 0;
    const size_t kind = *data % N_KINDS;
    struct kit *kit = &kits[kind];
    if (!kit->encoder)
        make(kit, kind);
    for (int round = 0; round < 2; round++) { /* and again from the cache */
        const size_t before = ids.n;
        if (ram_encoder_run(kit->encoder, (const char *)data, size, RAM_ENCODE_PLAIN, &ids, &err))
            abort();
        if (round && (ids.n != 2 * before ||
                      memcmp(ids.items, ids.items + before, before * sizeof *ids.items) != 0))
            abort();
    }
    ram_tokenizer_decode(kit->tokenizer, ids.items, ids.n / 2, RAM_DECODE_ALL, &out);
    ram_utf8_repair(data, size, &repaired);
    if (ram_nfc((const uint8_t *)repaired.data, repaired.size, &normal, &err))
        abort();
    const struct ram_buf *expected = kind + 1 == N_KINDS ? &normal : &repaired;
    /* Normalising stops at added tokens, of which "<" is the first byte. */
    if (!(expected == &normal && memchr(data, '<', size)) &&
        (out.size != expected->size || (out.size && memcmp(out.data, expected->data, out.size))))
        abort();
    ram_ids_release(&ids);
    ram_buf_release(&out);
    ram_buf_release(&repaired);
    ram_buf_release(&normal);
    return 0;
}

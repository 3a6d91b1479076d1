/* cmd_tokenize.c - a text as token ids, and back. */
#include "cmd.h"
#include "job.h"
#include "message.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct args {
    bool count, special, decode;
};

#define AT(member) offsetof(struct args, member)
static const struct opt table[] = {
    {"count", 0, OPT_FLAG, AT(count), NULL, "only how many there are", NULL},
    {"special", 0, OPT_FLAG, AT(special), NULL, "with the tokens that the model puts around a text",
     NULL},
    {"decode", 0, OPT_FLAG, AT(decode), NULL, "FILE holds ids: print the text they stand for",
     NULL},
    {0},
};
#undef AT

static const struct opt_usage usage = {
    .verb = "tokenize",
    .synopsis = "MODEL FILE [options]",
    .about = "Prints the token ids of a text on one line. Special tokens in the text are\n"
             "recognised; none is added unless --special says so. FILE may be - for the\n"
             "standard input. Only the model's tokenizer is read, not its weights.",
    .examples = "ram tokenize Qwen/Qwen3-8B README.md --count\n"
                "echo 9707 1879 | ram tokenize Qwen/Qwen3-8B - --decode",
    .min_operands = 2,
    .max_operands = 2,
};

/* A growing text, freed by the caller. */
struct text {
    char *data;
    size_t size;
};

static int read_stream(struct text *text, FILE *file, const char *name, struct ram_err *err)
{
    size_t room = 0, n = 1;

    while (n) {
        if (room - text->size < 1 << 16) {
            room = room ? 2 * room : 1 << 17;
            char *data = realloc(text->data, room + 1);
            if (!data) {
                snprintf(err->message, sizeof err->message, "%s: no memory for %zu bytes", name,
                         room);
                return err->status = RAM_ENOMEM;
            }
            text->data = data;
        }
        n = fread(text->data + text->size, 1, room - text->size, file);
        text->size += n;
    }
    text->data[text->size] = 0;
    if (ferror(file)) {
        snprintf(err->message, sizeof err->message, "%s: cannot read: %s", name, strerror(errno));
        return err->status = RAM_EIO;
    }
    return RAM_OK;
}

static int read_text(struct text *text, const char *path, struct ram_err *err)
{
    if (!strcmp(path, "-"))
        return read_stream(text, stdin, "standard input", err);
    FILE *file = fopen(path, "rb");
    if (!file) {
        snprintf(err->message, sizeof err->message, "%s: %s", path, strerror(errno));
        return err->status = RAM_EIO;
    }
    const int status = read_stream(text, file, path, err);
    fclose(file);
    return status;
}

static void print_ids(const uint32_t *ids, size_t n, bool count, bool json)
{
    if (json)
        printf("{\"tokens\": %zu%s", n, count ? "" : ", \"ids\": [");
    else if (count)
        printf("%zu", n);
    for (size_t i = 0; i < n && !count; i++)
        printf("%s%" PRIu32, i == 0 ? "" : json ? ", " : " ", ids[i]);
    puts(!json ? "" : count ? "}" : "]}");
}

/* The numbers of a text, between white space or commas. */
static int parse_ids(const struct text *text, uint32_t **ids, size_t *n, struct ram_err *err)
{
    const char *p = text->data + strspn(text->data, " \t\r\n,");
    char *end;

    *ids = calloc(text->size / 2 + 1, sizeof **ids);
    if (!*ids) {
        snprintf(err->message, sizeof err->message, "no memory for %zu ids", text->size / 2);
        return err->status = RAM_ENOMEM;
    }
    for (*n = 0; *p; p = end + strspn(end, " \t\r\n,")) {
        errno = 0;
        const unsigned long long id = strtoull(p, &end, 10);
        if (end == p || errno || id > UINT32_MAX || !strchr(" \t\r\n,", *end)) {
            const size_t n_shown = strcspn(p, " \t\r\n,");
            snprintf(err->message, sizeof err->message, "\"%.*s\" is not a token id",
                     (int)(n_shown < 40 ? n_shown : 40), p);
            return err->status = RAM_EFORMAT;
        }
        (*ids)[(*n)++] = (uint32_t)id;
    }
    return RAM_OK;
}

static int decode(const struct ram_tokenizer *tokenizer, const struct text *text,
                  struct ram_err *err)
{
    uint32_t *ids = NULL;
    char *out = NULL;
    size_t n = 0, size = 0;

    int status = parse_ids(text, &ids, &n, err);
    if (!status)
        status = ram_detokenize(tokenizer, ids, n, &out, &size, err);
    if (!status)
        fwrite(out, 1, size, stdout);
    free(ids);
    free(out);
    return status;
}

static int encode(const struct ram_tokenizer *tokenizer, const struct text *text,
                  const struct args *args, bool json, struct ram_err *err)
{
    uint32_t *ids = NULL;
    size_t n = 0;

    const int status =
        ram_tokenize(tokenizer, text->data, text->size, args->special, &ids, &n, err);
    if (!status)
        print_ids(ids, n, args->count, json);
    free(ids);
    return status;
}

int cmd_tokenize(char **argv, size_t n)
{
    struct opt_common common = {0};
    struct args args = {0};
    const struct opt_group groups[] = {{"Options", table, &args},
                                       {"Options of every verb", opt_common_table, &common}};
    struct ram_tokenizer *tokenizer = NULL;
    struct ram_err err = {0};
    struct text text = {0};

    int status = opt_parse(&usage, groups, 2, argv, n, &n);
    if (status != OPT_GO)
        return status;
    if (args.decode && common.json) {
        message("tokenize: --decode prints bytes, which need not be a JSON string");
        return ram_exit_code(RAM_EUSAGE);
    }
    status = ram_tokenizer_open(&tokenizer, argv[0], &err);
    if (!status)
        status = read_text(&text, argv[1], &err);
    if (!status)
        status = args.decode ? decode(tokenizer, &text, &err)
                             : encode(tokenizer, &text, &args, common.json, &err);
    free(text.data);
    ram_tokenizer_close(tokenizer);
    return status ? message_failure(&err) : 0;
}

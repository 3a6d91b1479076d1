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
    {"count", 0, OPT_FLAG, AT(count), NULL, "print only how many ids there are", NULL},
    {"special", 0, OPT_FLAG, AT(special), NULL,
     "add the tokens that the model puts around a text, such as one that begins it", NULL},
    {"decode", 0, OPT_FLAG, AT(decode), NULL,
     "FILE holds ids, separated by blanks, commas or line ends: print their text", NULL},
    {0},
};
#undef AT

static const struct opt_usage usage = {
    .verb = "tokenize",
    .synopsis = "MODEL FILE [options]",
    .about = "Prints the token ids of a text on one line. Special tokens in the text are\n"
             "recognised; none is added unless --special is given. FILE may be - for the\n"
             "standard input. The text is taken exactly as it stands, with its line ends and\n"
             "a byte order mark if there is one (ram evaluate reads text as Python does).\n"
             "Only the model's tokenizer is read, not its weights.",
    .examples = "ram tokenize Qwen/Qwen3-8B README.md --count\n"
                "echo 9707 1879 | ram tokenize Qwen/Qwen3-8B - --decode",
    .min_operands = 2,
    .max_operands = 2,
};

struct work {
    const struct args *args;
    struct job *job;
    struct ram_tokenizer *tokenizer;
    char *text;
    size_t size;
};

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
static int parse_ids(const char *text, size_t size, uint32_t **ids, size_t *n, struct ram_err *err)
{
    const char *p = text + strspn(text, " \t\r\n,");
    char *end;

    *ids = calloc(size / 2 + 1, sizeof **ids);
    if (!*ids) {
        snprintf(err->message, sizeof err->message, "no memory for %zu ids", size / 2);
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

/* Ids that stand for nothing are left out of the text, which is said. */
static void note_unknown(const struct work *w, const uint32_t *ids, size_t n)
{
    uint64_t n_ids, rows;
    size_t unknown = 0, first = n;

    ram_tokenizer_sizes(w->tokenizer, &n_ids, &rows);
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= n_ids) {
            first = unknown ? first : i;
            unknown++;
        }
    if (unknown && !w->job->progress.quiet)
        message("note: %zu of %zu ids have no token and were left out; the first is %" PRIu32
                ", the highest id of the vocabulary is %" PRIu64,
                unknown, n, ids[first], n_ids - 1);
}

/* Tokens that the model has no row for: the text is tokenised, but cannot be run. */
static void note_without_row(const struct work *w, const uint32_t *ids, size_t n)
{
    struct ram_err err = {0};
    uint64_t n_ids, rows;
    size_t without = 0, first = n, size = 0;
    char *text = NULL;

    ram_tokenizer_sizes(w->tokenizer, &n_ids, &rows);
    for (size_t i = 0; rows && i < n; i++)
        if (ids[i] >= rows) {
            first = without ? first : i;
            without++;
        }
    if (!without || w->job->progress.quiet ||
        ram_detokenize(w->tokenizer, ids + first, 1, &text, &size, &err))
        return;
    message("note: %zu of %zu tokens have no row in the model's embedding, which has %" PRIu64
            " rows by its config.json; the first is \"%.80s\" with the id %" PRIu32,
            without, n, rows, text ? text : "", ids[first]);
    free(text);
}

static int decode(const struct work *w, struct ram_err *err)
{
    uint32_t *ids = NULL;
    char *out = NULL;
    size_t n = 0, size = 0;

    int status = parse_ids(w->text, w->size, &ids, &n, err);
    if (!status)
        status = ram_detokenize(w->tokenizer, ids, n, &out, &size, err);
    if (!status) {
        fwrite(out, 1, size, stdout);
        note_unknown(w, ids, n);
    }
    free(ids);
    free(out);
    return status;
}

static int encode(const struct work *w, struct ram_err *err)
{
    uint32_t *ids = NULL;
    size_t n = 0;

    const int status =
        ram_tokenize(w->tokenizer, w->text, w->size, w->args->special, &ids, &n, err);
    if (!status) {
        print_ids(ids, n, w->args->count, w->job->markup == RAM_JSON);
        note_without_row(w, ids, n);
    }
    free(ids);
    return status;
}

int cmd_tokenize(char **argv, size_t n)
{
    struct opt_common common = {0};
    struct args args = {0};
    const struct opt_group groups[] = {{"Options", table, &args},
                                       {"Options of every verb", opt_common_table, &common}};
    struct ram_err err = {0};
    struct job job;
    struct work w = {.args = &args, .job = &job};

    int status = opt_parse(&usage, groups, 2, argv, n, &n);
    if (status != OPT_GO)
        return status;
    if (args.decode && common.json) {
        message("tokenize: --decode prints bytes, which need not be a JSON string");
        return ram_exit_code(RAM_EUSAGE);
    }
    job_init(&job, &common);
    status = ram_tokenizer_open(&w.tokenizer, argv[0], &err);
    if (!status)
        status = ram_text_read(argv[1], &job.run, &w.text, &w.size, &err);
    if (!status)
        status = args.decode ? decode(&w, &err) : encode(&w, &err);
    free(w.text);
    ram_tokenizer_close(w.tokenizer);
    return status ? message_failure(&err) : 0;
}

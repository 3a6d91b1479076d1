/*
 * documents.c - see documents.h.
 *
 * A line of JSON is told by its members: "endings" is HellaSwag's own, "question" ARC's own,
 * "query" a question that is ready to be asked. A file for HellaSwag that does not begin with a
 * brace is llama.cpp's text, six lines a question.
 */
#include "evaluate/documents.h"

#include "base/file.h"
#include "base/json.h"
#include "evaluate/prompt_text.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define MAX_FILE ((size_t)1 << 30)
#define MAX_LINE ((size_t)1 << 20)
enum { MAX_DOCUMENTS = 1 << 20, TEXT_CHOICES = 4, MAX_WHERE = 512 };

struct reader {
    struct ram_documents *documents;
    enum ram_choice_task task;
    const char *text, *where;
    size_t size, at; /* the next line begins at text[at] */
    size_t line;     /* of the one that was read last, from 1 */
};

/* ---- lines ------------------------------------------------------------------------------ */

struct line {
    const char *text; /* not 0-terminated */
    size_t size;
};

static int next_line(struct reader *reader, struct line *out, struct ram_err *err)
{
    const char *begin = reader->text + reader->at;
    const size_t left = reader->size - reader->at;
    const char *end = memchr(begin, '\n', left);
    const size_t size = end ? (size_t)(end - begin) : left;

    reader->line++;
    reader->at += size + (end != NULL);
    if (size > MAX_LINE)
        return ram_fail(err, RAM_ERANGE, "%s: line %zu has %zu bytes, at most %zu are allowed",
                        reader->where, reader->line, size, MAX_LINE);
    *out = (struct line){begin, size > 0 && begin[size - 1] == '\r' ? size - 1 : size};
    return RAM_OK;
}

static bool is_blank(const struct line *line)
{
    for (size_t i = 0; i < line->size; i++)
        if (line->text[i] != ' ' && line->text[i] != '\t')
            return false;
    return true;
}

/* ---- what a document is made of --------------------------------------------------------- */

/* Takes what was written to buf. */
static int keep(struct reader *reader, struct ram_buf *buf, const char **out, struct ram_err *err)
{
    if (buf->failed)
        return ram_fail(err, RAM_ENOMEM, "no memory for %s", reader->where);
    *out = ram_arena_strdup(&reader->documents->arena, buf->data ? buf->data : "", err);
    return *out ? RAM_OK : RAM_ENOMEM;
}

static int keep_clean(struct reader *reader, const char *text, const char **out,
                      struct ram_err *err)
{
    struct ram_buf buf = {0};

    ram_text_clean(text, &buf);
    const int status = keep(reader, &buf, out, err);
    ram_buf_release(&buf);
    return status;
}

static int keep_plain(struct reader *reader, const char *text, const char **out,
                      struct ram_err *err)
{
    *out = ram_arena_strdup(&reader->documents->arena, text, err);
    return *out ? RAM_OK : RAM_ENOMEM;
}

typedef int keep_fn(struct reader *reader, const char *text, const char **out, struct ram_err *err);

static int room_for_choices(struct reader *reader, struct ram_document *document, size_t n,
                            const char *where, struct ram_err *err)
{
    if (n == 0 || n > RAM_MAX_CHOICES)
        return ram_fail(err, RAM_ERANGE, "%s: %zu choices, expected 1 to %d", where, n,
                        RAM_MAX_CHOICES);
    document->choices =
        ram_arena_alloc(&reader->documents->arena, n * sizeof *document->choices, err);
    document->n_choices = n;
    return document->choices ? RAM_OK : RAM_ENOMEM;
}

static int read_choices(struct reader *reader, const json_t *object, const char *key,
                        keep_fn *keep_one, struct ram_document *document, const char *where,
                        struct ram_err *err)
{
    json_t *array;

    int status = ram_json_get_array(object, key, &array, where, err);
    if (!status)
        status = room_for_choices(reader, document, json_array_size(array), where, err);
    for (size_t i = 0; !status && i < document->n_choices; i++) {
        const char *choice = json_string_value(json_array_get(array, i));
        status = choice ? keep_one(reader, choice, &document->choices[i], err)
                        : ram_fail(err, RAM_EFORMAT, "%s: \"%s\": item %zu is not a string", where,
                                   key, i);
    }
    return status;
}

/* An index of a choice, given as an integer or as its digits. */
static int read_gold(const json_t *value, const char *key, struct ram_document *document,
                     const char *where, struct ram_err *err)
{
    const char *digits = json_string_value(value);
    json_int_t gold = -1;

    if (json_is_integer(value))
        gold = json_integer_value(value);
    else if (digits && *digits && strlen(digits) <= 3 && !digits[strspn(digits, "0123456789")])
        gold = strtol(digits, NULL, 10);
    else
        return ram_fail(err, RAM_EFORMAT,
                        "%s: \"%s\" is not the index of a choice (a test set without answers?)",
                        where, key);
    if (gold < 0 || (size_t)gold >= document->n_choices)
        return ram_fail(err, RAM_ERANGE, "%s: \"%s\" is %lld, there are choices 0 to %zu", where,
                        key, (long long)gold, document->n_choices - 1);
    document->gold = (size_t)gold;
    return RAM_OK;
}

/* ---- the forms of a line of JSON -------------------------------------------------------- */

/* {query, choices, gold}: as it stands. */
static int read_ready(struct reader *reader, const json_t *object, struct ram_document *document,
                      const char *where, struct ram_err *err)
{
    const char *query;

    int status = ram_json_get_string(object, "query", &query, where, err);
    if (!status)
        status = keep_plain(reader, query, &document->query, err);
    if (!status)
        status = read_choices(reader, object, "choices", keep_plain, document, where, err);
    return status ? status
                  : read_gold(json_object_get(object, "gold"), "gold", document, where, err);
}

/* {question, choices: {text, label}, answerKey} */
static int read_arc(struct reader *reader, const json_t *object, struct ram_document *document,
                    const char *where, struct ram_err *err)
{
    const char *question, *answer;
    json_t *choices, *labels;

    int status = ram_json_get_string(object, "question", &question, where, err);
    if (!status)
        status = ram_json_get_object(object, "choices", &choices, where, err);
    if (!status)
        status = ram_json_get_array(choices, "label", &labels, where, err);
    if (!status)
        status = ram_json_get_string(object, "answerKey", &answer, where, err);
    if (!status)
        status = read_choices(reader, choices, "text", keep_plain, document, where, err);
    if (status)
        return status;
    if (json_array_size(labels) != document->n_choices)
        return ram_fail(err, RAM_EFORMAT, "%s: %zu labels for %zu choices", where,
                        json_array_size(labels), document->n_choices);
    document->query =
        ram_arena_printf(&reader->documents->arena, err, "Question: %s\nAnswer:", question);
    if (!document->query)
        return RAM_ENOMEM;
    for (size_t i = 0; i < document->n_choices; i++) {
        const char *label = json_string_value(json_array_get(labels, i));
        if (label && !strcmp(label, answer)) {
            document->gold = i;
            return RAM_OK;
        }
    }
    return ram_fail(err, RAM_EFORMAT, "%s: \"answerKey\" is \"%.20s\", which is no label", where,
                    answer);
}

/* {activity_label, ctx_a, ctx_b, endings, label} */
static int read_hellaswag(struct reader *reader, const json_t *object,
                          struct ram_document *document, const char *where, struct ram_err *err)
{
    const char *activity, *first, *second;
    struct ram_buf context = {0};

    int status = ram_json_get_string(object, "activity_label", &activity, where, err);
    if (!status)
        status = ram_json_get_string(object, "ctx_a", &first, where, err);
    if (!status)
        status = ram_json_get_string(object, "ctx_b", &second, where, err);
    if (!status)
        status = read_choices(reader, object, "endings", keep_clean, document, where, err);
    if (!status)
        status = read_gold(json_object_get(object, "label"), "label", document, where, err);
    if (status)
        return status;
    ram_buf_printf(&context, "%s: %s ", activity, first);
    ram_text_capitalize(second, &context);
    status = context.failed ? ram_fail(err, RAM_ENOMEM, "no memory for %s", where)
                            : keep_clean(reader, context.data, &document->query, err);
    ram_buf_release(&context);
    return status;
}

static int read_object(struct reader *reader, const json_t *object, struct ram_document *document,
                       const char *where, struct ram_err *err)
{
    char *canonical = NULL;
    int status;

    if (reader->task == RAM_HELLASWAG && json_object_get(object, "endings"))
        status = read_hellaswag(reader, object, document, where, err);
    else if (reader->task == RAM_ARC_CHALLENGE && json_object_get(object, "question"))
        status = read_arc(reader, object, document, where, err);
    else if (json_object_get(object, "query"))
        status = read_ready(reader, object, document, where, err);
    else
        status = ram_fail(err, RAM_EFORMAT, "%s: no \"%s\" and no \"query\"; this is not %s", where,
                          reader->task == RAM_HELLASWAG ? "endings" : "question",
                          reader->task == RAM_HELLASWAG ? "HellaSwag" : "ARC");
    if (!status)
        status = ram_json_text(object, 0, true, &canonical, err);
    if (!status)
        ram_sha256(canonical, strlen(canonical), document->sha256);
    free(canonical);
    return status;
}

static int read_json_line(struct reader *reader, const struct line *line,
                          struct ram_document *document, struct ram_err *err)
{
    char where[MAX_WHERE];
    json_error_t at;
    int status;

    snprintf(where, sizeof where, "%s: line %zu", reader->where, reader->line);
    json_t *object = json_loadb(line->text, line->size, JSON_REJECT_DUPLICATES, &at);
    if (!object)
        return ram_fail(err, RAM_EFORMAT, "%s, column %d: %s", where, at.column, at.text);
    if (json_is_object(object))
        status = read_object(reader, object, document, where, err);
    else
        status = ram_fail(err, RAM_EFORMAT, "%s: not a JSON object", where);
    json_decref(object);
    return status;
}

/* ---- llama.cpp's text ------------------------------------------------------------------- */

/* One line as a string of its own. */
static int take_text(struct reader *reader, struct ram_buf *buf, struct ram_err *err)
{
    struct line line;

    if (reader->at == reader->size)
        return ram_fail(err, RAM_EFORMAT,
                        "%s: ends after line %zu, inside a question: six lines are expected for "
                        "each",
                        reader->where, reader->line);
    const int status = next_line(reader, &line, err);
    if (status)
        return status;
    for (size_t i = 0; i < line.size;) {
        utf8proc_int32_t c;
        const utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)line.text + i,
                                                    (utf8proc_ssize_t)(line.size - i), &c);
        if (n <= 0 || c == 0)
            return ram_fail(err, RAM_EFORMAT, "%s: line %zu, byte %zu: not UTF-8 text",
                            reader->where, reader->line, i);
        i += (size_t)n;
    }
    buf->size = 0;
    ram_buf_add(buf, line.text, line.size);
    return buf->failed ? ram_fail(err, RAM_ENOMEM, "no memory for %s", reader->where) : RAM_OK;
}

/* Query, index of the right ending, endings. The file keeps some of the brackets that the harness
 * cuts out, and does not tell where ctx_b begins: it stays in lower case. */
static int read_six_lines(struct reader *reader, struct ram_document *document, struct ram_err *err)
{
    const size_t begin = reader->at;
    struct ram_buf buf = {0};
    char where[MAX_WHERE];
    json_t *gold = NULL;

    int status = room_for_choices(reader, document, TEXT_CHOICES, reader->where, err);
    if (!status)
        status = take_text(reader, &buf, err);
    if (!status)
        status = keep_clean(reader, buf.data, &document->query, err);
    if (!status)
        status = take_text(reader, &buf, err);
    if (!status) {
        snprintf(where, sizeof where, "%s: line %zu", reader->where, reader->line);
        gold = json_string(buf.data);
        status = read_gold(gold, "gold", document, where, err);
    }
    for (size_t i = 0; !status && i < TEXT_CHOICES; i++) {
        status = take_text(reader, &buf, err);
        if (!status)
            status = keep_clean(reader, buf.data, &document->choices[i], err);
    }
    if (!status)
        ram_sha256(reader->text + begin, reader->at - begin, document->sha256);
    json_decref(gold);
    ram_buf_release(&buf);
    return status;
}

/* ---- the file --------------------------------------------------------------------------- */

static int read_next(struct reader *reader, bool text_form, struct ram_err *err)
{
    struct ram_documents *documents = reader->documents;
    struct ram_document document = {0};
    struct line line = {0};
    int status;

    if (text_form) {
        status = read_six_lines(reader, &document, err);
    } else {
        status = next_line(reader, &line, err);
        if (status || is_blank(&line))
            return status;
        status = read_json_line(reader, &line, &document, err);
    }
    if (!status && documents->n == MAX_DOCUMENTS)
        status = ram_fail(err, RAM_ERANGE, "%s: line %zu: more than %d documents", reader->where,
                          reader->line, MAX_DOCUMENTS);
    if (!status)
        status = ram_grow(&documents->items, sizeof document, documents->n, &documents->cap, err);
    if (!status)
        documents->items[documents->n++] = document;
    return status;
}

int ram_documents_parse(struct ram_documents *out, const char *text, size_t size,
                        enum ram_choice_task task, size_t limit, const char *where,
                        struct ram_err *err)
{
    struct reader reader = {
        .documents = out, .task = task, .text = text, .where = where, .size = size};
    const bool text_form = task == RAM_HELLASWAG && size > 0 && text[0] != '{';
    int status = RAM_OK;

    *out = (struct ram_documents){0};
    ram_sha256(text, size, out->sha256);
    while (!status && reader.at < size && !(limit && out->n == limit))
        status = read_next(&reader, text_form, err);
    if (!status && out->n == 0)
        status = ram_fail(err, RAM_EFORMAT, "%s: there is no document in it", where);
    if (status)
        ram_documents_release(out);
    return status;
}

int ram_documents_read(struct ram_documents *out, const char *path, enum ram_choice_task task,
                       size_t limit, struct ram_err *err)
{
    char *text = NULL;
    size_t size = 0;

    *out = (struct ram_documents){0};
    int status = ram_file_read(path, MAX_FILE, &text, &size, err);
    if (!status)
        status = ram_documents_parse(out, text, size, task, limit, path, err);
    free(text);
    return status;
}

void ram_documents_release(struct ram_documents *documents)
{
    ram_arena_release(&documents->arena);
    free(documents->items);
    *documents = (struct ram_documents){0};
}

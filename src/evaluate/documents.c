/*
 * documents.c - see documents.h.
 *
 * JSON is told from llama.cpp's text (six lines a question) by what follows the first bracket, not
 * by the bracket: a sentence of HellaSwag may begin with "[header]".
 */
#include "evaluate/documents.h"

#include "base/textfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE     ((size_t)1 << 30)
#define MAX_DOCUMENT ((size_t)1 << 20) /* bytes of one */
enum { MAX_DOCUMENTS = 1 << 20, TEXT_CHOICES = 4, MAX_WHERE = 512 };

struct reader {
    struct ram_documents *documents;
    const struct ram_documents_opts *opts;
    const char *text, *where;
    size_t size, at;      /* what comes next is text[at] */
    size_t line, counted; /* of text[counted], from 1 */
    bool in_array;        /* of JSON */
    size_t n_blank, n_unanswered;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t line_at(struct reader *reader, size_t at)
{
    for (; reader->counted < at; reader->counted++)
        reader->line += reader->text[reader->counted] == '\n';
    return reader->line;
}

/* Passes over white space, and counts the lines that have nothing else. */
static void skip_space(struct reader *reader)
{
    const char *text = reader->text;
    bool blank = reader->at == 0 || text[reader->at - 1] == '\n';

    for (; reader->at < reader->size && is_space(text[reader->at]); reader->at++) {
        if (text[reader->at] != '\n')
            continue;
        reader->n_blank += blank && !reader->in_array;
        blank = true;
    }
}

static int add(struct reader *reader, const struct ram_document *document, struct ram_err *err)
{
    struct ram_documents *documents = reader->documents;

    if (documents->n == MAX_DOCUMENTS)
        return ram_fail(err, RAM_ERANGE, "%s: line %zu: more than %d documents", reader->where,
                        line_at(reader, reader->at), MAX_DOCUMENTS);
    if (ram_grow(&documents->items, sizeof *document, documents->n, &documents->cap, err))
        return RAM_ENOMEM;
    documents->items[documents->n++] = *document;
    return RAM_OK;
}

/* ---- JSON ------------------------------------------------------------------------------- */

static int refuse_json(struct reader *reader, const json_error_t *at, bool whole,
                       struct ram_err *err)
{
    const size_t first = line_at(reader, reader->at);
    const size_t line = first + (at->line > 0 ? (size_t)at->line - 1 : 0);
    char begun[64] = "";

    if (json_error_code(at) == json_error_premature_end_of_input && !whole)
        return ram_fail(err, RAM_ERANGE, "%s: line %zu: a document of more than %zu bytes",
                        reader->where, first, MAX_DOCUMENT);
    if (json_error_code(at) == json_error_premature_end_of_input)
        return ram_fail(err, RAM_EFORMAT,
                        "%s: line %zu, column %d: the file ends inside the document that begins on "
                        "line %zu; was its download cut short?",
                        reader->where, line, at->column, first);
    if (line != first)
        snprintf(begun, sizeof begun, " (in the document that begins on line %zu)", first);
    return ram_fail(err, RAM_EFORMAT, "%s: line %zu, column %d: %s%s", reader->where, line,
                    at->column, at->text, begun);
}

/* Bytes of the object that a text begins with, up to its closing bracket; 0 if it has none. */
static size_t object_size(const char *text, size_t size)
{
    size_t depth = 0;
    bool quoted = false;

    for (size_t i = 0; i < size; i++) {
        if (quoted && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted && (text[i] == '{' || text[i] == '['))
            depth++;
        else if (!quoted && (text[i] == '}' || text[i] == ']') && depth && --depth == 0)
            return i + 1;
    }
    return 0;
}

/* What strict JSON has no number for, and Python writes: NaN, or an integer of any size. */
static int read_as_python(json_t **out, const char *text, size_t size, json_error_t *at)
{
    const enum json_error_code code = json_error_code(at);
    const size_t n = object_size(text, size);
    struct ram_err ignored = {0};

    if ((code != json_error_invalid_syntax && code != json_error_numeric_overflow) || !n)
        return RAM_EFORMAT;
    const int status = ram_json_parse_python(out, text, n, "", &ignored);
    if (!status)
        at->position = (int)n;
    return status;
}

/* The document that begins at text[at], on one line or several. */
static int read_json(struct reader *reader, struct ram_err *err)
{
    const size_t left = reader->size - reader->at;
    const size_t size = left < MAX_DOCUMENT ? left : MAX_DOCUMENT;
    struct ram_document document = {0};
    bool answered = true;
    char where[MAX_WHERE];
    json_error_t at;

    json_t *object = NULL;
    int status = ram_json_load(&object, reader->text + reader->at, size,
                               JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &at);
    if (status == RAM_EFORMAT)
        status = read_as_python(&object, reader->text + reader->at, size, &at);
    if (status == RAM_ENOMEM)
        return ram_fail(err, status, "%s: line %zu: no memory for a document", reader->where,
                        line_at(reader, reader->at));
    if (status)
        return refuse_json(reader, &at, size == left, err);
    snprintf(where, sizeof where, "%s: line %zu", reader->where, line_at(reader, reader->at));
    const struct ram_document_source source = {&reader->documents->arena, reader->opts->task,
                                               where};
    status = ram_document_from_json(&source, object, &document, &answered, err);
    json_decref(object);
    if (!document.sha256[0])
        ram_sha256(reader->text + reader->at, (size_t)at.position, document.sha256);
    reader->at += (size_t)at.position;
    if (!status && answered)
        status = add(reader, &document, err);
    reader->n_unanswered += !status && !answered;
    return status;
}

/* In an array: the comma before the next document, or the bracket behind the last one. */
static int read_comma(struct reader *reader, bool first, bool *end, struct ram_err *err)
{
    const char c = reader->at < reader->size ? reader->text[reader->at] : '\0';

    *end = c == ']';
    if (*end || (!first && c == ',')) {
        reader->at++;
        skip_space(reader);
    }
    if (*end && reader->at < reader->size)
        return ram_fail(err, RAM_EFORMAT, "%s: line %zu: something follows the JSON array",
                        reader->where, line_at(reader, reader->at));
    if (!*end && !first && c != ',')
        return ram_fail(err, RAM_EFORMAT, "%s: line %zu: expected ',' or ']' behind a document",
                        reader->where, line_at(reader, reader->at));
    return RAM_OK;
}

/* ---- llama.cpp's text ------------------------------------------------------------------- */

/* One line as a string of its own. */
static int take_line(struct reader *reader, struct ram_buf *buf, struct ram_err *err)
{
    const char *begin = reader->text + reader->at;
    const size_t left = reader->size - reader->at;

    if (!left)
        return ram_fail(err, RAM_EFORMAT,
                        "%s: ends after line %zu, inside a question: six lines are expected for "
                        "each",
                        reader->where,
                        line_at(reader, reader->at) - (reader->text[reader->at - 1] == '\n'));
    const char *end = memchr(begin, '\n', left);
    const size_t size = end ? (size_t)(end - begin) : left;
    if (size > MAX_DOCUMENT)
        return ram_fail(err, RAM_ERANGE, "%s: line %zu has %zu bytes, at most %zu are allowed",
                        reader->where, line_at(reader, reader->at), size, MAX_DOCUMENT);
    reader->at += size + (end != NULL);
    buf->size = 0;
    ram_buf_add(buf, begin, size);
    return buf->failed ? ram_fail(err, RAM_ENOMEM, "no memory for %s", reader->where) : RAM_OK;
}

static int read_index(struct reader *reader, const struct ram_document_source *source,
                      const char *text, struct ram_document *document, struct ram_err *err)
{
    json_t *gold = json_string(text);

    if (!gold)
        return ram_fail(err, RAM_ENOMEM, "%s: no memory for a document", source->where);
    const int status = ram_document_gold(source, gold, "gold", document, err);
    json_decref(gold);
    /* The file's very first index: it may be of another kind altogether. */
    if (status == RAM_EFORMAT && !reader->documents->n) {
        *err = (struct ram_err){0};
        return ram_fail(err, RAM_EFORMAT,
                        "%s: expected JSON documents, or llama.cpp's text of six lines a question, "
                        "of which the second is the index of the right ending, not \"%.40s\"",
                        source->where, text);
    }
    return status;
}

/* Query, index of the right ending, endings. The file keeps some of the brackets that the harness
 * cuts out, and does not tell where ctx_b begins: it stays in lower case. */
static int read_six_lines(struct reader *reader, struct ram_err *err)
{
    const size_t begin = reader->at;
    struct ram_document document = {0};
    struct ram_buf buf = {0};
    char where[MAX_WHERE];
    const struct ram_document_source source = {&reader->documents->arena, reader->opts->task,
                                               where};

    snprintf(where, sizeof where, "%s: line %zu", reader->where, line_at(reader, begin));
    int status = ram_document_choices(&source, &document, TEXT_CHOICES, err);
    if (!status)
        status = take_line(reader, &buf, err);
    if (!status)
        status = ram_document_clean(&source, buf.data, &document.query, err);
    snprintf(where, sizeof where, "%s: line %zu", reader->where, line_at(reader, reader->at));
    if (!status)
        status = take_line(reader, &buf, err);
    if (!status)
        status = read_index(reader, &source, buf.data, &document, err);
    for (size_t i = 0; !status && i < TEXT_CHOICES; i++) {
        status = take_line(reader, &buf, err);
        if (!status)
            status = ram_document_clean(&source, buf.data, &document.choices[i], err);
    }
    ram_buf_release(&buf);
    if (status)
        return status;
    ram_sha256(reader->text + begin, reader->at - begin, document.sha256);
    return add(reader, &document, err);
}

/* ---- the file --------------------------------------------------------------------------- */

/* Whether this bracket begins JSON: whether the next character is one that JSON allows there. */
static bool opens_json(const struct reader *reader, char bracket, const char *allowed)
{
    size_t at = reader->at;

    if (at == reader->size || reader->text[at] != bracket)
        return false;
    for (at++; at < reader->size && is_space(reader->text[at]);)
        at++;
    return at == reader->size || strchr(allowed, reader->text[at]) != NULL;
}

static int refuse_kind(const struct reader *reader, struct ram_err *err)
{
    const char *text = reader->text + reader->at;

    if (*text == '<')
        return ram_fail(
            err, RAM_EFORMAT,
            "%s: this looks like a web page (HTML or XML), expected JSON documents; was "
            "the page of a file saved instead of the file?",
            reader->where);
    return ram_fail(err, RAM_EFORMAT,
                    "%s: begins with \"%.*s\", expected JSON documents: one a line, or an array",
                    reader->where, (int)(strcspn(text, "\r\n") < 40 ? strcspn(text, "\r\n") : 40),
                    text);
}

static int read_all(struct reader *reader, struct ram_err *err)
{
    const size_t limit = reader->opts->limit, *n = &reader->documents->n;
    bool first = true, end = false;
    int status = RAM_OK;

    skip_space(reader);
    if (reader->at == reader->size)
        return RAM_OK;
    reader->in_array = opens_json(reader, '[', "{[]\"-0123456789tfn");
    const bool json = reader->in_array || opens_json(reader, '{', "\"}");
    if (!json && (reader->opts->task != RAM_HELLASWAG || reader->text[reader->at] == '<'))
        return refuse_kind(reader, err);
    reader->at += reader->in_array;
    while (!status && !end && !(limit && *n == limit)) {
        skip_space(reader);
        if (reader->in_array)
            status = read_comma(reader, first, &end, err);
        if (status || end || (reader->at == reader->size && !reader->in_array))
            break;
        status = json ? read_json(reader, err) : read_six_lines(reader, err);
        first = false;
    }
    return status;
}

static void count_out(struct ram_buf *out, size_t n, const char *what, const char *one,
                      const char *many)
{
    if (n)
        ram_buf_printf(out, "%s%zu %s%s", out->size ? " and " : "", n, what, n == 1 ? one : many);
}

static void tell_passed_over(const struct reader *reader)
{
    struct ram_buf what = {0};

    count_out(&what, reader->n_blank, "blank line", "", "s");
    count_out(&what, reader->n_unanswered, "document", " without an answer", "s without an answer");
    if (what.size && !what.failed)
        ram_exec_notice(reader->opts->exec, "%s: passed over %s", reader->where, what.data);
    ram_buf_release(&what);
}

static int read_text(struct ram_documents *out, const struct ram_textfile *file, const char *where,
                     const struct ram_documents_opts *opts, struct ram_err *err)
{
    struct reader reader = {.documents = out,
                            .opts = opts,
                            .text = file->text,
                            .where = where,
                            .size = file->size,
                            .line = 1};

    *out = (struct ram_documents){0};
    memcpy(out->sha256, file->sha256, sizeof out->sha256);
    int status = read_all(&reader, err);
    if (!status && out->n == 0 && reader.n_unanswered)
        status = ram_fail(err, RAM_EFORMAT,
                          "%s: none of its %zu documents has an answer (\"%s\" is missing or "
                          "empty); is this a test set without answers?",
                          where, reader.n_unanswered,
                          opts->task == RAM_HELLASWAG ? "label" : "answerKey");
    if (!status && out->n == 0)
        status = ram_fail(err, RAM_EFORMAT, "%s: there is no document in it", where);
    if (status)
        ram_documents_release(out);
    else
        tell_passed_over(&reader);
    return status;
}

int ram_documents_parse(struct ram_documents *out, const char *bytes, size_t size,
                        const struct ram_documents_opts *opts, const char *where,
                        struct ram_err *err)
{
    struct ram_textfile file = {0};
    char *copy = malloc(size + 1);

    *out = (struct ram_documents){0};
    if (!copy)
        return ram_fail(err, RAM_ENOMEM, "no memory for %s", where);
    memcpy(copy, bytes, size);
    copy[size] = '\0';
    int status = ram_textfile_take(&file, copy, size, where, RAM_TEXTFILE_RECORDS, opts->exec, err);
    if (!status)
        status = read_text(out, &file, where, opts, err);
    ram_textfile_release(&file);
    return status;
}

int ram_documents_read(struct ram_documents *out, const char *path,
                       const struct ram_documents_opts *opts, struct ram_err *err)
{
    struct ram_textfile file = {0};

    *out = (struct ram_documents){0};
    int status = ram_textfile_read(&file, path, MAX_FILE, RAM_TEXTFILE_RECORDS, opts->exec, err);
    if (!status)
        status = read_text(out, &file, path, opts, err);
    ram_textfile_release(&file);
    return status;
}

void ram_documents_release(struct ram_documents *documents)
{
    ram_arena_release(&documents->arena);
    free(documents->items);
    *documents = (struct ram_documents){0};
}

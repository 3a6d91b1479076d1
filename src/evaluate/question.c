/*
 * question.c - see question.h.
 *
 * A document is told by its members: "endings" is HellaSwag's own, "question" ARC's own, "query" a
 * question that is ready to be asked. ARC comes with its choices as two lists (the Hugging Face
 * Hub) or as a list of objects within the question (the Allen Institute).
 */
#include "evaluate/question.h"

#include "evaluate/prompt_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int keep(const struct ram_document_source *source, const char *text, const char **out,
                struct ram_err *err)
{
    *out = ram_arena_strdup(source->arena, text, err);
    return *out ? RAM_OK : RAM_ENOMEM;
}

int ram_document_clean(const struct ram_document_source *source, const char *text, const char **out,
                       struct ram_err *err)
{
    struct ram_buf buf = {0};

    ram_text_clean(text, &buf);
    const int status = buf.failed ? ram_fail(err, RAM_ENOMEM, "no memory for %s", source->where)
                                  : keep(source, buf.data ? buf.data : "", out, err);
    ram_buf_release(&buf);
    return status;
}

typedef int keep_fn(const struct ram_document_source *source, const char *text, const char **out,
                    struct ram_err *err);

int ram_document_choices(const struct ram_document_source *source, struct ram_document *document,
                         size_t n, struct ram_err *err)
{
    if (n == 0 || n > RAM_MAX_CHOICES)
        return ram_fail(err, RAM_ERANGE, "%s: %zu choices, expected 1 to %d", source->where, n,
                        RAM_MAX_CHOICES);
    document->choices = ram_arena_alloc(source->arena, n * sizeof *document->choices, err);
    document->n_choices = n;
    return document->choices ? RAM_OK : RAM_ENOMEM;
}

static int read_choices(const struct ram_document_source *source, const json_t *object,
                        const char *key, keep_fn *keep_one, struct ram_document *document,
                        struct ram_err *err)
{
    json_t *array;

    int status = ram_json_get_array(object, key, &array, source->where, err);
    if (!status)
        status = ram_document_choices(source, document, json_array_size(array), err);
    for (size_t i = 0; !status && i < document->n_choices; i++) {
        const char *choice = json_string_value(json_array_get(array, i));
        status = choice ? keep_one(source, choice, &document->choices[i], err)
                        : ram_fail(err, RAM_EFORMAT, "%s: \"%s\": item %zu is not a string",
                                   source->where, key, i);
    }
    return status;
}

/* ---- answers ---------------------------------------------------------------------------- */

/* Splits without answers leave them out, or empty. */
static bool is_answered(const json_t *answer)
{
    const char *text = json_string_value(answer);
    return answer && !json_is_null(answer) && (!text || text[strspn(text, " ")]);
}

/* Digits between blanks, as Python's int() takes them. */
static bool read_digits(const char *text, json_int_t *out)
{
    const char *begin = text + strspn(text, " \t");
    const size_t n = strspn(begin, "0123456789");

    if (n == 0 || n > 3 || begin[n + strspn(begin + n, " \t")])
        return false;
    *out = strtol(begin, NULL, 10);
    return true;
}

int ram_document_gold(const struct ram_document_source *source, const json_t *value,
                      const char *key, struct ram_document *document, struct ram_err *err)
{
    const double real = json_real_value(value);
    json_int_t gold = -1;

    if (json_is_integer(value))
        gold = json_integer_value(value);
    else if (json_is_real(value) && fabs(real) < 1000 && real == floor(real))
        gold = (json_int_t)real;
    else if (!json_is_string(value) || !read_digits(json_string_value(value), &gold))
        return ram_fail(err, RAM_EFORMAT,
                        "%s: \"%s\" is %s%.40s%s, expected the index of a choice, 0 to %zu",
                        source->where, key, json_is_string(value) ? "\"" : "",
                        json_is_string(value) ? json_string_value(value) : "not a number",
                        json_is_string(value) ? "\"" : "", document->n_choices - 1);
    if (gold < 0 || (size_t)gold >= document->n_choices)
        return ram_fail(err, RAM_ERANGE, "%s: \"%s\" is %lld, there are choices 0 to %zu",
                        source->where, key, (long long)gold, document->n_choices - 1);
    document->gold = (size_t)gold;
    return RAM_OK;
}

/* ---- what is there ---------------------------------------------------------------------- */

/* "activity_label, ctx, endings": for messages, so cut where it gets long. */
static void list_members(const json_t *object, char *out, size_t size)
{
    const char *key;
    json_t *value;
    size_t used = 0;

    snprintf(out, size, "none");
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        const int n = snprintf(out + used, size - used, "%s%.40s", used ? ", " : "", key);
        if (n < 0 || (size_t)n >= size - used) {
            snprintf(out + used, size - used, used + 5 < size ? ", ..." : "");
            return;
        }
        used += (size_t)n;
    }
}

static int require(const struct ram_document_source *source, const json_t *object,
                   const char *const *keys, const char *kind, struct ram_err *err)
{
    struct ram_buf all = {0};
    char found[200];
    int status = RAM_OK;

    for (size_t i = 0; keys[i]; i++)
        ram_buf_printf(&all, "%s%s", i ? ", " : "", keys[i]);
    for (size_t i = 0; !status && keys[i]; i++) {
        if (json_object_get(object, keys[i]))
            continue;
        list_members(object, found, sizeof found);
        status = ram_fail(err, RAM_EFORMAT,
                          "%s: there is no \"%s\"; a document of %s has the members %s, this one "
                          "has %s",
                          source->where, keys[i], kind, all.data ? all.data : "", found);
    }
    ram_buf_release(&all);
    return status;
}

/* ---- the forms -------------------------------------------------------------------------- */

/* {query, choices, gold}: as it stands. */
static int read_ready(const struct ram_document_source *source, const json_t *object,
                      struct ram_document *document, bool *answered, struct ram_err *err)
{
    static const char *const keys[] = {"query", "choices", NULL};
    const json_t *gold = json_object_get(object, "gold");
    const char *query;

    int status = require(source, object, keys, "a ready question", err);
    if (!status)
        status = ram_json_get_string(object, "query", &query, source->where, err);
    if (!status)
        status = keep(source, query, &document->query, err);
    if (!status)
        status = read_choices(source, object, "choices", keep, document, err);
    *answered = is_answered(gold);
    return status || !*answered ? status : ram_document_gold(source, gold, "gold", document, err);
}

/* A label is a letter or a number; as its text. NULL: neither. */
static const char *label_text(const json_t *label, char *digits, size_t size)
{
    if (json_is_integer(label)) {
        snprintf(digits, size, "%lld", (long long)json_integer_value(label));
        return digits;
    }
    return json_string_value(label);
}

/* The choices of ARC as {text: [...], label: [...]}, which the Hub's form has and the other gets.
 * json_decref it. */
static int arc_columns(const struct ram_document_source *source, json_t *choices, json_t **out,
                       struct ram_err *err)
{
    json_t *texts, *labels, *item;
    size_t i;

    if (json_is_object(choices)) {
        *out = json_incref(choices);
        return RAM_OK;
    }
    if (!json_is_array(choices))
        return ram_fail(err, RAM_EFORMAT,
                        "%s: \"choices\" is neither {\"text\": [...], \"label\": [...]} nor a list "
                        "of {\"text\", \"label\"}",
                        source->where);
    *out = json_pack("{s:o, s:o}", "text", texts = json_array(), "label", labels = json_array());
    if (!*out)
        return ram_fail(err, RAM_ENOMEM, "no memory for %s", source->where);
    json_array_foreach(choices, i, item)
    {
        json_t *text = json_object_get(item, "text"), *label = json_object_get(item, "label");
        if (!text || !label)
            return ram_fail(err, RAM_EFORMAT,
                            "%s: \"choices\": item %zu is not an object with \"text\" and "
                            "\"label\"",
                            source->where, i);
        if (json_array_append(texts, text) || json_array_append(labels, label))
            return ram_fail(err, RAM_ENOMEM, "no memory for %s", source->where);
    }
    return RAM_OK;
}

static int find_answer(const struct ram_document_source *source, const json_t *labels,
                       const json_t *answer, struct ram_document *document, struct ram_err *err)
{
    char wanted[24], digits[24], all[200];
    const char *const key = label_text(answer, wanted, sizeof wanted);
    size_t used = 0;

    if (json_array_size(labels) != document->n_choices)
        return ram_fail(err, RAM_EFORMAT, "%s: %zu labels for %zu choices", source->where,
                        json_array_size(labels), document->n_choices);
    all[0] = '\0';
    for (size_t i = 0; i < document->n_choices; i++) {
        const char *label = label_text(json_array_get(labels, i), digits, sizeof digits);
        if (label && key && !strcmp(label, key)) {
            document->gold = i;
            return RAM_OK;
        }
        if (label && used < sizeof all)
            used +=
                (size_t)snprintf(all + used, sizeof all - used, "%s%.8s", used ? ", " : "", label);
    }
    return ram_fail(err, RAM_EFORMAT,
                    "%s: \"answerKey\" is %s%.20s%s, which is no label of a choice; those are %s",
                    source->where, key ? "\"" : "", key ? key : "neither a string nor an integer",
                    key ? "\"" : "", all);
}

/* {question, choices, answerKey}, or {question: {stem, choices}, answerKey} */
static int read_arc(const struct ram_document_source *source, const json_t *object,
                    struct ram_document *document, bool *answered, struct ram_err *err)
{
    static const char *const keys[] = {"question", "choices", NULL};
    static const char *const nested[] = {"stem", "choices", NULL};
    const json_t *question = json_object_get(object, "question");
    const json_t *answer = json_object_get(object, "answerKey");
    const bool has_stem = json_is_object(question);
    const json_t *holder = has_stem ? question : object;
    const char *stem;
    json_t *columns = NULL, *labels;

    int status =
        require(source, holder, has_stem ? nested : keys, has_stem ? "AI2's ARC" : "ARC", err);
    if (!status)
        status =
            ram_json_get_string(holder, has_stem ? "stem" : "question", &stem, source->where, err);
    if (!status)
        status = arc_columns(source, json_object_get(holder, "choices"), &columns, err);
    if (!status)
        status = ram_json_get_array(columns, "label", &labels, source->where, err);
    if (!status)
        status = read_choices(source, columns, "text", keep, document, err);
    *answered = is_answered(answer);
    if (!status && *answered)
        status = find_answer(source, labels, answer, document, err);
    json_decref(columns);
    if (status)
        return status;
    document->query = ram_arena_printf(source->arena, err, "Question: %s\nAnswer:", stem);
    return document->query ? RAM_OK : RAM_ENOMEM;
}

/* {activity_label, ctx_a, ctx_b, endings, label} */
static int read_hellaswag(const struct ram_document_source *source, const json_t *object,
                          struct ram_document *document, bool *answered, struct ram_err *err)
{
    static const char *const keys[] = {"activity_label", "ctx_a", "ctx_b", "endings", NULL};
    const json_t *label = json_object_get(object, "label");
    const char *activity, *first, *second;
    struct ram_buf context = {0};

    int status = require(source, object, keys, "HellaSwag", err);
    if (!status)
        status = ram_json_get_string(object, "activity_label", &activity, source->where, err);
    if (!status)
        status = ram_json_get_string(object, "ctx_a", &first, source->where, err);
    if (!status)
        status = ram_json_get_string(object, "ctx_b", &second, source->where, err);
    if (!status)
        status = read_choices(source, object, "endings", ram_document_clean, document, err);
    *answered = is_answered(label);
    if (!status && *answered)
        status = ram_document_gold(source, label, "label", document, err);
    if (status)
        return status;
    ram_buf_printf(&context, "%s: %s ", activity, first);
    ram_text_capitalize(second, &context);
    status = context.failed ? ram_fail(err, RAM_ENOMEM, "no memory for %s", source->where)
                            : ram_document_clean(source, context.data, &document->query, err);
    ram_buf_release(&context);
    return status;
}

static int refuse(const struct ram_document_source *source, const json_t *object,
                  struct ram_err *err)
{
    const bool hellaswag = source->task == RAM_HELLASWAG;
    char found[200];

    if (json_object_get(object, hellaswag ? "question" : "endings"))
        return ram_fail(err, RAM_EFORMAT, "%s: this is a document of %s, not %s; use --task %s",
                        source->where, hellaswag ? "ARC" : "HellaSwag",
                        hellaswag ? "HellaSwag" : "ARC", hellaswag ? "arc_challenge" : "hellaswag");
    list_members(object, found, sizeof found);
    return ram_fail(err, RAM_EFORMAT,
                    "%s: there is no \"%s\" and no \"query\", so this is not %s; the members are "
                    "%s",
                    source->where, hellaswag ? "endings" : "question",
                    hellaswag ? "HellaSwag" : "ARC", found);
}

int ram_document_from_json(const struct ram_document_source *source, const json_t *object,
                           struct ram_document *out, bool *answered, struct ram_err *err)
{
    char *canonical = NULL;
    int status;

    if (!json_is_object(object))
        return ram_fail(err, RAM_EFORMAT, "%s: not a JSON object", source->where);
    if (source->task == RAM_HELLASWAG && json_object_get(object, "endings"))
        status = read_hellaswag(source, object, out, answered, err);
    else if (source->task == RAM_ARC_CHALLENGE && json_object_get(object, "question"))
        status = read_arc(source, object, out, answered, err);
    else if (json_object_get(object, "query"))
        status = read_ready(source, object, out, answered, err);
    else
        status = refuse(source, object, err);
    if (status || !ram_json_is_plain(object))
        return status;
    status = ram_json_text(object, 0, true, &canonical, err);
    if (!status)
        ram_sha256(canonical, strlen(canonical), out->sha256);
    free(canonical);
    return status;
}

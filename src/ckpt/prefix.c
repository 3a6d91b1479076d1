/* prefix.c - see prefix.h. */
#include "ckpt/prefix.h"

#include "arch/family.h"

#include <stdio.h>
#include <string.h>

enum change { KEEP, ADD, TAKE };

static const char prefix[] = "model.";

static bool begins(const char *s, const char *with)
{
    return !strncmp(s, with, strlen(with));
}

/* Told by the embedding, which every model has. */
static enum change find_change(const struct ram_ckpt *ckpt)
{
    enum change change = KEEP;

    for (size_t i = 0; i < ckpt->n_tensors; i++) {
        const char *name = ckpt->tensors[i].name;
        if (begins(name, "model.embed_tokens."))
            return KEEP;
        if (begins(name, "embed_tokens."))
            change = ADD;
        else if (begins(name, "model.model.embed_tokens."))
            change = TAKE;
    }
    return change;
}

static const char *changed(const char *name, enum change change, struct ram_arena *arena,
                           struct ram_err *err)
{
    if (change == TAKE)
        return begins(name, prefix) ? name + strlen(prefix) : name;
    return begins(name, "lm_head.") || begins(name, "mtp.")
               ? name
               : ram_arena_printf(arena, err, "%s%s", prefix, name);
}

int ram_prefix_settle(struct ram_ckpt *ckpt, struct ram_index *index, struct ram_err *err)
{
    const json_t *type = ram_config_value(ckpt->config, "model_type");
    const bool known = json_is_string(type) && ram_family_find(json_string_value(type));
    const enum change change = known ? find_change(ckpt) : KEEP;

    if (change == KEEP)
        return RAM_OK;
    for (size_t i = 0; i < ckpt->n_tensors && !err->status; i++)
        ckpt->tensors[i].name = changed(ckpt->tensors[i].name, change, &ckpt->arena, err);
    for (size_t i = 0; i < index->n_entries && !err->status; i++)
        index->entries[i].name = changed(index->entries[i].name, change, &index->arena, err);
    return err->status ? err->status
           : change == ADD
               ? ram_notes_add(&ckpt->notes, &ckpt->arena, err,
                               "the names of the tensors lack the prefix 'model.'; they are "
                               "read as if they had it, as transformers does")
               : ram_notes_add(&ckpt->notes, &ckpt->arena, err,
                               "the names of the tensors have the prefix 'model.' once more "
                               "than usual; they are read without it, as transformers does");
}

/* How many characters of whole components ("layers.", "0.") two names begin with in common. */
static size_t common_start(const char *a, const char *b)
{
    size_t n = 0;

    for (size_t i = 0; a[i] && a[i] == b[i]; i++)
        if (a[i] == '.')
            n = i + 1;
    return n;
}

/* The same for their ends: ".q_proj.weight". */
static size_t common_end(const char *a, const char *b)
{
    const size_t na = strlen(a), nb = strlen(b);
    size_t n = 0;

    for (size_t i = 1; i <= na && i <= nb && a[na - i] == b[nb - i]; i++)
        if (a[na - i] == '.')
            n = i;
    return n;
}

/* The name that has most in common with the wanted one, such as
 * "model.layers.0._orig_mod.mlp.up_proj.weight", where a trainer wrapped a module. */
static void describe_nearest(const struct ram_ckpt *ckpt, const char *wanted,
                             char text[RAM_PREFIX_TEXT])
{
    const size_t whole = strlen(wanted);
    const char *nearest = NULL;
    size_t most = 0;

    for (size_t i = 0; i < ckpt->n_tensors; i++) {
        const char *name = ckpt->tensors[i].name;
        const size_t n = common_start(name, wanted), m = common_end(name, wanted);
        if (m && n + m > most && strlen(name) <= 200) {
            most = n + m;
            nearest = name;
        }
    }
    if (!nearest)
        return;
    const size_t start = common_start(nearest, wanted), end = common_end(nearest, wanted);
    /* The dot between the two counts in both. */
    if (strlen(nearest) > whole && start + end > whole)
        snprintf(text, RAM_PREFIX_TEXT,
                 "; there is '%s' where '%.200s' is expected: if a wrapper of the trainer added "
                 "'%.*s' to the name, save the model without the wrapper",
                 nearest, wanted, (int)(strlen(nearest) - whole), nearest + start);
    else
        snprintf(text, RAM_PREFIX_TEXT, "; the nearest to '%.200s' of the names there is '%s'",
                 wanted, nearest);
}

const char *ram_prefix_describe(const struct ram_ckpt *ckpt, const char *wanted,
                                char text[RAM_PREFIX_TEXT])
{
    static const char expected[] = "model.embed_tokens.weight", core[] = "embed_tokens.weight";

    *text = '\0';
    if (ckpt->n_tensors && ram_ckpt_find(ckpt, expected))
        describe_nearest(ckpt, wanted, text);
    if (!ckpt->n_tensors || ram_ckpt_find(ckpt, expected))
        return text;
    snprintf(text, RAM_PREFIX_TEXT, "; the first of its tensors is '%.200s'",
             ckpt->tensors[0].name);
    for (size_t i = 0; i < ckpt->n_tensors; i++) {
        const char *name = ckpt->tensors[i].name;
        const size_t n = strlen(name), m = strlen(core);
        if (n < m || n > 200 || strcmp(name + n - m, core))
            continue;
        snprintf(
            text, RAM_PREFIX_TEXT,
            "; there is '%s' where '%s' is expected: its names have the prefix '%.*s' in place "
            "of 'model.'",
            name, expected, (int)(n - m), name);
        break;
    }
    return text;
}

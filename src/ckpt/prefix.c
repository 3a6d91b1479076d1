/* prefix.c - see prefix.h. */
#include "ckpt/prefix.h"

#include "arch/config_read.h"
#include "arch/name_guess.h"
#include "arch/tensors.h"
#include "base/affix.h"

#include <stdio.h>
#include <string.h>

/* The family that config.json names, or NULL. */
static const struct ram_family *family_of(const struct ram_ckpt *ckpt)
{
    const json_t *type = ram_config_value(ckpt->config, "model_type");

    return json_is_string(type) ? ram_family_find(json_string_value(type)) : NULL;
}

/* The embedding's module, which every model has: "model." and "embed_tokens". */
static const char *split_embed(const struct ram_family *family, char base[RAM_SLOT_NAME])
{
    const char *module = family->embed->module, *dot = strrchr(module, '.');
    const size_t n = dot ? (size_t)(dot + 1 - module) : 0;

    snprintf(base, RAM_SLOT_NAME, "%.*s", (int)n, module);
    return module + n;
}

/* A spelling: what stands before the names of modules in place of the base, "model.". */
struct spelling {
    char prefix[2 * RAM_SLOT_NAME];
    const char *wrapper; /* of the prefix what is before all names, the head's too; or NULL */
    const char *note;
};

enum { N_SPELLINGS = 4 };

/* Of a text model saved alone, of one written twice, of one beside a vision tower as transformers 5
 * names it, and of the same as MLX does. */
static void list_spellings(const char *base, struct spelling out[N_SPELLINGS])
{
    static const char text_model[] = "language_model.";
    const char *const before[N_SPELLINGS] = {"", base, base, text_model};
    const char *const after[N_SPELLINGS] = {"", base, text_model, base};

    for (size_t i = 0; i < N_SPELLINGS; i++) {
        out[i] = (struct spelling){.wrapper = i % 2 ? before[i] : NULL};
        snprintf(out[i].prefix, sizeof out[i].prefix, "%s%s", before[i], after[i]);
    }
    out[0].note = "the names of the tensors lack the prefix '%s'; they are read as if they had it, "
                  "as transformers does";
    out[1].note = "the names of the tensors have the prefix '%s' once more than usual; they are "
                  "read without it, as transformers does";
}

/* Does the name belong to this module, behind the prefix? */
static bool is_in(const char *name, const char *prefix, const char *module)
{
    const size_t n = strlen(prefix);

    return ram_begins(name, prefix) && ram_begins(name + n, module) &&
           name[n + strlen(module)] == '.';
}

static bool has_module(const struct ram_ckpt *ckpt, const char *prefix, const char *module)
{
    for (size_t i = 0; i < ckpt->n_tensors; i++)
        if (is_in(ckpt->tensors[i].name, prefix, module))
            return true;
    return false;
}

struct renamer {
    const char *base;
    const char *head; /* a module that stands outside of the base */
    struct spelling spelling;
    struct ram_err *err;
};

static const char *changed(const struct renamer *r, const char *name, struct ram_arena *arena)
{
    const char *prefix = r->spelling.prefix;

    if (!*prefix) /* all that is not named otherwise anyway */
        return is_in(name, "", r->head) || ram_name_is_mtp(name)
                   ? name
                   : ram_arena_printf(arena, r->err, "%s%s", r->base, name);
    if (r->spelling.wrapper)
        return ram_begins(name, r->spelling.wrapper) ? name + strlen(r->spelling.wrapper) : name;
    return ram_begins(name, prefix)
               ? ram_arena_printf(arena, r->err, "%s%s", r->base, name + strlen(prefix))
               : name;
}

int ram_prefix_settle(struct ram_ckpt *ckpt, struct ram_index *index, struct ram_err *err)
{
    const struct ram_family *family = family_of(ckpt);
    struct spelling spellings[N_SPELLINGS];
    char base[RAM_SLOT_NAME];
    const char *embed = split_embed(family ? family : &ram_family_unknown, base);
    size_t k = 0;

    if (!family || !*base || has_module(ckpt, base, embed))
        return RAM_OK;
    list_spellings(base, spellings);
    while (k < N_SPELLINGS && !has_module(ckpt, spellings[k].prefix, embed))
        k++;
    if (k == N_SPELLINGS)
        return RAM_OK;
    const struct renamer r = {base, family->head->module, spellings[k], err};
    for (size_t i = 0; i < ckpt->n_tensors && !err->status; i++)
        ckpt->tensors[i].name = changed(&r, ckpt->tensors[i].name, &ckpt->arena);
    for (size_t i = 0; i < index->n_entries && !err->status; i++)
        index->entries[i].name = changed(&r, index->entries[i].name, &index->arena);
    if (!spellings[k].note)
        ckpt->wrapper = spellings[k].wrapper;
    if (err->status || !spellings[k].note)
        return err->status;
    return ram_notes_add(&ckpt->notes, &ckpt->arena, err, spellings[k].note, base);
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
    const struct ram_family *family = family_of(ckpt) ? family_of(ckpt) : &ram_family_unknown;
    char base[RAM_SLOT_NAME], expected[RAM_SLOT_NAME];

    split_embed(family, base);
    snprintf(expected, sizeof expected, "%s.%s", family->embed->module, family->embed->suffix);
    const char *core = expected + strlen(base);
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
            "of '%s'",
            name, expected, (int)(n - m), name, base);
        break;
    }
    return text;
}

/*
 * command.c - the commands that make a converted directory again, told from the plan's settings.
 *
 * "options" (what was asked of the allocator), "measured" (how the manifest was made) and
 * "quantize" (that all of it was one command, and with which other options) hold options by their
 * names. If the plan was edited since it was decided, no command makes it again, and the plan
 * itself is named. A plan of an earlier version records none of them; then its command is guessed
 * from its settings.
 */
#include "convert/conversion.h"

#include "record/emit.h"

#include <math.h>
#include <string.h>

/* ---- words ---------------------------------------------------------------------------------- */

/* A word that the shell takes as it stands. */
static bool plain(const char *word)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "-_./@%+=:,";
    return *word && strspn(word, safe) == strlen(word);
}

static void add_word(struct ram_buf *buf, const char *word)
{
    if (plain(word)) {
        ram_buf_printf(buf, " %s", word);
        return;
    }
    ram_buf_puts(buf, " '");
    for (; *word; word++)
        if (*word == '\'')
            ram_buf_puts(buf, "'\\''");
        else
            ram_buf_add(buf, word, 1);
    ram_buf_puts(buf, "'");
}

/* What begins with a dash would be taken for an option. */
static void add_path(struct ram_buf *buf, const char *path)
{
    struct ram_buf dashed = {0};

    ram_buf_printf(&dashed, "%s%s", *path == '-' ? "./" : "", path);
    add_word(buf, dashed.data ? dashed.data : path);
    ram_buf_release(&dashed);
}

/* ---- options -------------------------------------------------------------------------------- */

static void add_value(struct ram_buf *buf, const char *option, const json_t *value)
{
    const json_t *file = json_object_get(value, "file"); /* of a calibration text */

    if (json_is_string(file)) {
        add_value(buf, option, file);
        return;
    }
    if (!value || json_is_false(value) || json_is_null(value))
        return;
    ram_buf_printf(buf, " --%s", option);
    if (json_is_string(value)) {
        add_word(buf, json_string_value(value));
    } else if (json_is_integer(value)) {
        const bool bytes = !strcmp(option, "size") || !strcmp(option, "fit") ||
                           !strcmp(option, "shard-size") || !strcmp(option, "bytes-per-token");
        ram_buf_printf(buf, " %" JSON_INTEGER_FORMAT "%s", json_integer_value(value),
                       bytes ? "B" : "");
    } else if (json_is_real(value)) {
        ram_buf_puts(buf, " ");
        ram_emit_real(buf, json_real_value(value));
    } else if (json_is_object(value)) { /* "svd=0.2,kurtosis=0.8" */
        const char *name;
        json_t *number;
        const char *before = " ";
        json_object_foreach((json_t *)(uintptr_t)value, name, number)
        {
            ram_buf_printf(buf, "%s%s=", before, name);
            ram_emit_real(buf, json_number_value(number));
            before = ",";
        }
    }
}

static void add_option(struct ram_buf *buf, const char *option, const json_t *value)
{
    if (!json_is_array(value)) {
        add_value(buf, option, value);
        return;
    }
    for (size_t i = 0; i < json_array_size(value); i++)
        add_value(buf, option, json_array_get(value, i));
}

/* All of them, but for those in `without` (ends with NULL). */
static void add_options(struct ram_buf *buf, const json_t *options, const char *const *without)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)options, name, value)
    {
        bool left_out = false;
        for (size_t i = 0; without && without[i]; i++)
            left_out |= !strcmp(name, without[i]);
        if (!left_out)
            add_option(buf, name, value);
    }
}

/* ---- plans of earlier versions -------------------------------------------------------------- */

static void add_thresholds(struct ram_buf *buf, const json_t *thresholds)
{
    static const char *const names[] = {"t2", "t8", "t16"};

    for (size_t i = 0; json_is_object(thresholds) && i < 3; i++) {
        const json_t *value = json_object_get(thresholds, names[i]);
        ram_buf_printf(buf, " --%s ", names[i]);
        if (json_is_number(value))
            ram_buf_printf(buf, "%.15g", json_number_value(value));
        else
            ram_buf_puts(buf, "off");
    }
}

/* The metrics' weights, unless they are those of every published method. */
static void add_weights(struct ram_buf *buf, const json_t *weights)
{
    static const char *const names[] = {"svd", "kurtosis", "output", "error"};
    static const double usual[] = {0.20, 0.45, 0.15, 0.20};
    bool same = true;

    for (size_t i = 0; i < 4; i++)
        same &= json_number_value(json_object_get(weights, names[i])) == usual[i];
    if (json_is_object(weights) && !same)
        add_option(buf, "weights", weights);
}

static void add_guessed(struct ram_buf *buf, const struct ram_plan *plan)
{
    static const char *const options[][2] = {{"bits", "bits"},
                                             {"group", "group"},
                                             {"keep_embeddings", "keep-embeddings"},
                                             {"bpw", "bpw"},
                                             {"size", "size"}};
    const json_t *settings = plan->settings;
    const char *rule = json_string_value(json_object_get(settings, "expert_rule"));

    ram_buf_puts(buf, " --method");
    add_word(buf, plan->method && *plan->method ? plan->method : "auto");
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        add_option(buf, options[i][1], json_object_get(settings, options[i][0]));
    add_thresholds(buf, json_object_get(settings, "thresholds"));
    add_weights(buf, json_object_get(settings, "weights"));
    add_option(buf, "set", json_object_get(settings, "set"));
    if (rule && strcmp(rule, "mean"))
        add_option(buf, "expert-rule", json_object_get(settings, "expert_rule"));
}

/* ---- commands ------------------------------------------------------------------------------- */

static bool is(const json_t *object, const char *key, const char *value)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text && !strcmp(text, value);
}

/* Is this conversion the one at the end of the quantize that made the plan? */
static bool one_command(const struct ram_conversion *c, const json_t *quantize)
{
    const json_int_t shard = json_integer_value(json_object_get(quantize, "shard-size"));

    return is(quantize, "encoder", c->encoder->name) &&
           is(quantize, "profile", ram_profile_name(c->opts->profile)) &&
           (uint64_t)shard == c->opts->shard_size;
}

static void add_convert(const struct ram_conversion *c, const char *output, struct ram_buf *buf)
{
    ram_buf_puts(buf, "ram convert");
    add_path(buf, c->ckpt->name);
    ram_buf_puts(buf, " --plan plan.json -o");
    add_path(buf, output);
    ram_buf_printf(buf, " --encoder %s --profile %s", c->encoder->name,
                   ram_profile_name(c->opts->profile));
    if (c->opts->shard_size)
        ram_buf_printf(buf, " --shard-size %lluB", (unsigned long long)c->opts->shard_size);
    if (c->opts->text) {
        ram_buf_puts(buf, " --calibration");
        add_path(buf, c->opts->text);
    }
}

/* Stage by stage. */
static void add_stages(const struct ram_conversion *c, const char *output, struct ram_buf *buf)
{
    const json_t *options = json_object_get(c->plan->settings, "options");
    const json_t *measured = json_object_get(c->plan->settings, "measured");

    ram_buf_puts(buf, "ram analyze");
    add_path(buf, c->ckpt->name);
    ram_buf_puts(buf, " -o manifest.json");
    add_options(buf, measured, NULL);
    ram_buf_puts(buf, "\nram allocate manifest.json -o plan.json");
    add_options(buf, options, NULL);
    add_option(buf, "encoder", json_object_get(c->plan->settings, "encoder"));
    ram_buf_puts(buf, "\n");
    add_convert(c, output, buf);
}

enum ram_remade ram_command_text(const struct ram_conversion *c, const char *output,
                                 struct ram_buf *buf)
{
    const json_t *settings = c->plan->settings;
    const json_t *quantize = json_object_get(settings, "quantize");
    enum ram_plan_origin origin = RAM_PLAN_EDITED;
    struct ram_err ignored = {0};

    if (ram_plan_origin(c->plan, &origin, &ignored) || origin == RAM_PLAN_EDITED) {
        add_convert(c, output, buf);
        return RAM_REMADE_FROM_PLAN;
    }
    if (origin == RAM_PLAN_AS_DECIDED && (!quantize || !one_command(c, quantize))) {
        add_stages(c, output, buf);
        return RAM_REMADE;
    }
    ram_buf_puts(buf, "ram quantize");
    add_path(buf, c->ckpt->name);
    ram_buf_puts(buf, " -o");
    add_path(buf, output);
    if (origin == RAM_PLAN_AS_DECIDED) {
        add_options(buf, json_object_get(settings, "options"), NULL);
        add_options(buf, quantize, NULL);
        return RAM_REMADE;
    }
    add_guessed(buf, c->plan);
    ram_buf_printf(buf, " --profile %s --encoder %s", ram_profile_name(c->opts->profile),
                   c->encoder->name);
    if (c->opts->shard_size)
        ram_buf_printf(buf, " --shard-size %lluB", (unsigned long long)c->opts->shard_size);
    return RAM_REMADE_PERHAPS;
}

/*
 * command.c - the command that makes a converted directory again, told from the plan's settings.
 *
 * Thresholds are always spelled out, so that the line stays true when a method's defaults change.
 * A plan edited by hand has no such command; ram.json holds it whole.
 */
#include "convert/directory.h"

#include "record/emit.h"

#include <math.h>
#include <string.h>

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

static void add_option(struct ram_buf *buf, const char *option, const json_t *value)
{
    if (json_is_string(value)) {
        ram_buf_printf(buf, " --%s", option);
        add_word(buf, json_string_value(value));
    } else if (json_is_integer(value)) {
        ram_buf_printf(buf, " --%s %" JSON_INTEGER_FORMAT, option, json_integer_value(value));
    } else if (json_is_true(value)) {
        ram_buf_printf(buf, " --%s", option);
    }
}

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
    if (!json_is_object(weights) || same)
        return;
    for (size_t i = 0; i < 4; i++)
        ram_buf_printf(buf, "%s%s=%.15g", i ? "," : " --weights ", names[i],
                       json_number_value(json_object_get(weights, names[i])));
}

void ram_mlx_command(const struct ram_conversion *c, const char *output, struct ram_buf *buf)
{
    static const char *const options[][2] = {{"bits", "bits"},
                                             {"group", "group"},
                                             {"keep_embeddings", "keep-embeddings"},
                                             {"bpw", "bpw"},
                                             {"size", "size"}};
    const json_t *settings = c->plan->settings;
    const json_t *set = json_object_get(settings, "set");
    const char *rule = json_string_value(json_object_get(settings, "expert_rule"));

    ram_buf_puts(buf, "ram quantize");
    add_word(buf, c->ckpt->name);
    ram_buf_puts(buf, " -o");
    add_word(buf, output);
    ram_buf_puts(buf, " --method");
    add_word(buf, c->plan->method && *c->plan->method ? c->plan->method : "auto");
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        add_option(buf, options[i][1], json_object_get(settings, options[i][0]));
    add_thresholds(buf, json_object_get(settings, "thresholds"));
    add_weights(buf, json_object_get(settings, "weights"));
    for (size_t i = 0; i < json_array_size(set); i++)
        add_option(buf, "set", json_array_get(set, i));
    if (rule && strcmp(rule, "mean"))
        add_option(buf, "expert-rule", json_object_get(settings, "expert_rule"));
    ram_buf_printf(buf, " --profile %s --encoder %s", ram_profile_name(c->opts->profile),
                   c->encoder->name);
    if (c->opts->shard_size)
        ram_buf_printf(buf, " --shard-size %llu", (unsigned long long)c->opts->shard_size);
}

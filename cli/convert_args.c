/* convert_args.c - see convert_args.h. */
#include "convert_args.h"

static const char *profile(size_t i)
{
    return ram_list_item(RAM_LIST_PROFILES, i, NULL);
}

#define AT(member) offsetof(struct convert_args, member)
const struct opt convert_args_table[] = {
    {"output", 'o', OPT_TEXT, AT(output), "DIR", "the directory to create", NULL},
    {"dry-run", 0, OPT_FLAG, AT(dry_run), NULL,
     "show the plan and the size of each file, but write nothing", NULL},
    {0},
};

const struct opt convert_more_table[] = {
    {"encoder", 0, OPT_TEXT, AT(encoder), "E",
     "how weights are rounded: rtn, to nearest, as MLX does; search, scales searched for the least "
     "error, about 30 times slower; gptq, the least error of each layer's output on text that the "
     "model generates (default: that of the effort or of the plan; otherwise rtn)",
     NULL},
    {"calibration", 0, OPT_TEXT, AT(text), "FILE",
     "use this text instead of model-generated text. The result is no longer data-free; rarely "
     "needed",
     NULL},
    {"profile", 0, OPT_CHOICE, AT(profile), "P",
     "which of MLX's two rounding rules: gpu (default) or cpu", profile},
    {"shard-size", 0, OPT_SIZE, AT(shard_size), "SIZE",
     "maximum size of one weight file (default: 5GiB)", NULL},
    {"format", 0, OPT_TEXT, AT(format), "F", "the output format: mlx (default)", NULL},
    {0},
};
#undef AT

struct ram_convert_opts convert_args_opts(const struct convert_args *args, bool force)
{
    return (struct ram_convert_opts){
        .format = args->format,
        .encoder = args->encoder,
        .profile = (enum ram_profile)args->profile,
        .shard_size = args->shard_size,
        .force = force,
        .dry_run = args->dry_run,
        .text = args->text,
    };
}

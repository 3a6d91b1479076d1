/* convert_args.c - see convert_args.h. */
#include "convert_args.h"

static const char *const profiles[] = {[RAM_PROFILE_GPU] = "gpu", [RAM_PROFILE_CPU] = "cpu", NULL};

#define AT(member) offsetof(struct convert_args, member)
const struct opt convert_args_table[] = {
    {"output", 'o', OPT_TEXT, AT(output), "DIR", "the directory to make", NULL},
    {"dry-run", 0, OPT_FLAG, AT(dry_run), NULL,
     "print what would be written, bytes for each file, and stop", NULL},
    {"format", 0, OPT_TEXT, AT(format), "F", "mlx, the default", NULL},
    {"profile", 0, OPT_CHOICE, AT(profile), "P",
     "which of MLX's two rounding rules: gpu (default) or cpu", profiles},
    {"encoder", 0, OPT_TEXT, AT(encoder), "E",
     "rtn: round to nearest, as MLX itself does; search: scales and biases searched for the least "
     "error, some 30 times as long; gptq: the least error of what a layer gives, on text of the "
     "model's own making (default: a budget's effort decides; rtn otherwise)",
     NULL},
    {"calibration", 0, OPT_TEXT, AT(text), "FILE",
     "a text instead of tokens of the model's own, for what runs the model; not data-free, and "
     "not needed",
     NULL},
    {"shard-size", 0, OPT_SIZE, AT(shard_size), "SIZE",
     "most bytes in one weight file (default: 5GiB)", NULL},
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

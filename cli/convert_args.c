/* convert_args.c - see convert_args.h. */
#include "convert_args.h"

static const char *const profiles[] = {[RAM_PROFILE_GPU] = "gpu", [RAM_PROFILE_CPU] = "cpu", NULL};

#define AT(member) offsetof(struct convert_args, member)
const struct opt convert_args_table[] = {
    {"output", 'o', OPT_TEXT, AT(output), "DIR", "the directory to write", NULL},
    {"dry-run", 0, OPT_FLAG, AT(dry_run), NULL,
     "print what would be written, with the size of each file, and stop", NULL},
    {"format", 0, OPT_TEXT, AT(format), "F", "output format: mlx (default)", NULL},
    {"profile", 0, OPT_CHOICE, AT(profile), "P",
     "which of MLX's two rounding rules to use: gpu (default) or cpu", profiles},
    {"encoder", 0, OPT_TEXT, AT(encoder), "E",
     "rtn rounds to nearest, as MLX does; search finds the scales and biases of least error, in "
     "some 30 times as long; gptq minimises the error of each layer's output, on text that the "
     "model generates (default: that of the effort or the plan; otherwise rtn)",
     NULL},
    {"calibration", 0, OPT_TEXT, AT(text), "FILE",
     "use this text instead of text that the model generates; the result is then no longer "
     "data-free; rarely needed",
     NULL},
    {"shard-size", 0, OPT_SIZE, AT(shard_size), "SIZE",
     "largest size of one weight file (default: 5GiB)", NULL},
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

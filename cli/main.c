/* main.c - the command `ram`: finds the verb in its table and runs it. */
#include "cmd.h"
#include "message.h"
#include "opt.h"
#include "ram.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

struct command {
    const char *name;
    cmd_fn *run;
    const char *help;
};

static const struct command commands[] = {
    {"quantize", cmd_quantize, "do everything: analyze, allocate, convert, verify"},
    {"inspect", cmd_inspect,
     "show what a checkpoint contains, and its sizes if quantised uniformly"},
    {"analyze", cmd_analyze, "weights -> manifest: measure every tensor"},
    {"allocate", cmd_allocate, "manifest -> plan: choose the bits of each tensor"},
    {"convert", cmd_convert, "weights + plan -> write the quantised checkpoint"},
    {"verify", cmd_verify, "check that a quantised checkpoint is complete and matches its plan"},
    {"evaluate", cmd_evaluate, "evaluate a checkpoint: perplexity, KL divergence, accuracy"},
    {"compare", cmd_compare, "print scores of several models as one table"},
    {"generate", cmd_generate, "generate text, as a quick sanity check"},
    {"synthesize", cmd_synthesize, "write the text that measurements run a model on"},
    {"tokenize", cmd_tokenize, "print the token ids of a text, or their number"},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_overview(FILE *out)
{
    fputs("usage: ram <verb> [arguments] [options]\n\n"
          "Quantises LLM checkpoints to mixed precision, without calibration data.\n\n"
          "Most people need one command:\n\n"
          "  ram quantize MODEL -o DIR\n\n"
          "MODEL is a directory with config.json and *.safetensors, or org/name[@revision]\n"
          "in the Hugging Face cache. DIR can be loaded by mlx_lm.\n\n"
          "Verbs:\n",
          out);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    fputs("\nEach stage reads a record and writes a record (JSON) that you may read and edit:\n\n"
          "  checkpoint --analyze--> manifest --allocate--> plan --convert--> checkpoint'\n\n"
          "See ram <verb> --help and the manual page ram(1) for more.\n"
          "Exit codes: 0 done, 1 failed, 2 usage error, 3 invalid input, 4 request cannot\n"
          "be met, 5 verify found a difference, 130 interrupted (can be resumed).\n",
          out);
}

/* Whether a common option takes the next argument as its value. */
static bool takes_next(const char *arg)
{
    const int k = opt_find(opt_common_table, arg);

    return k >= 0 && opt_common_table[k].kind != OPT_FLAG && !strchr(arg, '=');
}

/* The place of the verb: the first argument that is neither a common option nor its value. */
static size_t find_verb(char **args, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (args[i][0] != '-')
            return i;
        i += takes_next(args[i]);
    }
    return n;
}

/* No verb on the line: "ram", "ram --help", "ram --version", or a mistake. */
static int run_without_verb(char **args, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const int k = opt_find(opt_common_table, args[i]);
        const char *name = k >= 0 ? opt_common_table[k].name : "";
        if (!strcmp(name, "help")) {
            print_overview(stdout);
            return 0;
        }
        if (!strcmp(name, "version")) {
            printf("ram %s\n", ram_version());
            return 0;
        }
        if (k < 0) {
            message("unknown option %s; see: ram --help", args[i]);
            return 2;
        }
        i += takes_next(args[i]);
    }
    print_overview(stderr);
    return 2;
}

static int run_verb(const char *name, char **args, size_t n)
{
    const char *names[N_COMMANDS];

    for (size_t i = 0; i < N_COMMANDS; i++) {
        names[i] = commands[i].name;
        if (!strcmp(name, commands[i].name))
            return commands[i].run(args, n);
    }
    const char *near = opt_nearest(name, names, N_COMMANDS);
    if (near)
        message("unknown verb %s; did you mean %s?", name, near);
    else
        message("unknown verb %s; see: ram --help", name);
    return 2;
}

/* "ram help" and "ram help VERB", as people try them. */
static int run_help(char **args, size_t n)
{
    static char option[] = "--help";
    char *help = option;

    if (n == 0) {
        print_overview(stdout);
        return 0;
    }
    return run_verb(args[0], &help, 1);
}

int main(int argc, char **argv)
{
    char **args = argv + 1;
    size_t n = argc > 0 ? (size_t)argc - 1 : 0;

    /* A file-size limit is then a failed write with its message, like a full disk. */
    signal(SIGXFSZ, SIG_IGN);
    const size_t verb = find_verb(args, n);
    if (verb == n)
        return result_close(run_without_verb(args, n));
    const char *name = args[verb];
    memmove(args + verb, args + verb + 1, (n - verb - 1) * sizeof *args);
    n--;
    return result_close(strcmp(name, "help") ? run_verb(name, args, n) : run_help(args, n));
}

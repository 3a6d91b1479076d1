/*
 * ram.h - the public interface of libram: mixed-precision quantisation of LLM checkpoints without
 * calibration data.
 *
 * The library consists of stages that are connected only by records:
 *
 *               analyze             allocate           convert
 *   checkpoint ----------> MANIFEST ----------> PLAN ----------> checkpoint'  --verify--> verdict
 *
 * A manifest contains the measurements of every tensor, a plan the decisions. Both are JSON files
 * that a user may read and edit between stages.
 *
 * Conventions. Functions return RAM_OK (0) or a negative status and write the reason to *err
 * (never NULL) the first time something fails. Objects are created by _open, _new, _read or a
 * stage and released by _close, _free or _release, which accept NULL. Strings are UTF-8; those that
 * a function returns through a char ** belong to the caller, who releases them with free(). The
 * library prints nothing and never exits. Objects may be shared between threads for reading.
 *
 * Structs. `opts` and `run` may always be NULL, and every struct may be zeroed as a whole (`= {0}`,
 * in C and in C++): zero is the default of every member. Structs grow at their end, into
 * `reserved`, whose members must stay zero. So a program that was built for an older ram.h runs
 * with a newer library without being compiled again: it leaves zero what it does not know. A
 * newer program with an older library is refused (RAM_EUSAGE) only if it sets a member that the
 * library does not have, and so is a struct that was never zeroed. A size member would not do
 * the same: structs are also members and elements of arrays of other structs, where none may change
 * its size. The soname (libram.so.0) changes when a reserve is used up or an enum RAM_N_... that
 * counts elements of an array grows.
 */
#ifndef RAM_H
#define RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the shared library exports is what this header declares. */
#if defined(__GNUC__)
#define RAM_API __attribute__((visibility("default")))
#else
#define RAM_API
#endif

#define RAM_VERSION "0.1.0"

/* The version of the library that is running; RAM_VERSION is that of this header. */
RAM_API const char *ram_version(void);

enum { RAM_RESERVED = 8 }; /* members that a struct may still get */

/* ---- status ---------------------------------------------------------------------------- */

enum ram_status {
    RAM_OK = 0,
    RAM_EIO = -1,       /* the operating system refused to read, write, map or rename */
    RAM_ENOMEM = -2,    /* no memory, or max_memory is too small for the work */
    RAM_EINTERNAL = -3, /* a fault of the library itself */
    RAM_EUSAGE = -4,    /* an invalid argument: unknown method, bad regex, ... */
    RAM_EFORMAT = -5,   /* an input file is not valid */
    RAM_ERANGE = -6,    /* a number in an input file is beyond a stated limit */
    RAM_EBUDGET =
        -7,         /* the request cannot be met; the message states the smallest possible value */
    RAM_EDIFF = -8, /* verify found a difference */
    RAM_EINTERRUPT = -9,   /* the caller's cancelled() said so; the work can be resumed */
    RAM_EEXIST = -10,      /* the output exists and force was not given */
    RAM_EUNSUPPORTED = -11 /* a valid input of a kind this version cannot process */
};

struct ram_err {
    int status;         /* RAM_OK until something failed; then the first failure */
    char message[1024]; /* one line, without a final newline */
};

/* The exit code of the command for a status: 0, 1, 2, 3, 4, 5 or 130 (docs/formats.md). */
RAM_API int ram_exit_code(int status);

/* ---- how to run ------------------------------------------------------------------------ */

enum ram_progress_unit { RAM_IN_BYTES, RAM_IN_TOKENS, RAM_IN_MATRICES, RAM_IN_LAYERS };

struct ram_progress {
    const char *stage;           /* "analyze", "convert", "verify", ... */
    const char *item;            /* what is being worked on: a tensor's name */
    uint64_t done;               /* how much was processed ... */
    uint64_t total;              /* ... of how much in all */
    enum ram_progress_unit unit; /* of both; bytes are of input */
};

struct ram_store;

/* How any stage runs. Nothing in here may change a byte of a result. */
struct ram_run {
    unsigned threads;    /* 0: one for each processor */
    uint64_t max_memory; /* resident bytes a stage may use; 0: 2 GiB */
    /* Called from the thread that called the stage; any of the three may be NULL. */
    void (*progress)(void *user, const struct ram_progress *p);
    void (*notice)(void *user,
                   const char *line); /* something the user should know, such as a fallback */
    bool (*cancelled)(void *user);    /* polled between tensors */
    void *user;
    struct ram_store *store; /* where finished work is kept, and found again; NULL: nowhere */
    uint64_t reserved[RAM_RESERVED];
};

/* What options can be set to, for help, completion and bindings. */
enum ram_list {
    RAM_LIST_METHODS,  /* ram_allocate_opts.method */
    RAM_LIST_ENCODERS, /* ram_convert_opts.encoder */
    RAM_LIST_PROFILES, /* in the order of enum ram_profile */
    RAM_LIST_FORMATS,  /* ram_convert_opts.format */
    RAM_LIST_FORMS,    /* in which a matrix can be stored, by increasing bits */
    RAM_LIST_EFFORTS,  /* ram_quantize_opts.effort, in the order of enum ram_effort_level */
    RAM_LIST_TASKS,    /* ram_evaluate_opts.task */
    RAM_LIST_FAMILIES  /* "model_type" of the config.json of models that can be run */
};

/* Item i of a list: its name, and a description in one line (what, may be NULL). NULL behind the
 * last item. Both live as long as the program. */
RAM_API const char *ram_list_item(enum ram_list list, size_t i, const char **what);

/* How a description is written by the _describe functions. */
enum ram_markup {
    RAM_TEXT,
    RAM_JSON,
    RAM_MARKDOWN,
    RAM_CSV /* ram_scores_describe alone */
};

/* ---- checkpoint ------------------------------------------------------------------------ */

struct ram_ckpt;

/*
 * Opens a checkpoint for reading. model: a directory with config.json and *.safetensors (one
 * file, or shards with an index), or "org/name[@revision]", looked up in the Hugging Face cache.
 * Every header is validated before this returns; tensors are mapped, not read. RAM_EFORMAT and
 * RAM_ERANGE name the file, the tensor, what was found and what was expected.
 */
RAM_API int ram_ckpt_open(struct ram_ckpt **out, const char *model, struct ram_err *err);
RAM_API void ram_ckpt_close(struct ram_ckpt *ckpt);

/* Notes from opening that the user should see, such as weight files that were skipped: line i, or
 * NULL after the last one. The line lives as long as the checkpoint. */
RAM_API const char *ram_ckpt_note(const struct ram_ckpt *ckpt, size_t i);

/* Whether a model's directory has the files of a tokenizer of any kind. Generating text needs one.
 */
RAM_API bool ram_has_tokenizer(const char *dir);

/* ---- finished work ---------------------------------------------------------------------- */

/*
 * Opens or makes the directory `path`, in which every stage that is given it (run.store) keeps what
 * it has finished: measured tensors, synthetic tokens, probes, error curves, encoded tensors. After
 * an interrupt, a crash or a full disk the same stages with resume take it from there and give the
 * same bytes; stages of one run find each other's work in it, too, such as the tokens that
 * ram_probe and the encoder gptq of ram_convert both need. Without resume what earlier runs left is
 * neither used nor removed. RAM_EUSAGE if resume is asked for and it was measured from other
 * weights or another config.json (compared by a digest of sampled bytes, so that a copied
 * checkpoint is recognised), or if another process has it open. A directory that cannot be made is
 * a notice, and *out is NULL.
 */
RAM_API int ram_store_open(struct ram_store **out, const char *path, const struct ram_ckpt *ckpt,
                           bool resume, const struct ram_run *run, struct ram_err *err);

/* Where an output's finished work is kept: "<output>.ram-partial", beside what a link leads to. The
 * caller frees *out. */
RAM_API int ram_store_path(const char *output, char **out, struct ram_err *err);

/* finished: the result is in a safe place, so that the directory is removed; so is one without any
 * finished work. True if the directory stays. NULL is fine. */
RAM_API bool ram_store_close(struct ram_store *store, bool finished);

/*
 * Refuses a file that cannot or must not be written, so that no work is done in vain: a directory,
 * a link that leads nowhere, a directory that does not exist or cannot be written to (RAM_EIO), an
 * existing file without force (RAM_EEXIST), and, force or not, a file of the source or the input
 * itself (RAM_EUSAGE). source, input (a path): what is being read; either may be NULL. For the
 * directories of ram_convert and ram_quantize those do the same themselves.
 */
RAM_API int ram_check_output(const char *path, bool force, const struct ram_ckpt *source,
                             const char *input, struct ram_err *err);

/* ---- manifest: what was measured -------------------------------------------------------- */

struct ram_manifest;

struct ram_analyze_opts {
    unsigned expert_sample; /* number of experts of each stack to measure, evenly spaced; 0: all */
    unsigned output_probes; /* columns of the sampled `output` metric; 0: closed form */
    uint64_t seed;          /* random seed; 0: 42 */
    bool no_svd; /* leave out that metric, which takes most of the time and which budget does not
                    use */
    uint64_t reserved[RAM_RESERVED];
};

/* A manifest of what a checkpoint contains, without measurements: every tensor's role, unit and
 * stored form. */
RAM_API int ram_survey(const struct ram_ckpt *ckpt, struct ram_manifest **out, struct ram_err *err);

/* Reads every weight once; metrics and statistics as docs/metrics.md defines them. */
RAM_API int ram_analyze(const struct ram_ckpt *ckpt, const struct ram_analyze_opts *opts,
                        const struct ram_run *run, struct ram_manifest **out, struct ram_err *err);

RAM_API int ram_manifest_read(struct ram_manifest **out, const char *path, struct ram_err *err);
RAM_API int ram_manifest_write(const struct ram_manifest *manifest, const char *path, bool force,
                               struct ram_err *err);
RAM_API void ram_manifest_free(struct ram_manifest *manifest);

/* Describes the model: architecture, tensors, parameters, bytes, and sizes under uniform
 * quantisation. tensors: also a line for each tensor. */
RAM_API int ram_manifest_describe(const struct ram_manifest *manifest, enum ram_markup markup,
                                  bool tensors, char **out, struct ram_err *err);

/* A tensor of the checkpoint; of a fused stack of experts, one expert's matrix. Strings live as
 * long as the manifest. */
struct ram_entry_info {
    const char *name, *dtype; /* as in the checkpoint: "BF16", ... */
    const char *unit;         /* the name under which a plan decides it */
    const char *role;         /* "embed", "q", "down", "router", "norm", ... */
    int layer, expert;        /* -1: none */
    uint64_t rows, cols;      /* a vector has one row, and of more dimensions the last are cols */
    uint64_t parameters;
    bool decided; /* it counts among the matrices that a plan can give a width of its own */
    /* Measured by ram_analyze and ram_probe; NAN: not measured. docs/metrics.md. */
    double svd, kurtosis, output, error;
    double sensitivity; /* of the whole unit: nats per token with it alone stored coarsely */
    uint64_t reserved[RAM_RESERVED];
};

/* Entry i of a manifest, in the order of the checkpoint; false behind the last. */
RAM_API bool ram_manifest_entry(const struct ram_manifest *manifest, size_t i,
                                struct ram_entry_info *out);

/* How the sensitivity of a unit is measured. */
enum ram_tier {
    RAM_TIER_KL,   /* the divergence of the model with only that unit stored coarsely */
    RAM_TIER_LOCAL /* the change of its layer's output: a few forward passes, whatever the depth */
};

struct ram_probe_opts {
    /* Of the tokens that the model makes: sequences, and tokens of each. Both 0: what ram_quantize
     * takes for this model, of effort fast (tier local) or normal and best. */
    unsigned sequences, length;
    enum ram_tier tier;
    uint64_t seed;    /* 0: 42 */
    bool curves;      /* also measure the error of every width with the encoder gptq */
    const char *text; /* a file of text that replaces text generated by the model */
    uint64_t reserved[RAM_RESERVED];
};

/*
 * Adds to a manifest the sensitivity of each unit: the divergence of the model, in nats per token,
 * when only that unit is stored coarsely. It is measured on text that the model generates itself,
 * so that no data is read. Needs an
 * architecture that can be run (RAM_EUNSUPPORTED otherwise).
 */
RAM_API int ram_probe(const struct ram_ckpt *ckpt, struct ram_manifest *manifest,
                      const struct ram_probe_opts *opts, const struct ram_run *run,
                      struct ram_err *err);

/* Checks whether ram_probe can work, without running anything: RAM_EUNSUPPORTED for an architecture
 * that cannot be, RAM_EIO, RAM_EFORMAT or RAM_EUSAGE for a calibration text that cannot be read or
 * is too short. */
RAM_API int ram_probe_check(const struct ram_ckpt *ckpt, const struct ram_probe_opts *opts,
                            struct ram_err *err);

/* How much time the measurements for a budget may take. */
enum ram_effort_level { RAM_EFFORT_FAST, RAM_EFFORT_NORMAL, RAM_EFFORT_BEST, RAM_N_EFFORTS };

/* The stages of a run, for estimates of their time. RAM_STAGE_INPUTS: tokens for error curves, or
 * for an encoder that looks at a layer's inputs. RAM_STAGE_DERIVE: the backward pass of such an
 * encoder. RAM_STAGE_HELD_OUT: tokens for the self-check. */
enum ram_stage {
    RAM_STAGE_ANALYZE,
    RAM_STAGE_TOKENS,
    RAM_STAGE_PROBE,
    RAM_STAGE_INPUTS,
    RAM_STAGE_CURVES,
    RAM_STAGE_DERIVE,
    RAM_STAGE_CONVERT,
    RAM_STAGE_VERIFY,
    RAM_STAGE_HELD_OUT,
    RAM_STAGE_CHECK,
    RAM_N_STAGES
};

struct ram_effort {
    const char *name, *what; /* name, and a description in one line */
    struct ram_probe_opts probe;
    const char *encoder;
    double seconds; /* expected time of all stages on this machine, without reading the files */
    double stages[RAM_N_STAGES]; /* the same of each stage */
    uint64_t reserved[RAM_RESERVED];
};

/* What each effort means for a model, and which one is the default for it: best for small models,
 * otherwise normal. The default depends only on the model. manifest: of ram_survey at least. */
RAM_API int ram_efforts(const struct ram_manifest *manifest, const struct ram_run *run,
                        struct ram_effort efforts[RAM_N_EFFORTS], enum ram_effort_level *usual,
                        struct ram_err *err);

/* ---- plan: what was decided ------------------------------------------------------------- */

struct ram_plan;

#define RAM_THRESHOLD_OFF (-1.0)

struct ram_allocate_opts {
    /* uniform v1 v2 v3 v2-opt v3-opt auto budget; NULL: budget if a size is given, else auto */
    const char *method;
    int bits, group; /* uniform only; 0: 4 and 128 */
    bool keep_embeddings;
    double t2, t8, t16;         /* 0: the method's; RAM_THRESHOLD_OFF: never */
    bool search;                /* choose the thresholds by the grid search of the method */
    double weights[4];          /* svd, kurtosis, output, error; all 0: .20 .45 .15 .20 */
    const char *const *protect; /* regular expressions that replace the default list */
    size_t n_protect;
    const char *const *sensitive;
    size_t n_sensitive;
    const char *const *set; /* 'REGEX=BITS[gGROUP]', first match wins, beats every rule */
    size_t n_set;
    const char *expert_rule; /* mean, max or p90; NULL: mean */
    /* budget only; at most one of size, bpw and fit. Every byte of the weight files counts. */
    uint64_t size;    /* bytes */
    double bpw;       /* bits per weight; if all three are 0: 4.5 */
    uint64_t fit;     /* bytes of memory of the machine that will run the model */
    uint64_t context; /* with fit: tokens of the KV cache; 0: 8192 */
    /* That will convert: what a width costs depends on it, and the plan records it. NULL: for
     * method budget the one whose error curves the manifest holds, "search" if it was probed
     * without them; otherwise "rtn". */
    const char *encoder;
    /* budget only, beside the size: at most so many bytes of weights are read to compute a token
     * (ram_totals.bytes_per_token), which bounds its time; 0: no limit */
    uint64_t bytes_per_token;
    uint64_t reserved[RAM_RESERVED - 1];
};

struct ram_totals {
    uint64_t parameters;   /* of the tensors that are stored */
    uint64_t bytes;        /* of every stored tensor, scales and biases included */
    double nominal_bits;   /* mean code width */
    double effective_bits; /* bytes x 8 / parameters */
    double compression;    /* 16-bit bytes / bytes */
    double predicted_kld;  /* nats per token; NAN: the method predicts none */
    /* Of these, what is read to compute a token: of a layer's experts those that its router
     * chooses, of an embedding that is not the head one row. */
    uint64_t bytes_per_token;
    uint64_t reserved[RAM_RESERVED - 1];
};

/* Decides bits and group of every unit. Pure: no weights, no files, no clock. */
RAM_API int ram_allocate(const struct ram_manifest *manifest, const struct ram_allocate_opts *opts,
                         struct ram_plan **out, struct ram_err *err);

/* A table of every method's distribution, bits and bytes for one manifest. */
RAM_API int ram_allocate_compare(const struct ram_manifest *manifest,
                                 const struct ram_allocate_opts *opts, enum ram_markup markup,
                                 char **out, struct ram_err *err);

/* A table of the plans of method budget for 2 to 9 bits per weight, and for as many as it can use:
 * bytes, predicted divergence, and the best uniform width of no more bytes. Sizes in opts are
 * ignored. */
RAM_API int ram_allocate_family(const struct ram_manifest *manifest,
                                const struct ram_allocate_opts *opts, enum ram_markup markup,
                                char **out, struct ram_err *err);

RAM_API int ram_plan_read(struct ram_plan **out, const char *path, struct ram_err *err);
RAM_API int ram_plan_write(const struct ram_plan *plan, const char *path, bool force,
                           struct ram_err *err);
RAM_API void ram_plan_free(struct ram_plan *plan);
RAM_API void ram_plan_totals(const struct ram_plan *plan, struct ram_totals *out);

/* What one width is decided for: a linear, an embedding, or the stack of a layer's experts of one
 * projection. Strings live as long as the plan. */
struct ram_unit_info {
    const char *name, *role;
    const char *reason; /* why it has this width: "budget", "protected", "user", ... */
    int layer;          /* -1: none */
    const char *form;   /* "4g64", ...: RAM_LIST_FORMS */
    int bits, group;    /* of that form; 16 and 0: stored as it is */
    uint64_t members;   /* entries of the manifest that it decides */
    uint64_t parameters;
    uint64_t bytes; /* on disk, scales and biases included */
    double score;   /* of methods v1 to v3-opt; NAN: not scored */
    uint64_t reserved[RAM_RESERVED];
};

/* Unit i of a plan, in the order of the checkpoint; false behind the last. */
RAM_API bool ram_plan_unit(const struct ram_plan *plan, size_t i, struct ram_unit_info *out);

/* The encoder that the plan was made for: what ram_convert takes unless it is told another. NULL:
 * the plan does not say. Borrowed. */
RAM_API const char *ram_plan_encoder(const struct ram_plan *plan);

/* Describes the decisions: totals, a table per role, the reasons; units: also a line for each unit.
 */
RAM_API int ram_plan_describe(const struct ram_plan *plan, enum ram_markup markup, bool units,
                              char **out, struct ram_err *err);

/* ---- convert, verify --------------------------------------------------------------------- */

enum ram_profile { RAM_PROFILE_GPU, RAM_PROFILE_CPU }; /* MLX's two rounding rules */

struct ram_convert_opts {
    const char *format;  /* NULL: "mlx" */
    const char *encoder; /* NULL: the one that the plan was made for; "rtn" if it does not say */
    enum ram_profile profile;
    uint64_t shard_size; /* bytes; 0: 5 GiB */
    bool force;          /* replace an existing directory */
    bool dry_run;        /* describe only; nothing is written */
    const char *text;    /* for gptq: a file of text that replaces text generated by the model */
    uint64_t reserved[RAM_RESERVED];
};

/*
 * Writes the checkpoint that the plan describes into a temporary directory beside dir and renames
 * it when every byte is on disk, so that dir appears only when it is complete. *out (may be NULL)
 * receives a description of what was or would be written: bytes per file, fallbacks.
 */
RAM_API int ram_convert(const struct ram_ckpt *ckpt, const struct ram_plan *plan, const char *dir,
                        const struct ram_convert_opts *opts, const struct ram_run *run,
                        enum ram_markup markup, char **out, struct ram_err *err);

/*
 * Opens dir as a loader would and checks headers, shapes and config against each other, against
 * plan (may be NULL) and, weight by weight, against the source (may be NULL). RAM_EDIFF if
 * something differs; *out lists what was checked and found.
 */
RAM_API int ram_verify(const char *dir, const struct ram_ckpt *source, const struct ram_plan *plan,
                       const struct ram_run *run, enum ram_markup markup, char **out,
                       struct ram_err *err);

/*
 * The divergence of a conversion from its source on text that the model generates and that was not
 * used for any decision; in nats per token. It is an estimate on the model's own text, and other
 * texts diverge more or less. Errors are standard errors of the means over the sequences; NAN of a
 * single one.
 */
struct ram_kld_check {
    uint64_t tokens, sequences;
    double kld, kld_error; /* of the directory from its source */
    double kld_uniform; /* of the best uniform width that takes no more bytes; NAN: there is none */
    double kld_uniform_error;
    double difference_error; /* of kld - kld_uniform, in pairs on the same sequences */
    int uniform_bits, uniform_group;
    bool uniform_is_better; /* by more than two of difference_error */
    uint64_t reserved[RAM_RESERVED];
};

/* manifest, plan: of the source, as dir was made by. opts: sequences and length (0: 2,048 tokens,
 * or 256 of a checkpoint above 8 GB; an eighth of that for the local tier), and the seed, to which
 * another one belongs here. RAM_EUNSUPPORTED for an architecture that cannot be run. */
RAM_API int ram_self_check(const char *dir, const struct ram_ckpt *source,
                           const struct ram_manifest *manifest, const struct ram_plan *plan,
                           const struct ram_probe_opts *opts, const struct ram_run *run,
                           struct ram_kld_check *out, struct ram_err *err);

/* ---- quantize: all stages as one call ------------------------------------------------------- */

struct ram_quantized;

/* What ram_quantize has just done. */
enum ram_quantize_step {
    RAM_STEP_BEGIN,    /* nothing was refused, and an effort is chosen; measuring begins */
    RAM_STEP_DECIDED,  /* plan and plan_text are there; again if a uniform width is taken instead */
    RAM_STEP_WRITTEN,  /* convert_text is there; the directory too, unless it is a dry run */
    RAM_STEP_VERIFIED, /* verify_text is there, and nothing differs ... */
    RAM_STEP_DIFFERS,  /* ... or something does, and RAM_EDIFF follows */
    RAM_STEP_CHECKED   /* check is there */
};

struct ram_quantize_opts {
    struct ram_analyze_opts analyze;
    struct ram_allocate_opts allocate; /* method NULL: budget; its encoder is that of convert */
    /* encoder NULL: that of the effort, rtn without one. force, dry_run: as for ram_convert. text:
     * also for what is probed. */
    struct ram_convert_opts convert;
    const char
        *effort; /* of method budget: "fast", "normal", "best"; NULL or "auto": usual for it */
    bool keep_manifest; /* leave what was measured in dir/ram-manifest.json */
    /* Use what an interrupted run or a dry run has left in the store: run->store, or if that is
     * NULL "<dir>.ram-partial", which is removed when dir is complete and checked. */
    bool resume;
    enum ram_markup markup; /* of the three texts of the result */
    bool units;             /* a line for each unit in plan_text */
    /* Called after each step, from the thread that called ram_quantize; what the result then holds
     * is borrowed until the next call. NULL: none. */
    void (*step)(void *user, enum ram_quantize_step step, const struct ram_quantized *so_far);
    void *user; /* of step */
    uint64_t reserved[RAM_RESERVED];
};

/* The result, as far as the run got, also after a failure. ram_quantized_release frees it. */
struct ram_quantized {
    bool to_budget;                           /* the method is budget: the next two count */
    struct ram_effort efforts[RAM_N_EFFORTS]; /* what each would be, and the seconds it takes */
    enum ram_effort_level effort;             /* which one was taken */
    bool runs;                                /* the model can be run here, so that it is probed */
    bool probed;                              /* it was */
    char *calibration;             /* the calibration text: name, bytes, SHA-256; NULL: none */
    struct ram_manifest *manifest; /* or NULL: it did not get that far; so below */
    struct ram_plan *plan;
    char *plan_text, *convert_text, *verify_text;
    bool checked; /* check holds figures */
    struct ram_kld_check check;
    bool fell_back; /* the uniform width did better there, and was written instead */
    bool resumable; /* finished work is kept in "<dir>.ram-partial" for another run with resume */
    uint64_t reserved[RAM_RESERVED];
};

/*
 * Does what `ram quantize` does: refuses what can be refused without measuring, measures, probes
 * (method budget), decides, converts into dir, verifies, and compares the result with the best
 * uniform width of no more bytes, which it writes instead if that is significantly better. opts,
 * run and out may be NULL; zeroed options are the defaults of the command. dir is complete or
 * absent. RAM_EBUDGET, RAM_EUSAGE and RAM_EEXIST come before anything is measured where that is
 * possible; after RAM_EINTERRUPT and most other failures a run with resume continues.
 */
RAM_API int ram_quantize(const struct ram_ckpt *ckpt, const char *dir,
                         const struct ram_quantize_opts *opts, const struct ram_run *run,
                         struct ram_quantized *out, struct ram_err *err);
RAM_API void ram_quantized_release(struct ram_quantized *quantized);

/* ---- score: what came of it ---------------------------------------------------------------- */

struct ram_score;

struct ram_evaluate_opts {
    const char *task;         /* wikitext, text, arc_challenge, hellaswag */
    const char *data;         /* the text, or the task's documents as JSON lines */
    const char *fewshot_data; /* where examples are drawn from; NULL: the task's default */
    const char *log_samples;  /* a file for one JSON object a window or document; NULL: none */
    int shots;                /* of the choice tasks; 0: the task's default; -1: none */
    uint64_t limit;           /* only the first windows or documents; 0: all */
    uint64_t seq_len;         /* tokens of a window; 0: 2048 */
    uint64_t windows;         /* the number of windows at most; 0: 256 */
    unsigned seed;            /* of the choice of windows; 0: 42 */
    bool f32;                 /* everything in f32, to compare engines */
    uint64_t reserved[RAM_RESERVED];
};

/*
 * Scores a checkpoint, float or quantised, on a task; reference (may be NULL) adds the divergence
 * from it, position by position. docs/evaluation.md defines every figure. Weights are streamed
 * layer by layer within max_memory. RAM_EUSAGE lists the tasks if there is none of opts->task,
 * which has no default.
 */
RAM_API int ram_evaluate(const struct ram_ckpt *ckpt, const struct ram_ckpt *reference,
                         const struct ram_evaluate_opts *opts, const struct ram_run *run,
                         struct ram_score **out, struct ram_err *err);

RAM_API int ram_score_read(struct ram_score **out, const char *path, struct ram_err *err);
RAM_API int ram_score_write(const struct ram_score *score, const char *path, bool force,
                            struct ram_err *err);
RAM_API void ram_score_free(struct ram_score *score);

/* n scores as one table with a row for each model: all its tasks, and the change of each against
 * the first model that was given the same task with the same settings, with tests in pairs. Scores
 * of a task that were run with different settings get columns of their own and are not compared. n
 * = 1: one score. names [n]: what to call the scores; NULL: the paths of their models. */
RAM_API int ram_scores_describe(const struct ram_score *const *scores, const char *const *names,
                                size_t n, enum ram_markup markup, char **out, struct ram_err *err);

struct ram_generate_opts {
    const char *prompt;
    uint64_t max_tokens; /* 0: 100 */
    double temperature;  /* 0: the most likely token, always */
    uint64_t seed;       /* 0: 42 */
    bool f32;            /* everything in f32, to compare engines */
    uint64_t reserved[RAM_RESERVED];
};

/* Continues a prompt, as a quick sanity check of a model. text (may be NULL) is called with the
 * bytes of every token as it comes; a character may be split between two calls. Stops at an end
 * token. RAM_EUSAGE for a prompt without tokens, such as that of opts NULL, and for a temperature
 * that is negative or not finite. */
RAM_API int ram_generate(const struct ram_ckpt *ckpt, const struct ram_generate_opts *opts,
                         const struct ram_run *run,
                         void (*text)(void *user, const char *bytes, size_t n), void *user,
                         struct ram_err *err);

/* ---- the model's own text ------------------------------------------------------------------ */

struct ram_synthesize_opts {
    /* 0: as many, and as long, as error curves and the encoder gptq take for this model. */
    uint64_t sequences, length;
    uint64_t seed; /* 0: 42, from which those are sampled */
    bool ids;      /* token ids alone, which need no tokenizer */
    uint64_t reserved[RAM_RESERVED];
};

/*
 * The text that measurements run this model on: exact samples at temperature 1, each from the start
 * of a document, a user's turn or a random token. Zeroed options, or NULL, give the tokens that
 * ram_probe measures error curves on and the encoder gptq encodes by; another seed or shape gives
 * others of their kind.
 *
 * *out, to be freed, has *size bytes and a 0 behind them: for each sequence a line that says what
 * it begins with, and its text with special tokens as they are spelled and a line end; with ids
 * one line of ids. RAM_JSON: one object with both. The bytes of a text need not be UTF-8, since a
 * token may end inside a character; in JSON such bytes are U+FFFD. Without a tokenizer that can be
 * read, text is refused before anything is sampled.
 */
RAM_API int ram_synthesize(const struct ram_ckpt *ckpt, const struct ram_synthesize_opts *opts,
                           const struct ram_run *run, enum ram_markup markup, char **out,
                           size_t *size, struct ram_err *err);

/* ---- tokens -------------------------------------------------------------------------------- */

struct ram_tokenizer;

/* The tokenizer of a model, found as ram_ckpt_open finds it; weights are not looked at. Byte-level
 * BPE from tokenizer.json or vocab.json with merges.txt; RAM_EUNSUPPORTED names what is not. */
RAM_API int ram_tokenizer_open(struct ram_tokenizer **out, const char *model, struct ram_err *err);
RAM_API void ram_tokenizer_close(struct ram_tokenizer *tokenizer);

/* One more than the highest id that has a token, and the rows of the model's embedding as its
 * config.json states them (0: unknown). A model may have more rows than ids, which is padding; a
 * token whose id is not below rows cannot be used with it. */
RAM_API void ram_tokenizer_sizes(const struct ram_tokenizer *tokenizer, uint64_t *ids,
                                 uint64_t *rows);

/* Reads a text from a file, or from the standard input ("-"), exactly as it stands: an array to be
 * freed, with a 0 behind its size bytes. RAM_EFORMAT for what is no text (compressed, columnar and
 * other binary files, UTF-16), with the name of what it is. run may be NULL; its notice is told of
 * bytes that are not UTF-8. */
RAM_API int ram_text_read(const char *path, const struct ram_run *run, char **text, size_t *size,
                          struct ram_err *err);

/* Writes a text to a file, which appears only when it is complete. RAM_EEXIST if it is there and
 * force is false. */
RAM_API int ram_text_write(const char *path, const char *text, size_t size, bool force,
                           struct ram_err *err);

/* The ids of text, in an array to be freed. Special tokens that stand in the text are recognised;
 * special: what the model's post-processor puts around a text (a BOS) is put there too. Bytes that
 * are not UTF-8 count as U+FFFD. */
RAM_API int ram_tokenize(const struct ram_tokenizer *tokenizer, const char *text, size_t size,
                         bool special, uint32_t **ids, size_t *n, struct ram_err *err);

/* The bytes that ids stand for, in an array to be freed; ids beyond the vocabulary give none. */
RAM_API int ram_detokenize(const struct ram_tokenizer *tokenizer, const uint32_t *ids, size_t n,
                           char **text, size_t *size, struct ram_err *err);

#ifdef __cplusplus
}
#endif

#endif

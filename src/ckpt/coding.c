/*
 * coding.c - see coding.h. The marks were read off the modules that write them: transformers 5
 * (src/transformers/integrations, quantizers), compressed-tensors, TensorRT Model Optimizer,
 * bitsandbytes, AutoGPTQ, AutoAWQ, mlx_lm, and published checkpoints.
 */
#include "ckpt/coding.h"

#include "base/affix.h"
#include "ckpt/coding_config.h"
#include "ckpt/fp8.h"
#include "ckpt/weight.h"

#include <stdio.h>
#include <string.h>

enum { MAX_NAME = 1024 };

/* The tensor that has `suffix` where t's name has `own`; NULL if there is none. */
static const struct ram_tensor *beside(const struct ram_ckpt *ckpt, const struct ram_tensor *t,
                                       const char *own, const char *suffix)
{
    char name[MAX_NAME];
    const size_t stem = strlen(t->name) - strlen(own);

    const int n = snprintf(name, sizeof name, "%.*s%s", (int)stem, t->name, suffix);
    return n < (int)sizeof name ? ram_ckpt_find(ckpt, name) : NULL;
}

/* ---- marks ------------------------------------------------------------------------------- */

/* Kinds of element types, as a set. */
enum { FLOAT = 1, BYTE = 2, WORD = 4, OTHER = 8, ANY = 15, CODES = BYTE | WORD | OTHER };

static unsigned kind_of(enum ram_dtype dtype)
{
    switch (dtype) {
    case RAM_U8:
    case RAM_I8:
        return BYTE;
    case RAM_I32:
    case RAM_U32:
    case RAM_I16:
    case RAM_U16:
    case RAM_I64:
    case RAM_U64:
        return WORD;
    default:
        return ram_dtypes[dtype].is_weight ? FLOAT : OTHER;
    }
}

/* A tensor whose name ends so, of such a type, and with such a companion, shows the coding. The
 * first row that fits any tensor counts, so the special ones stand before the general ones. */
enum { BY_CONFIG = -1 };
static const struct mark {
    const char *suffix;
    unsigned kinds;
    const char *beside; /* in place of the suffix; NULL: nothing is needed */
    const char *coding;
    int bits; /* of a code; 0: not known, or told by the function that names the coding */
} marks[] = {
    {".quant_map", ANY, ".absmax", "bitsandbytes 4-bit", 4},
    {".SCB", ANY, ".weight", "bitsandbytes 8-bit (LLM.int8)", 8},
    {".pre_quant_scale", ANY, ".weight_scale_2", "ModelOpt AWQ (W4A8 or NVFP4)", 4},
    {".pre_quant_scale", ANY, NULL, "ModelOpt AWQ", 0},
    {".weight_packed", ANY, ".scale_packed", "compressed-tensors marlin-24", 0},
    {".weight_packed", ANY, ".weight_global_scale", "NVFP4 (compressed-tensors)", 4},
    {".weight_packed", BYTE, ".weight_scale", "MXFP4 (compressed-tensors)", 4},
    {".weight_packed", ANY, NULL, "compressed-tensors pack-quantized integer", BY_CONFIG},
    {".scale_packed", ANY, NULL, "compressed-tensors marlin-24", 0},
    {".bitmask", BYTE, ".compressed", "compressed-tensors sparse", 0},
    {".weight_scale_2", ANY, ".weight", "NVFP4 (ModelOpt)", 4},
    {"_blocks", BYTE, "_scales", "MXFP4", 4},
    {".W_q", ANY, NULL, "HQQ or SINQ", 0},
    {".codebooks", ANY, ".codes", "AQLM", 0},
    {".dense_weights", ANY, ".row_offsets", "SpQR", 0},
    {".indices", WORD, ".centroids.weight", "VPTQ", 0},
    {"._data", ANY, "._scale", "quanto", 0},
    {"weight_qdata", ANY, "weight_scale", "torchao", 0},
    {".Qidxs", WORD, NULL, "QuIP#", 0},
    {".q_weight", WORD, NULL, "EXL2", 0},
    {".trellis", WORD, NULL, "EXL3", 0},
    {".tables2", ANY, ".scales", "HIGGS", 0},
    {".forward_hadamard_matrix", ANY, ".scales", "FP-Quant", 0},
    {".qweight", BYTE, ".weight_scales", "EETQ", 8},
    {".qweight", BYTE, ".weight_scale", "EETQ", 8},
    {".qweight", ANY, ".lookup_table", "SqueezeLLM", 0},
    {".qweight", ANY, ".g_idx", "GPTQ", BY_CONFIG},
    {".qweight", ANY, NULL, NULL, 0}, /* GPTQ or AWQ: see packed_columns */
    {".weight", BYTE, ".weight_scales", "EETQ", 8},
    {".weight", BYTE, ".weight_scale", NULL, 0}, /* see small_integers */
    {".weight", WORD, ".scales", NULL, 0},       /* see mlx_mode */
    {".weight", CODES, NULL, NULL, 0},
};

/* AutoAWQ packs neighbouring columns of the transposed matrix, AutoGPTQ neighbouring rows, so only
 * one of the two has as many columns as there are scales. */
static const char *packed_columns(const struct ram_ckpt *ckpt, const struct ram_tensor *t,
                                  int *bits)
{
    const struct ram_tensor *scales = beside(ckpt, t, ".qweight", ".scales");

    *bits = BY_CONFIG;
    if (!scales || !scales->n_dims || t->n_dims != 2)
        return "a coding like GPTQ's or AWQ's";
    return t->shape[1] == scales->shape[scales->n_dims - 1] ? "GPTQ" : "AWQ";
}

static const char *small_integers(const struct ram_ckpt *ckpt, const struct ram_tensor *t,
                                  int *bits)
{
    const struct ram_tensor *scale = beside(ckpt, t, ".weight", ".weight_scale");

    *bits = t->dtype == RAM_I8 ? 8 : scale->n == 1 ? 2 : 4;
    if (t->dtype == RAM_I8)
        return "INT8 (as compressed-tensors and ModelOpt write it)";
    return scale->n == 1 ? "BitNet" : "4-bit codes, two in a byte";
}

/* MLX affine codes, which are read, have biases; NULL for them. */
static const char *mlx_mode(const struct ram_ckpt *ckpt, const struct ram_tensor *t, int *bits)
{
    const struct ram_tensor *scales = beside(ckpt, t, ".weight", ".scales");

    if (t->dtype != RAM_U32)
        return t->dtype == RAM_I16 ? "HIGGS" : NULL;
    if (beside(ckpt, t, ".weight", ".biases") || scales->dtype != RAM_U8)
        return NULL;
    const json_t *block = json_object_get(ckpt->config, "quantization");
    const char *mode = json_string_value(json_object_get(block, "mode"));
    *bits = mode && !strcmp(mode, "mxfp8") ? 8 : 4;
    return mode && !strcmp(mode, "nvfp4")   ? "MLX nvfp4"
           : mode && !strcmp(mode, "mxfp8") ? "MLX mxfp8"
           : mode && !strcmp(mode, "mxfp4") ? "MLX mxfp4"
                                            : "MLX mxfp4 (or another mode without biases)";
}

/* What config.json calls the coding of something that no mark fits. */
static const char *method_of(const struct ram_ckpt *ckpt)
{
    const json_t *config = ram_coding_config(ckpt->config);
    return json_string_value(json_object_get(config, "quant_method"));
}

static const char *any_codes(const struct ram_ckpt *ckpt, const struct ram_tensor *t)
{
    const char *method = method_of(ckpt);

    if (t->n_dims < 2 || !t->n || (t->dtype == RAM_U32 && beside(ckpt, t, ".weight", ".scales")))
        return NULL;
    return method ? method : "an unknown method";
}

static bool fits(const struct ram_ckpt *ckpt, const struct ram_tensor *t, const struct mark *mark)
{
    return (mark->kinds & kind_of(t->dtype)) && ram_ends(t->name, mark->suffix) &&
           (!mark->beside || beside(ckpt, t, mark->suffix, mark->beside));
}

/* The coding that a mark shows, given that it fits, and the bits of its codes; NULL: none that is
 * foreign. */
static const char *coding_of(const struct ram_ckpt *ckpt, const struct ram_tensor *t,
                             const struct mark *mark, int *bits)
{
    *bits = mark->bits;
    if (mark->coding)
        return mark->coding;
    if (!strcmp(mark->suffix, ".qweight"))
        return packed_columns(ckpt, t, bits);
    if (mark->kinds == BYTE)
        return small_integers(ckpt, t, bits);
    return mark->kinds == WORD ? mlx_mode(ckpt, t, bits) : any_codes(ckpt, t);
}

/* Could a mark end so? Most names end in ".weight" and are floats, and need no more than this. */
static bool is_plain(const struct ram_tensor *t)
{
    return kind_of(t->dtype) == FLOAT &&
           (ram_ends(t->name, ".weight") || ram_ends(t->name, ".bias"));
}

static const char *find_foreign(const struct ram_ckpt *ckpt, const struct ram_tensor **example,
                                int *bits)
{
    enum { N_MARKS = sizeof marks / sizeof *marks };
    const char *coding = NULL;
    size_t best = N_MARKS;

    for (size_t i = 0; i < ckpt->n_tensors; i++) {
        const struct ram_tensor *t = &ckpt->tensors[i];
        for (size_t m = 0; m < best && !is_plain(t); m++) {
            int own = 0;
            const char *found =
                fits(ckpt, t, &marks[m]) ? coding_of(ckpt, t, &marks[m], &own) : NULL;
            if (!found)
                continue;
            coding = found;
            *bits = own;
            *example = t;
            best = m;
        }
    }
    return coding;
}

/* ---- what config.json says --------------------------------------------------------------- */

/* Bits of packed integers: GPTQ and AWQ write "bits", older AWQ "w_bit", compressed-tensors
 * "num_bits" of a group; nearly all have 4. */
static int bits_of_config(const json_t *config)
{
    json_t *groups = json_object_get(config, "config_groups"), *group;
    json_int_t bits = json_integer_value(json_object_get(config, "bits"));
    const char *key;

    if (!bits)
        bits = json_integer_value(json_object_get(config, "w_bit"));
    json_object_foreach(groups, key, group) if (!bits) bits =
        json_integer_value(json_object_get(json_object_get(group, "weights"), "num_bits"));
    return bits > 0 && bits <= 8 ? (int)bits : 4;
}

/* compressed-tensors: is any group of modules coded other than as floats of 8 bits? */
static bool has_integer_groups(const json_t *config)
{
    json_t *groups = json_object_get(config, "config_groups"), *group;
    const char *key;

    json_object_foreach(groups, key, group)
    {
        const json_t *weights = json_object_get(group, "weights");
        const char *type = json_string_value(json_object_get(weights, "type"));
        if (json_is_object(weights) &&
            (!type || strcmp(type, "float") != 0 ||
             json_integer_value(json_object_get(weights, "num_bits")) != 8))
            return true;
    }
    return false;
}

/* Whether config.json describes FP8 weights, or only a quantised KV cache. Weights of such a
 * checkpoint that are stored as floats are the original ones. Floats in a packed checkpoint are
 * not, and transformers would not read them either. */
static bool allows_floats(const json_t *config)
{
    const char *method = json_string_value(json_object_get(config, "quant_method"));
    const char *algo = json_string_value(json_object_get(config, "quant_algo"));
    const char *format = json_string_value(json_object_get(config, "format"));

    if (!method || !strcmp(method, "fp8") || !strcmp(method, "fbgemm_fp8"))
        return true;
    if (!strcmp(method, "modelopt"))
        return !algo || !strncmp(algo, "FP8", 3);
    if (!strcmp(method, "compressed-tensors"))
        return !has_integer_groups(config) &&
               (!format || !strcmp(format, "dense") || strstr(format, "float-quantized") ||
                strstr(format, "naive-quantized"));
    return false;
}

/* ---- verdict ----------------------------------------------------------------------------- */

static int refuse_foreign(struct ram_ckpt *ckpt, const char *coding,
                          const struct ram_tensor *example, struct ram_err *err)
{
    char shape[RAM_SHAPE_TEXT];

    ckpt->coding.name = ram_arena_strdup(&ckpt->arena, coding, err);
    ckpt->coding.status = RAM_EUNSUPPORTED;
    ckpt->coding.problem = ram_arena_printf(
        &ckpt->arena, err,
        "its weights are quantised by %s ('%s' is %s %s), which RAM cannot decode; use the "
        "original checkpoint, in 16-bit floats or FP8",
        coding, example->name, ram_dtypes[example->dtype].name,
        ram_shape_text(example->shape, example->n_dims, shape));
    return err->status;
}

static int refuse_claim(struct ram_ckpt *ckpt, const json_t *config, struct ram_err *err)
{
    const char *method = json_string_value(json_object_get(config, "quant_method"));

    ckpt->coding.status = RAM_EUNSUPPORTED;
    ckpt->coding.problem = ram_arena_printf(
        &ckpt->arena, err,
        "config.json says that its weights are already quantised (quant_method \"%s\"), but no "
        "tensor is coded; use the original checkpoint, or, if these are its weights, remove "
        "\"quantization_config\" from config.json",
        method);
    return err->status;
}

int ram_coding_find(struct ram_ckpt *ckpt, struct ram_err *err)
{
    const json_t *config = ram_coding_config(ckpt->config);
    const struct ram_tensor *example = NULL;
    struct ram_coding *coding = &ckpt->coding;

    *coding = (struct ram_coding){0};
    const char *foreign = find_foreign(ckpt, &example, &coding->bits);
    if (foreign) {
        if (coding->bits == BY_CONFIG)
            coding->bits = bits_of_config(config);
        return refuse_foreign(ckpt, foreign, example, err);
    }
    for (size_t i = 0; i < ckpt->n_tensors && !coding->coded; i++)
        coding->coded = ckpt->tensors[i].dtype == RAM_U32 &&
                        ram_ends(ckpt->tensors[i].name, ".weight") &&
                        beside(ckpt, &ckpt->tensors[i], ".weight", ".scales");
    if (coding->coded) {
        coding->name = "MLX affine";
        return RAM_OK;
    }
    const int status = ram_fp8_link(ckpt, err);
    if (!status && !coding->name && !coding->problem && config && !allows_floats(config))
        return refuse_claim(ckpt, config, err);
    return status;
}

const char *ram_coding_quantized(const struct ram_ckpt *ckpt)
{
    const json_t *const places[] = {ckpt->config, json_object_get(ckpt->config, "text_config")};

    if (ckpt->coding.coded)
        return "its weights are MLX codes";
    for (size_t i = 0; i < 2; i++)
        if (json_is_object(json_object_get(places[i], "quantization")))
            return "config.json has an MLX quantization block";
    return NULL;
}

/* ---- counting ---------------------------------------------------------------------------- */

/* Does a tensor hold weights, in whatever form, rather than scales and tables of a coding? */
static bool holds_weights(const struct ram_tensor *t)
{
    static const char *const suffixes[] = {".weight", ".bias",  ".qweight", ".weight_packed",
                                           "_blocks", "._data", ".W_q",     "weight_qdata",
                                           "_proj",   "_bias"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (ram_ends(t->name, suffixes[i]))
            return true;
    return false;
}

bool ram_coding_weights(const struct ram_ckpt *ckpt, const struct ram_tensor *t,
                        struct ram_coded *out)
{
    static const char own[] = ".weight";
    const bool codes = kind_of(t->dtype) != FLOAT;
    struct ram_weight weight;
    struct ram_err ignored = {0};
    char module[MAX_NAME];

    *out = (struct ram_coded){.weights = t->n, .bits = ram_dtypes[t->dtype].bits};
    if (!ckpt->coding.coded && !ckpt->coding.problem)
        return !codes && !ram_coding_is_activation(t->name);
    if (!holds_weights(t))
        return false;
    if (codes && ckpt->coding.bits > 0) {
        out->bits = ckpt->coding.bits;
        out->weights = t->size / (size_t)out->bits * 8;
    }
    if (t->dtype != RAM_U32 || !ckpt->coding.coded || !ram_ends(t->name, own) ||
        strlen(t->name) >= sizeof module)
        return true;
    snprintf(module, sizeof module, "%.*s", (int)(strlen(t->name) - strlen(own)), t->name);
    if (ram_weight_find(&weight, ckpt, module, &ignored) || !weight.as.form)
        return true;
    out->weights = weight.blocks * weight.rows * weight.cols;
    out->bits = weight.as.form->bits;
    out->group = weight.as.form->group;
    return true;
}

int ram_ckpt_check_coding(const struct ram_ckpt *ckpt, struct ram_err *err)
{
    if (!ckpt->coding.problem)
        return RAM_OK;
    return ram_fail(err, ckpt->coding.status, "%s: %s", ckpt->dir, ckpt->coding.problem);
}

/* coding_config.c - see coding_config.h. */
#include "ckpt/coding_config.h"

#include "base/affix.h"

#include <string.h>

const json_t *ram_coding_config(const json_t *config)
{
    /* The second is what compressed-tensors wrote in 2024. */
    static const char *const keys[] = {"quantization_config", "compression_config"};
    const json_t *const places[] = {config, json_object_get(config, "text_config")};

    for (size_t i = 0; i < 4; i++) {
        const json_t *block = json_object_get(places[i % 2], keys[i / 2]);
        if (json_is_object(block))
            return block;
    }
    return NULL;
}

bool ram_coding_is_activation(const char *name)
{
    static const char *const suffixes[] = {
        ".input_scale",      ".input_scale_ub",
        ".input_zero_point", ".input_global_scale",
        ".output_scale",     ".output_zero_point",
        ".activation_scale", ".k_scale",
        ".v_scale",          ".q_scale",
        ".kv_scale",         ".k_zero_point",
        ".v_zero_point",     ".q_zero_point",
        ".prob_scale",       ".prob_output_scale",
        ".prob_zero_point",  ".kv_cache_scaling_factor",
    };
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (ram_ends(name, suffixes[i]))
            return true;
    /* TensorRT Model Optimizer before its export: "q_bmm_quantizer._amax". */
    return strstr(name, "_quantizer._") != NULL;
}

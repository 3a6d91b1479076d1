/* coding_config.h - what config.json and names alone say of how weights are coded. */
#ifndef RAM_CKPT_CODING_CONFIG_H
#define RAM_CKPT_CODING_CONFIG_H

#include "base/json.h"

/* "quantization_config" of config.json, at the top level or in "text_config"; NULL: none. */
const json_t *ram_coding_config(const json_t *config);

/* Scales, zero points and limits of activations or of the cache of keys and values, which some
 * packagings store beside the weights: true for "model.layers.0.self_attn.q_proj.input_scale". */
bool ram_coding_is_activation(const char *name);

#endif

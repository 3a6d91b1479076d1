/* mlx.h - the parts of the format mlx; private to mlx_*.c, and to the table of formats. Read
 * against mlx_lm 0.32. */
#ifndef RAM_FORMAT_MLX_H
#define RAM_FORMAT_MLX_H

#include "format/format.h"

extern const struct ram_format ram_format_mlx;

/* mlx_names.c */
void ram_mlx_name(struct ram_placed *place, const struct ram_config *config,
                  const struct ram_slot *slot, int layer, int half);

bool ram_mlx_carry(char out[RAM_SLOT_NAME], const struct ram_config *config, const char *name);

/* mlx_obstacle.c: see struct ram_format. */
const char *ram_mlx_obstacle(const struct ram_config *config, const json_t *json,
                             struct ram_arena *arena, struct ram_err *err);
int ram_mlx_note(const struct ram_config *config, struct ram_notes *notes, struct ram_arena *arena,
                 struct ram_err *err);

/* Do the layers of mlx_lm's class see the windows that these do? Only if it is told which layers
 * do, and some layer has none. */
bool ram_mlx_slides(const struct ram_config *config);

/* Of a model with a delta rule: every n-th layer has attention, as mlx_lm's class is told. */
size_t ram_mlx_interval(const struct ram_config *config);

/* A key that mlx_lm's class cannot do without and that json, as mlx_lm reads it, lacks; or NULL. */
const char *ram_mlx_lacks(const struct ram_config *config, const json_t *json);

/*
 * config.json: every key of the source's, in the spelling that mlx_lm reads what was computed where
 * that is another or does not stand there (mlx_publish.c), and the two quantization blocks
 * (mlx_config.c).
 */
int ram_mlx_config(const struct ram_outline *outline, char **out, struct ram_err *err);

/* States in json, a copy of the source's config.json, what the layout's configuration means. */
int ram_mlx_publish(json_t *json, const struct ram_outline *outline, struct ram_err *err);

/* model.safetensors.index.json (mlx_config.c). */
int ram_mlx_index(const struct ram_outline *outline, char **out, struct ram_err *err);

/* mlx_files.c, mlx_modules.c: see struct ram_format. */
int ram_mlx_check_files(const struct ram_ckpt *ckpt, struct ram_findings *findings,
                        struct ram_err *err);
int ram_mlx_find(struct ram_found_list *out, const struct ram_ckpt *ckpt,
                 const struct ram_expectation *expectation, struct ram_findings *findings,
                 struct ram_err *err);

#endif

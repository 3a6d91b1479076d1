/* mlx.h - the parts of the format mlx; private to mlx_*.c, and to the table of formats. Read
 * against mlx_lm 0.32. */
#ifndef RAM_FORMAT_MLX_H
#define RAM_FORMAT_MLX_H

#include "format/format.h"

extern const struct ram_format ram_format_mlx;

/* mlx_names.c */
void ram_mlx_name(struct ram_placed *place, const struct ram_config *config,
                  const struct ram_slot *slot, int layer, int half);

/* mlx_obstacle.c: see struct ram_format. */
const char *ram_mlx_obstacle(const struct ram_config *config, const json_t *json,
                             struct ram_arena *arena, struct ram_err *err);
int ram_mlx_note(const struct ram_config *config, struct ram_notes *notes, struct ram_arena *arena,
                 struct ram_err *err);

/* Do the layers of mlx_lm's class see the windows that these do? Only if it is told which layers
 * do, and some layer has none. */
bool ram_mlx_slides(const struct ram_config *config);

/* A key that mlx_lm's class cannot do without and that json, as mlx_lm reads it, lacks; or NULL. */
const char *ram_mlx_lacks(const struct ram_config *config, const json_t *json);

#endif

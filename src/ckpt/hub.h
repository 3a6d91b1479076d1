/* hub.h - where a model lies: a directory, or "org/name[@revision]" (or "name", as of old models)
 * in the Hugging Face cache. */
#ifndef RAM_CKPT_HUB_H
#define RAM_CKPT_HUB_H

#include "base/err.h"

/*
 * *dir: the resolved directory. *name: what a person calls the model, "org/name" if it lies in a
 * hub cache, else the directory's last part. Both to be freed. If there is no such directory:
 * RAM_EUSAGE for something that cannot be a model's name, else RAM_EIO with the command that
 * downloads it.
 */
int ram_hub_find(const char *model, char **dir, char **name, struct ram_err *err);

#endif

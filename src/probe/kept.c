/* kept.c - see kept.h. */
#include "probe/kept.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct ram_kept ram_kept_for(const struct ram_exec *exec, const char *stage, const char *settings)
{
    struct ram_kept kept = {.store = exec->store};

    ram_store_scope(kept.store, stage, settings, &kept.scope);
    return kept;
}

void ram_kept_put(const struct ram_kept *kept, const char *name, const void *value, size_t size)
{
    ram_store_put(kept->store, &kept->scope, name, value, size);
}

bool ram_kept_get(const struct ram_kept *kept, const char *name, void *value, size_t size)
{
    struct ram_buf buf = {0};
    const bool found = ram_store_get(kept->store, &kept->scope, name, size, &buf);

    if (found)
        memcpy(value, buf.data, size);
    ram_buf_release(&buf);
    return found;
}

size_t ram_kept_get_part(const struct ram_kept *kept, const char *name, void *value, size_t size)
{
    struct ram_buf buf = {0};
    const bool found = ram_store_get(kept->store, &kept->scope, name, SIZE_MAX, &buf);
    const size_t whole = found ? buf.size : 0;

    if (whole)
        memcpy(value, buf.data, whole < size ? whole : size);
    ram_buf_release(&buf);
    return whole;
}

/* ---- a forward pass ------------------------------------------------------------------------- */

struct mover {
    const struct ram_kept_pass *pass;
    float *row; /* [hidden] */
    bool into;  /* the forward pass */
};

/* Bytes [at, at + n) of all rows, which begin and end anywhere in a row. */
static int move(void *ctx, uint64_t at, void *data, size_t n, struct ram_err *err)
{
    const struct mover *m = ctx;
    struct ram_forward *forward = m->pass->forward;
    const size_t size = m->pass->hidden * sizeof *m->row;
    char *bytes = data;
    int status = RAM_OK;

    for (size_t done = 0, step; !status && done < n; done += step) {
        const size_t row = (size_t)((at + done) / size), inside = (size_t)((at + done) % size);
        step = size - inside < n - done ? size - inside : n - done;
        if (!m->into || step < size)
            status = ram_forward_get_row(forward, row, m->row, err);
        if (!status && m->into) {
            memcpy((char *)m->row + inside, bytes + done, step);
            status = ram_forward_set_row(forward, row, m->row, err);
        } else if (!status) {
            memcpy(bytes + done, (char *)m->row + inside, step);
        }
    }
    return status;
}

int ram_kept_save(const struct ram_kept *kept, const struct ram_kept_pass *pass,
                  struct ram_err *err)
{
    struct mover mover = {.pass = pass};
    const struct ram_store_body body = {&mover, (uint64_t)pass->n_rows * pass->hidden * 4, move};
    struct ram_buf head = {0};

    if (!kept->store)
        return RAM_OK;
    ram_pack_u64(&head, pass->layer);
    ram_pack_u64(&head, pass->n_rows);
    ram_pack_f64(&head, pass->figures, pass->n_figures);
    mover.row = ram_calloc(pass->hidden, sizeof *mover.row, err);
    const int status =
        mover.row ? ram_store_state_put(kept->store, &kept->scope, &head, &body, err) : RAM_ENOMEM;
    free(mover.row);
    ram_buf_release(&head);
    return status;
}

bool ram_kept_find(const struct ram_kept *kept, struct ram_kept_pass *pass)
{
    const size_t figures = pass->n_figures * sizeof *pass->figures;
    struct ram_buf head = {0};
    uint64_t size = 0, numbers[2] = {0};

    bool found = ram_store_state_find(kept->store, &kept->scope, &head, &size) &&
                 head.size == sizeof numbers + figures;
    if (found) {
        memcpy(numbers, head.data, sizeof numbers);
        found = numbers[1] <= SIZE_MAX / 4 / pass->hidden && size == numbers[1] * pass->hidden * 4;
    }
    if (found) {
        pass->layer = (size_t)numbers[0];
        pass->n_rows = (size_t)numbers[1];
        if (figures)
            memcpy(pass->figures, head.data + sizeof numbers, figures);
    }
    ram_buf_release(&head);
    return found;
}

int ram_kept_load(const struct ram_kept *kept, const struct ram_kept_pass *pass,
                  struct ram_err *err)
{
    struct mover mover = {.pass = pass, .into = true};
    const struct ram_store_body body = {&mover, (uint64_t)pass->n_rows * pass->hidden * 4, move};

    mover.row = ram_calloc(pass->hidden, sizeof *mover.row, err);
    const int status = mover.row ? ram_store_state_get(kept->store, &body, err) : RAM_ENOMEM;
    free(mover.row);
    return status;
}

void ram_kept_drop(const struct ram_kept *kept)
{
    ram_store_state_drop(kept->store);
}

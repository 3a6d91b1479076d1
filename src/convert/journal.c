/* journal.c - see journal.h. */
#include "convert/journal.h"

#include "base/hash.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 1 << 20, NAME = 32 };

uint64_t ram_outline_hash(const struct ram_outline *outline)
{
    uint64_t h = 0;

    for (size_t i = 0; i < outline->n_files; i++) {
        const struct ram_out_file *file = &outline->files[i];
        h = ram_hash64(file->name, strlen(file->name), h);
        h = ram_hash64(file->header, file->header_size, h);
    }
    for (size_t m = 0; m < outline->n_modules; m++) {
        const struct ram_out_module *module = &outline->modules[m];
        const struct ram_form *form = module->as.form;
        const int how[] = {(int)module->as.profile, (int)module->as.scale_type};
        h = ram_hash64(form->id, strlen(form->id), h);
        h = ram_hash64(how, sizeof how, h);
    }
    return h;
}

void ram_journal_open(struct ram_journal *journal, struct ram_store *store,
                      const struct ram_outline *outline, const char *settings)
{
    struct ram_buf text = {0};

    *journal = (struct ram_journal){.store = store};
    if (!store)
        return;
    ram_buf_printf(&text, "outline %016llx, %s", (unsigned long long)ram_outline_hash(outline),
                   settings);
    if (text.failed)
        journal->store = NULL;
    else
        ram_store_scope(store, "convert", text.data, &journal->scope);
    ram_buf_release(&text);
}

static void name_record(char name[NAME], uint64_t number)
{
    snprintf(name, NAME, "blocks %llu", (unsigned long long)number);
}

/* ---- a record ------------------------------------------------------------------------------- */

static void pack_module(struct ram_buf *out, size_t m, const struct ram_module_result *result)
{
    ram_pack_u64(out, m);
    ram_pack_f64(out, &result->squared_error, 1);
    ram_pack_f64(out, &result->squared, 1);
    for (size_t k = 0; k < RAM_MAX_PLANES; k++)
        ram_buf_add(out, &result->sums[k], sizeof result->sums[k]);
}
_Static_assert(sizeof(struct ram_checksum) == 16, "a checksum is two words");
enum { MODULE_BYTES = 8 * (3 + 2 * RAM_MAX_PLANES) };

void ram_journal_add(struct ram_journal *journal, const struct ram_outline *outline,
                     const struct ram_block_place *place, size_t first,
                     const struct ram_module_result *results)
{
    const size_t end = place->module + (place->module < outline->n_modules);
    struct ram_buf value = {0};
    char name[NAME];

    if (!journal->store)
        return;
    ram_pack_u64(&value, place->module);
    ram_pack_u64(&value, place->view);
    ram_pack_u64(&value, place->row);
    for (size_t m = first; m < end; m++)
        pack_module(&value, m, &results[m]);
    name_record(name, journal->n_records++);
    if (!value.failed)
        ram_store_put(journal->store, &journal->scope, name, value.data, value.size);
    ram_buf_release(&value);
}

/* All but the number in front. */
static void take_module(const char *p, struct ram_module_result *result)
{
    memcpy(&result->squared_error, p + 8, 8);
    memcpy(&result->squared, p + 16, 8);
    memcpy(result->sums, p + 24, sizeof result->sums);
}

static bool take_record(const struct ram_buf *value, const struct ram_outline *outline,
                        struct ram_module_result *results, struct ram_block_place *place)
{
    uint64_t at[3];

    if (value->size < sizeof at || (value->size - sizeof at) % MODULE_BYTES)
        return false;
    memcpy(at, value->data, sizeof at);
    if (at[0] > outline->n_modules)
        return false;
    *place = (struct ram_block_place){(size_t)at[0], (size_t)at[1], (size_t)at[2]};
    for (size_t i = sizeof at; i < value->size; i += MODULE_BYTES) {
        const char *p = value->data + i;
        uint64_t m;
        memcpy(&m, p, 8);
        if (m >= outline->n_modules)
            return false;
        take_module(p, &results[m]);
    }
    return true;
}

/* ---- believing it ---------------------------------------------------------------------------- */

/* Rows of the module at `place` that are written. */
static uint64_t rows_before(const struct ram_outline *outline, const struct ram_block_place *place)
{
    const struct ram_target *target = outline->modules[place->module].target;
    uint64_t rows = place->row;

    for (size_t v = 0; v < place->view; v++)
        rows += target->views[v].rows;
    return rows;
}

/* Is it a place that this outline has? */
static bool is_place(const struct ram_outline *outline, const struct ram_block_place *place)
{
    if (place->module >= outline->n_modules)
        return place->view == 0 && place->row == 0;
    const struct ram_target *target = outline->modules[place->module].target;
    return place->view < target->n_views ? place->row < target->views[place->view].rows
                                         : place->view == 0 && place->row == 0;
}

struct check {
    const struct ram_outline *outline;
    const struct ram_module_result *results;
    const struct ram_block_place *place;
    const char *dir;
    bool *bad; /* [n_modules] */
};

/* Bytes [offset, offset + size) of a file have this checksum. */
static bool sums_up(const char *dir, const char *name, uint64_t offset, uint64_t size,
                    const struct ram_checksum *expected)
{
    struct ram_err ignored = {0};
    struct ram_checksum sum = {0};
    char *path = ram_path_join(dir, name, &ignored), *piece = ram_alloc(PIECE, 1, &ignored);
    const int fd = path && piece ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    bool good = fd >= 0;

    for (uint64_t done = 0; good && done < size;) {
        const size_t want = size - done < PIECE ? (size_t)(size - done) : PIECE;
        const ssize_t n = pread(fd, piece, want, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        good = n == (ssize_t)want;
        if (good)
            ram_checksum_add(&sum, done, piece, want);
        done += want;
    }
    if (fd >= 0)
        close(fd);
    free(piece);
    free(path);
    return good && sum.plain == expected->plain && sum.weighted == expected->weighted;
}

static int check_module(void *ctx, size_t m, unsigned worker, struct ram_err *err)
{
    const struct check *c = ctx;
    const struct ram_out_module *module = &c->outline->modules[m];
    const uint64_t rows = m < c->place->module ? module->rows : rows_before(c->outline, c->place);

    (void)worker;
    (void)err;
    for (size_t k = 0; k < ram_out_module_tensors(module) && module->rows; k++) {
        const struct ram_out_tensor *tensor = &c->outline->tensors[module->tensor + k];
        c->bad[m] |= !sums_up(c->dir, c->outline->files[tensor->file].name, tensor->offset,
                              tensor->size / module->rows * rows, &c->results[m].sums[k]);
    }
    return RAM_OK;
}

/* Goes back to the first module that is not in the files as its record says. */
static int believe(const struct ram_outline *outline, const char *dir, struct ram_pool *pool,
                   struct ram_module_result *results, struct ram_block_place *place,
                   struct ram_err *err)
{
    const size_t n = place->module + (place->module < outline->n_modules);
    struct check check = {outline, results, place, dir, ram_calloc(n, sizeof(bool), err)};
    size_t m = 0;

    if (!check.bad)
        return RAM_ENOMEM;
    const int status = ram_pool_for(pool, n, check_module, &check, err);
    while (m < n && !check.bad[m])
        m++;
    if (m < n)
        *place = (struct ram_block_place){.module = m};
    /* What records of later modules said does not count. */
    for (m = place->module + (place->view || place->row); m < outline->n_modules; m++)
        results[m] = (struct ram_module_result){0};
    free(check.bad);
    return status;
}

int ram_journal_load(struct ram_journal *journal, const struct ram_outline *outline,
                     const char *dir, struct ram_pool *pool, struct ram_module_result *results,
                     struct ram_block_place *place, struct ram_err *err)
{
    struct ram_buf value = {0};
    char name[NAME];
    bool good = true;

    *place = (struct ram_block_place){0};
    while (good) {
        name_record(name, journal->n_records);
        value.size = 0;
        if (!ram_store_get(journal->store, &journal->scope, name, SIZE_MAX, &value))
            break;
        journal->n_records++;
        good = take_record(&value, outline, results, place) && is_place(outline, place);
    }
    ram_buf_release(&value);
    if (!good)
        *place = (struct ram_block_place){0};
    return believe(outline, dir, pool, results, place, err);
}

/* ---- a directory that has its name --------------------------------------------------------------
 */

enum { MAX_RECORD = 1 << 30 };

/* The hash of dir/ram.json as a name; false if there is none. */
static bool name_directory(const char *dir, char name[RAM_SHA256_HEX])
{
    struct ram_err ignored = {0};
    char *path = ram_path_join(dir, "ram.json", &ignored), *text = NULL;
    size_t size;

    const bool read = path && !ram_file_read(path, MAX_RECORD, &text, &size, &ignored);
    if (read)
        ram_sha256(text, size, name);
    free(text);
    free(path);
    return read;
}

static void scope_of_written(const struct ram_store *store, struct ram_store_scope *scope)
{
    ram_store_scope(store, "written", "", scope);
}

void ram_written_put(struct ram_store *store, const char *dir, uint64_t key,
                     const struct ram_module_result *results, size_t n)
{
    struct ram_store_scope scope;
    struct ram_buf value = {0};
    char name[RAM_SHA256_HEX];

    if (!store || !name_directory(dir, name))
        return;
    scope_of_written(store, &scope);
    ram_pack_u64(&value, key);
    for (size_t m = 0; m < n; m++)
        pack_module(&value, m, &results[m]);
    if (!value.failed)
        ram_store_put(store, &scope, name, value.data, value.size);
    ram_buf_release(&value);
}

enum ram_written ram_written_find(struct ram_store *store, const char *dir, uint64_t key,
                                  struct ram_module_result *results, size_t n)
{
    enum ram_written found = RAM_WRITTEN_NOT;
    struct ram_store_scope scope;
    struct ram_buf value = {0};
    char name[RAM_SHA256_HEX];
    uint64_t of = 0;

    if (!ram_store_resumed(store) || !name_directory(dir, name))
        return found;
    scope_of_written(store, &scope);
    if (ram_store_get(store, &scope, name, SIZE_MAX, &value) && value.size >= sizeof of) {
        memcpy(&of, value.data, sizeof of);
        found = RAM_WRITTEN_OTHERWISE;
        if (of == key && value.size == sizeof of + n * MODULE_BYTES) {
            found = RAM_WRITTEN_SAME;
            for (size_t m = 0; m < n; m++)
                take_module(value.data + sizeof of + m * MODULE_BYTES, &results[m]);
        }
    }
    ram_buf_release(&value);
    return found;
}

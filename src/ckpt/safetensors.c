/*
 * safetensors.c - see safetensors.h. The checks are those of the reference reader
 * (huggingface/safetensors, tensor.rs), and duplicate keys are refused as its specification says.
 */
#include "ckpt/safetensors.h"

#include "base/rd.h"
#include "base/scan.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORD = 64 }; /* longer than any field or dtype, with escapes */

bool ram_st_size(enum ram_dtype dtype, const uint64_t *shape, int n_dims, size_t *n, size_t *size)
{
    size_t count = 1, bits;

    for (int i = 0; i < n_dims; i++)
        if (shape[i] > SIZE_MAX || !ram_mul_size(count, (size_t)shape[i], &count))
            return false;
    if (!ram_mul_size(count, (size_t)ram_dtypes[dtype].bits, &bits) || bits % 8)
        return false;
    *n = count;
    *size = bits / 8;
    return true;
}

/* ---- one entry --------------------------------------------------------------------------- */

static bool read_dtype(struct ram_scan *scan, struct ram_tensor *t)
{
    char name[MAX_WORD];

    if (!ram_scan_word(scan, name, sizeof name))
        return false;
    for (int i = 0; i < RAM_N_DTYPES; i++)
        if (!strcmp(ram_dtypes[i].name, name)) {
            t->dtype = (enum ram_dtype)i;
            return true;
        }
    return ram_scan_fail(scan, RAM_EFORMAT, "unknown dtype '%.40s'", name);
}

static bool read_shape(struct ram_scan *scan, struct ram_tensor *t)
{
    ram_scan_array(scan);
    while (ram_scan_element(scan)) {
        if (t->n_dims == RAM_CKPT_MAX_DIMS)
            return ram_scan_fail(scan, RAM_ERANGE, "more than %d dimensions", RAM_CKPT_MAX_DIMS);
        ram_scan_uint(scan, UINT64_MAX, &t->shape[t->n_dims++]);
    }
    return ram_scan_good(scan);
}

/* [begin, end] to offset and size, relative to the data. */
static bool read_offsets(struct ram_scan *scan, struct ram_tensor *t)
{
    uint64_t ends[2];
    int n = 0;

    ram_scan_array(scan);
    while (ram_scan_element(scan)) {
        if (n == 2)
            return ram_scan_fail(scan, RAM_EFORMAT, "data_offsets is not [begin, end]");
        ram_scan_uint(scan, UINT64_MAX, &ends[n++]);
    }
    if (!ram_scan_good(scan))
        return false;
    if (n < 2)
        return ram_scan_fail(scan, RAM_EFORMAT, "data_offsets is not [begin, end]");
    if (ends[1] < ends[0] || ends[1] > SIZE_MAX)
        return ram_scan_fail(scan, RAM_EFORMAT, "data_offsets [%" PRIu64 ", %" PRIu64 "]", ends[0],
                             ends[1]);
    t->offset = (size_t)ends[0];
    t->size = (size_t)(ends[1] - ends[0]);
    return true;
}

/* The size that data_offsets give must be that of the shape. */
static bool check_size(struct ram_scan *scan, struct ram_tensor *t)
{
    size_t size;

    if (!ram_st_size(t->dtype, t->shape, t->n_dims, &t->n, &size))
        return ram_scan_fail(scan, RAM_ERANGE,
                             "its shape is too large, or not a whole number of bytes");
    if (size != t->size)
        return ram_scan_fail(scan, RAM_EFORMAT, "%zu bytes of data, %zu expected of its %s shape",
                             t->size, size, ram_dtypes[t->dtype].name);
    return true;
}

/* {"dtype": ..., "shape": [...], "data_offsets": [begin, end]} in any order, nothing else. */
static bool read_entry(struct ram_scan *scan, struct ram_tensor *t)
{
    static const char *const fields[] = {"dtype", "shape", "data_offsets"};
    unsigned seen = 0;

    ram_scan_object(scan);
    while (ram_scan_member(scan)) {
        unsigned field = 0;
        while (field < 3 && strcmp(fields[field], scan->key))
            field++;
        if (field == 3 || (seen & 1u << field))
            return ram_scan_fail(scan, RAM_EFORMAT, "%s field '%.40s'",
                                 field == 3 ? "unknown" : "duplicate", scan->key);
        seen |= 1u << field;
        if (!(field == 0   ? read_dtype(scan, t)
              : field == 1 ? read_shape(scan, t)
                           : read_offsets(scan, t)))
            return false;
    }
    for (unsigned field = 0; field < 3; field++)
        if (!(seen & 1u << field))
            return ram_scan_fail(scan, RAM_EFORMAT, "no \"%s\"", fields[field]);
    return ram_scan_good(scan) && check_size(scan, t);
}

/* __metadata__: strings by string, each key once. The values mean nothing to us. */
static bool read_metadata(struct ram_scan *scan)
{
    const char **keys = NULL, *key, *twin = NULL;
    size_t n = 0, cap = 0;
    struct ram_arena scratch = {0}, *const arena = scan->arena;
    struct ram_names names = {0};

    scan->arena = &scratch;
    ram_scan_object(scan);
    while (ram_scan_entry(scan, &key) && ram_scan_string(scan, NULL)) {
        scan->status = ram_grow(&keys, sizeof *keys, n, &cap, scan->err);
        if (ram_scan_good(scan))
            keys[n++] = key;
    }
    if (ram_scan_good(scan))
        scan->status = ram_names_build(&names, keys, sizeof *keys, n, &twin, scan->err);
    if (twin)
        ram_scan_fail(scan, RAM_EFORMAT, "__metadata__: '%.80s' occurs twice", twin);
    scan->arena = arena;
    ram_names_release(&names);
    ram_arena_release(&scratch);
    free(keys);
    return ram_scan_good(scan);
}

static bool read_header(struct ram_scan *scan, struct ram_st_list *list)
{
    const char *name;
    bool metadata = false;

    ram_scan_object(scan);
    while (ram_scan_entry(scan, &name)) {
        if (!strcmp(name, "__metadata__")) {
            scan->kind = NULL;
            if (metadata)
                return ram_scan_fail(scan, RAM_EFORMAT, "__metadata__ occurs twice");
            metadata = true;
            if (!read_metadata(scan))
                return false;
            continue;
        }
        if (list->n == RAM_CKPT_MAX_TENSORS)
            return ram_scan_fail(scan, RAM_ERANGE, "more than %d tensors", RAM_CKPT_MAX_TENSORS);
        struct ram_tensor t = {.name = name};
        scan->kind = "tensor";
        scan->name = name;
        scan->number++;
        if (!read_entry(scan, &t))
            return false;
        scan->status = ram_grow(&list->tensors, sizeof t, list->n, &list->cap, scan->err);
        if (scan->status)
            return false;
        list->tensors[list->n++] = t;
    }
    scan->kind = NULL;
    return ram_scan_end(scan);
}

/* ---- the file as a whole ----------------------------------------------------------------- */

/* Where a tensor's bytes lie in the data. */
struct extent {
    size_t begin, size;
    const char *name;
};

static int by_begin(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->size < y->size ? -1 : x->size > y->size;
}

/* Every byte of the data belongs to one tensor. */
static int check_cover(const struct ram_tensor *tensors, size_t n, size_t data_size,
                       const char *where, struct ram_err *err)
{
    size_t at = 0;
    bool sorted = true;
    int status = RAM_OK;

    struct extent *extents = ram_calloc(n, sizeof *extents, err);
    if (!extents)
        return RAM_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        extents[i] = (struct extent){tensors[i].offset, tensors[i].size, tensors[i].name};
        sorted = sorted && (!i || by_begin(&extents[i - 1], &extents[i]) <= 0);
    }
    if (!sorted)
        qsort(extents, n, sizeof *extents, by_begin);
    for (size_t i = 0; i < n && !status; i++) {
        const struct extent *x = &extents[i];
        if (x->begin != at)
            status =
                ram_fail(err, RAM_EFORMAT,
                         "%s: tensor '%s' begins at byte %zu of the data, expected %zu: %s", where,
                         x->name, x->begin, at, x->begin < at ? "an overlap" : "a hole");
        else if (!ram_add_size(at, x->size, &at) || at > data_size)
            status = ram_fail(err, RAM_EFORMAT,
                              "%s: tensor '%s' (byte %zu of the data, %zu bytes) ends beyond the "
                              "file, which holds %zu bytes of data: the download is not complete",
                              where, x->name, x->begin, x->size, data_size);
    }
    if (!status && at != data_size)
        status = ram_fail(err, RAM_EFORMAT, "%s: %zu bytes of data, but its tensors have %zu",
                          where, data_size, at);
    free(extents);
    return status;
}

static int check_names(const struct ram_tensor *tensors, size_t n, const char *where,
                       struct ram_err *err)
{
    struct ram_names names;
    const char *twin;

    int status = ram_names_build(&names, tensors, sizeof *tensors, n, &twin, err);
    if (!status && twin)
        status = ram_fail(err, RAM_EFORMAT, "%s: tensor '%s' occurs twice", where, twin);
    ram_names_release(&names);
    return status;
}

/* What else is found under the name of a safetensors file, by its first bytes. */
static const char *guess_content(const uint8_t *data, size_t size)
{
    static const struct {
        const char *magic, *what;
    } known[] = {
        {"GGUF", "a GGUF file"},
        {"PK\x03\x04", "a ZIP archive, as PyTorch writes it"},
        {"PK\x05\x06", "an empty ZIP archive"},
        {"\x80\x02", "a Python pickle, as PyTorch writes it"},
        {"\x80\x03", "a Python pickle, as PyTorch writes it"},
        {"\x80\x04", "a Python pickle, as PyTorch writes it"},
        {"\x80\x05", "a Python pickle, as PyTorch writes it"},
        {"\x1f\x8b", "a gzip archive: unpack it"},
        {"\x28\xb5\x2f\xfd", "a zstd archive: unpack it"},
        {"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it"},
        {"\xfd\x37zXZ", "an xz archive: unpack it"},
        {"\x89HDF", "an HDF5 file"},
        {"<", "a web page or an XML error that a server sent instead: download the file again"},
        {"{\"", "a JSON text that a server sent instead: download the file again"},
        {"Entry not found", "an error that a server sent instead: download the file again"},
        {"Not Found", "an error that a server sent instead: download the file again"},
    };
    size_t at = 0;

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const size_t n = strlen(known[i].magic);
        if (n <= size && !memcmp(data, known[i].magic, n))
            return known[i].what;
    }
    while (at < size && at < 64 && !data[at])
        at++;
    return at == 64 ? "zeros: the download did not fill it" : NULL;
}

/* Refuses what is no safetensors file, by what it is if that can be told. */
static int check_length(const uint8_t *data, size_t size, uint64_t n, const char *where,
                        struct ram_err *err)
{
    if (!size)
        return ram_fail(err, RAM_EFORMAT, "%s: empty (0 bytes); download it again", where);
    const char *what = guess_content(data, size);
    /* The same bytes may be the length of a header, which then begins behind it. */
    const bool begins = size > 8 && data[8] == '{';
    if (what && (!begins || n >= RAM_ST_MAX_HEADER || !n))
        return ram_fail(err, RAM_EFORMAT, "%s: not a safetensors file but %s", where, what);
    if (size < 8)
        return ram_fail(err, RAM_EFORMAT, "%s: %zu bytes, too short for a safetensors file", where,
                        size);
    if (n == 0 || n >= RAM_ST_MAX_HEADER)
        return ram_fail(err, n ? RAM_ERANGE : RAM_EFORMAT,
                        "%s: a header of %" PRIu64 " bytes, expected 1 to %d: not a safetensors "
                        "file?",
                        where, n, RAM_ST_MAX_HEADER - 1);
    if (size > 8 && !begins)
        return ram_fail(err, RAM_EFORMAT,
                        "%s: the header begins with byte 0x%02x, expected '{': not a safetensors "
                        "file?",
                        where, data[8]);
    if (n > size - 8)
        return ram_fail(err, RAM_EFORMAT,
                        "%s: ends inside its header, which has %" PRIu64 " bytes (the file has "
                        "%zu): the download is not complete",
                        where, n, size);
    return RAM_OK;
}

int ram_st_parse(const uint8_t *data, size_t size, const char *where, unsigned file,
                 struct ram_st_list *list, size_t *header_size, struct ram_err *err)
{
    struct ram_rd rd = {.p = data, .end = data ? data + size : data};
    const size_t first = list->n;

    assert(data || !size);
    const uint64_t n = ram_rd_u64(&rd);
    if (check_length(data, size, n, where, err))
        return err->status;
    struct ram_scan scan;
    ram_scan_init(&scan, (const char *)rd.p, (size_t)n, where, list->arena, err);
    read_header(&scan, list);
    int status = scan.status;

    const size_t n_added = list->n - first;
    struct ram_tensor *added = n_added ? &list->tensors[first] : NULL;
    if (!status)
        status = check_names(added, n_added, where, err);
    if (!status)
        status = check_cover(added, n_added, size - 8 - (size_t)n, where, err);
    for (size_t i = 0; i < n_added && !status; i++) {
        added[i].offset += 8 + (size_t)n;
        added[i].data = data + added[i].offset;
        added[i].file = file;
    }
    if (header_size)
        *header_size = (size_t)n;
    return status;
}

/* ---- writing ----------------------------------------------------------------------------- */

/* A JSON string: quotes, backslashes and control characters escaped, UTF-8 as it is. */
static void put_string(struct ram_buf *out, const char *s)
{
    ram_buf_puts(out, "\"");
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            ram_buf_printf(out, "\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            ram_buf_printf(out, "\\u%04x", (unsigned)*s);
        else
            ram_buf_add(out, s, 1);
    }
    ram_buf_puts(out, "\"");
}

int ram_st_header(const struct ram_st_item *items, size_t n, const char *format,
                  struct ram_buf *out, struct ram_err *err)
{
    uint64_t at = 0;
    size_t count, size;
    uint8_t length[8] = {0};
    const size_t start = out->size;

    ram_buf_add(out, length, sizeof length);
    ram_buf_printf(out, "{\"__metadata__\":{\"format\":\"%s\"}", format);
    for (size_t i = 0; i < n; i++) {
        const struct ram_st_item *item = &items[i];
        if (!ram_st_size(item->dtype, item->shape, item->n_dims, &count, &size) ||
            size != item->size || at > UINT64_MAX - item->size)
            return ram_fail(err, RAM_EINTERNAL, "tensor '%s': %" PRIu64 " bytes are not its shape",
                            item->name, item->size);
        ram_buf_puts(out, ",");
        put_string(out, item->name);
        ram_buf_printf(out, ":{\"dtype\":\"%s\",\"shape\":[", ram_dtypes[item->dtype].name);
        for (int d = 0; d < item->n_dims; d++)
            ram_buf_printf(out, "%s%" PRIu64, d ? "," : "", item->shape[d]);
        ram_buf_printf(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at, at + item->size);
        at += item->size;
    }
    ram_buf_puts(out, "}");
    while (!out->failed && (out->size - start) % 8)
        ram_buf_puts(out, " ");
    if (out->failed)
        return ram_fail(err, RAM_ENOMEM, "no memory for a header of %zu tensors", n);
    const uint64_t header = out->size - start - 8;
    if (header >= RAM_ST_MAX_HEADER)
        return ram_fail(err, RAM_ERANGE, "a header of %" PRIu64 " bytes, at most %d are allowed",
                        header, RAM_ST_MAX_HEADER - 1);
    for (int i = 0; i < 8; i++)
        out->data[start + (size_t)i] = (char)(header >> (8 * i));
    return RAM_OK;
}

/*
 * config.json of any bytes over a set of tensors of any names and shapes: the text, a line "---",
 * then a line for each tensor, "name dtype dim dim ...". What is laid out must stay inside its
 * tensors: every view of every source and target is checked, and read where it is small.
 */
#include "ckpt/safetensors.h"
#include "ckpt/weight.h"
#include "format/layout.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_TENSORS = 512, MAX_DATA = 1 << 20 };

static void require(bool good)
{
    if (!good)
        abort();
}

/* One line to a tensor of zeros; false if it describes none (or one that is too large). */
static bool read_tensor(char *line, struct ram_tensor *t, size_t *room)
{
    char *rest = NULL, *name = strtok_r(line, " ", &rest);
    const char *dtype = name ? strtok_r(NULL, " ", &rest) : NULL;
    int d = 0;

    if (!dtype)
        return false;
    while (d < RAM_N_DTYPES && strcmp(ram_dtypes[d].name, dtype))
        d++;
    if (d == RAM_N_DTYPES)
        return false;
    *t = (struct ram_tensor){.name = name, .dtype = (enum ram_dtype)d};
    for (char *dim; (dim = strtok_r(NULL, " ", &rest)) && t->n_dims < RAM_CKPT_MAX_DIMS;)
        t->shape[t->n_dims++] = strtoull(dim, NULL, 10);
    if (!ram_st_size(t->dtype, t->shape, t->n_dims, &t->n, &t->size) || t->size > *room)
        return false;
    *room -= t->size;
    t->data = calloc(t->size + 1, 1);
    return t->data != NULL;
}

static size_t read_tensors(char *text, struct ram_tensor *tensors)
{
    size_t n = 0, room = MAX_DATA;
    char *rest = NULL;

    for (char *line = strtok_r(text, "\n", &rest); line && n < MAX_TENSORS;
         line = strtok_r(NULL, "\n", &rest))
        n += read_tensor(line, &tensors[n], &room);
    return n;
}

static void check_view(const struct ram_view *view)
{
    struct ram_err err = {0};

    if (!ram_dtypes[view->tensor->dtype].is_weight)
        return;
    require(!view->rows || !view->cols || view->rows <= view->tensor->n / view->cols);
    float *out = malloc((view->rows * view->cols + 1) * sizeof *out);
    if (out)
        require(ram_view_read(view, 0, view->rows, out, &err) == RAM_OK);
    free(out);
}

static void check_layout(const struct ram_layout *layout)
{
    for (size_t i = 0; i < layout->n_sources; i++) {
        const struct ram_source *s = &layout->sources[i];
        require(s->unit && s->role < RAM_N_ROLES && s->dropped == (s->why_dropped != NULL));
        require(s->n_stored <= 2 && (!s->dropped || s->n_stored == 0));
        check_view(&s->view);
        for (int j = 0; j < s->n_stored; j++) {
            struct ram_view view = s->stored[j].view;
            require(s->stored[j].blocks > 0);
            check_view(&view);
            view.first += (s->stored[j].blocks - 1) * s->stored[j].block_stride;
            check_view(&view);
        }
    }
    for (size_t i = 0; i < layout->n_targets; i++) {
        const struct ram_target *t = &layout->targets[i];
        size_t n = 1, have = 0;
        for (int d = 0; d < t->n_dims; d++)
            n *= (size_t)t->shape[d];
        for (size_t v = 0; v < t->n_views; v++) {
            have += t->views[v].rows * t->views[v].cols;
            check_view(&t->views[v]);
        }
        require(t->unit && t->n_views && have == n);
    }
}

/* Every module through the reader of weights. */
static void check_weights(const struct ram_ckpt *ckpt)
{
    for (size_t i = 0; i < ckpt->n_tensors; i++) {
        struct ram_err err = {0};
        struct ram_weight w;
        char module[256];
        const char *dot = strrchr(ckpt->tensors[i].name, '.');
        if (!dot || dot - ckpt->tensors[i].name >= (long)sizeof module)
            continue;
        memcpy(module, ckpt->tensors[i].name, (size_t)(dot - ckpt->tensors[i].name));
        module[dot - ckpt->tensors[i].name] = '\0';
        if (ram_weight_find(&w, ckpt, module, &err) || !w.cols)
            continue;
        const size_t rows = w.blocks * w.rows;
        float *out = w.cols <= MAX_DATA ? malloc((w.cols + 1) * sizeof *out) : NULL;
        if (out && rows)
            require(ram_weight_read(&w, rows - 1, 1, out, &err) == RAM_OK);
        free(out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char mark[] = "\n---\n";
    struct ram_err err = {0};
    struct ram_layout *layout = NULL;
    struct ram_ckpt ckpt = {.dir = (char *)(uintptr_t) "input"};

    char *text = malloc(size + 1);
    ckpt.tensors = calloc(MAX_TENSORS, sizeof *ckpt.tensors);
    if (!text || !ckpt.tensors)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    char *lines = strstr(text, mark);
    const size_t n_config = lines ? (size_t)(lines - text) : strlen(text);
    if (lines)
        ckpt.n_tensors = read_tensors(lines + strlen(mark), ckpt.tensors);
    if (!ram_json_parse_python(&ckpt.config, text, n_config, "input", &err) &&
        json_is_object(ckpt.config) && !ram_ckpt_seal(&ckpt, &err)) {
        const int status = ram_layout_new(&layout, &ckpt, ram_format_at(0), &err);
        require(status == err.status && (status == RAM_OK) == (layout != NULL));
        if (layout)
            check_layout(layout);
        check_weights(&ckpt);
    }
    ram_layout_free(layout);
    for (size_t i = 0; i < ckpt.n_tensors; i++)
        free((void *)(uintptr_t)ckpt.tensors[i].data);
    free(ckpt.tensors);
    ram_names_release(&ckpt.names);
    ram_arena_release(&ckpt.arena);
    json_decref(ckpt.config);
    free(text);
    return 0;
}

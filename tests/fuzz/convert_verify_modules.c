/*
 * A directory to be verified, of any bytes: config.json, a line "---", a line for each tensor
 * ("name dtype dim dim ..."), a line "---", ram.json. Whatever they are, there are findings or
 * none, every module that is called sound lies inside its tensors, and all values of it can be
 * read.
 */
#include "ckpt/safetensors.h"
#include "convert/sidecar.h"
#include "convert/verify_values.h"

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

    while (dtype && d < RAM_N_DTYPES && strcmp(ram_dtypes[d].name, dtype))
        d++;
    if (!dtype || d == RAM_N_DTYPES)
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

static void check(const struct ram_ckpt *ckpt, const char *sidecar_text)
{
    const struct ram_exec exec = ram_exec_alone(NULL);
    struct ram_expectation expectation;
    struct ram_findings findings = {0};
    struct ram_found_list list;
    struct ram_sidecar sidecar;
    struct ram_buf text = {0};
    struct ram_err err = {0}, told = {0};

    if (ram_expect_config(&expectation, ram_format_at(0), ckpt->config, "config.json", &told))
        ram_findings_add(&findings, RAM_CHECK_CONFIG, "config.json", "%s", told.message);
    require(ram_format_at(0)->find(&list, ckpt, &expectation, &findings, &err) == RAM_OK);
    for (size_t i = 0; i < list.n; i++) {
        const struct ram_found *found = &list.items[i];
        if (found->quantized)
            require(ram_form_fit(found->as.form, found->cols) == found->as.form);
        else
            require(found->rows * found->cols == found->parts[0]->n);
    }
    require(ram_compare(&list, ckpt, NULL, &exec, &findings, &err) == RAM_OK ||
            err.status == RAM_ENOMEM);
    ram_sidecar_parse(&sidecar, sidecar_text, strlen(sidecar_text), &findings);
    ram_sidecar_check(&sidecar, &list, false, &findings);
    ram_findings_text(&findings, &text);
    json_decref(ram_findings_json(&findings));
    ram_buf_release(&text);
    ram_sidecar_release(&sidecar);
    ram_found_release(&list);
    ram_findings_release(&findings);
    ram_expect_release(&expectation);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char mark[] = "\n---\n";
    struct ram_ckpt_file file = {0};
    struct ram_ckpt ckpt = {.dir = (char *)(uintptr_t) "input", .files = &file, .n_files = 1};
    struct ram_err err = {0};

    char *text = malloc(size + 1);
    ckpt.tensors = calloc(MAX_TENSORS, sizeof *ckpt.tensors);
    if (!text || !ckpt.tensors)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    char *lines = strstr(text, mark);
    const size_t n_config = lines ? (size_t)(lines - text) : strlen(text);
    char *sidecar = lines ? strstr(lines + strlen(mark), mark) : NULL;
    if (sidecar) {
        *sidecar = '\0';
        sidecar += strlen(mark);
    }
    if (lines)
        ckpt.n_tensors = read_tensors(lines + strlen(mark), ckpt.tensors);
    if (!ram_json_parse(&ckpt.config, text, n_config, "input", &err) &&
        json_is_object(ckpt.config) && !ram_ckpt_seal(&ckpt, &err))
        check(&ckpt, sidecar ? sidecar : "");
    for (size_t i = 0; i < ckpt.n_tensors; i++)
        free((void *)(uintptr_t)ckpt.tensors[i].data);
    free(ckpt.tensors);
    ram_names_release(&ckpt.names);
    ram_arena_release(&ckpt.arena);
    json_decref(ckpt.config);
    free(text);
    return 0;
}

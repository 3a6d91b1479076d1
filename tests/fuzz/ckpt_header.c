/*
 * A safetensors file of any bytes. What is accepted must hold what was promised: every tensor
 * inside the data, no byte used twice, and the same tensors once more after a round trip through
 * our writer.
 */
#include "ckpt/safetensors.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

static void write_again(const struct ram_st_list *list)
{
    struct ram_buf out = {0};
    struct ram_err err = {0};
    struct ram_arena arena = {0};
    struct ram_st_list again = {.arena = &arena};
    size_t total = 0;

    struct ram_st_item *items = calloc(list->n + 1, sizeof *items);
    if (!items)
        return;
    for (size_t i = 0; i < list->n; i++) {
        const struct ram_tensor *t = &list->tensors[i];
        items[i] = (struct ram_st_item){
            .name = t->name, .dtype = t->dtype, .n_dims = t->n_dims, .size = t->size};
        memcpy(items[i].shape, t->shape, sizeof t->shape);
        total += t->size;
    }
    require(ram_st_header(items, list->n, "pt", &out, &err) == RAM_OK);
    require(out.size % 8 == 0);
    for (size_t i = 0; i < total; i++)
        ram_buf_add(&out, "", 1);
    require(ram_st_parse((const uint8_t *)out.data, out.size, "again", 0, &again, NULL, &err) ==
            RAM_OK);
    require(again.n == list->n);
    for (size_t i = 0; i < list->n; i++) {
        const struct ram_tensor *a = &list->tensors[i], *b = &again.tensors[i];
        require(!strcmp(a->name, b->name) && a->dtype == b->dtype && a->n_dims == b->n_dims &&
                a->n == b->n && a->size == b->size && !memcmp(a->shape, b->shape, sizeof a->shape));
    }
    free(items);
    free(again.tensors);
    ram_arena_release(&arena);
    ram_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ram_arena arena = {0};
    struct ram_st_list list = {.arena = &arena};
    struct ram_err err = {0};
    size_t header_size = 0, total = 0;

    const int status = ram_st_parse(data, size, "input", 0, &list, &header_size, &err);
    require(status == err.status && (status == RAM_OK) == (err.message[0] == '\0'));
    for (size_t i = 0; i < list.n && !status; i++) {
        const struct ram_tensor *t = &list.tensors[i];
        require(t->offset >= 8 + header_size && t->offset <= size && t->size <= size - t->offset);
        require(t->data == data + t->offset);
        total += t->size;
    }
    if (!status) {
        require(total == size - 8 - header_size);
        write_again(&list);
    }
    free(list.tensors);
    ram_arena_release(&arena);
    return 0;
}

/* ram_tokenize.c - tokenizers behind ram.h. */
#include "base/file.h"
#include "base/mem.h"
#include "base/textfile.h"
#include "ckpt/hub.h"
#include "text/tokenizer_bpe.h"

#include <stdlib.h>

enum { MAX_TEXT = 1 << 30 };

int ram_tokenizer_open(struct ram_tokenizer **out, const char *model, struct ram_err *err)
{
    char *dir = NULL, *name = NULL;

    int status = ram_hub_find(model, &dir, &name, err);
    if (!status)
        status = ram_tokenizer_read(out, dir, err);
    free(dir);
    free(name);
    return status;
}

void ram_tokenizer_close(struct ram_tokenizer *tokenizer)
{
    ram_tokenizer_free(tokenizer);
}

void ram_tokenizer_sizes(const struct ram_tokenizer *tokenizer, uint64_t *ids, uint64_t *rows)
{
    *ids = ram_tokenizer_n_ids(tokenizer);
    *rows = ram_tokenizer_n_rows(tokenizer);
}

int ram_text_read(const char *path, const struct ram_run *run, char **text, size_t *size,
                  struct ram_err *err)
{
    const struct ram_exec exec = ram_exec_alone(run);
    struct ram_textfile file = {0};

    const int status = ram_textfile_read(&file, path, MAX_TEXT, RAM_TEXTFILE_VERBATIM, &exec, err);
    if (status)
        return status;
    *text = file.text;
    *size = file.size;
    return RAM_OK;
}

int ram_text_write(const char *path, const char *text, size_t size, bool force, struct ram_err *err)
{
    return ram_file_write(path, text, size, force, err);
}

int ram_tokenize(const struct ram_tokenizer *tokenizer, const char *text, size_t size, bool special,
                 uint32_t **ids, size_t *n, struct ram_err *err)
{
    struct ram_encoder *encoder = NULL;
    struct ram_ids found = {0};

    int status = ram_encoder_new(&encoder, tokenizer, err);
    if (!status)
        status = ram_encoder_run(encoder, text, size,
                                 special ? RAM_ENCODE_SPECIAL : RAM_ENCODE_PLAIN, &found, err);
    if (!status)
        status = ram_ids_reserve(&found, 1, err); /* an array even for no ids */
    ram_encoder_free(encoder);
    if (status) {
        ram_ids_release(&found);
        return status;
    }
    *ids = found.items;
    *n = found.n;
    return RAM_OK;
}

int ram_detokenize(const struct ram_tokenizer *tokenizer, const uint32_t *ids, size_t n,
                   char **text, size_t *size, struct ram_err *err)
{
    struct ram_buf buf = {0};

    ram_tokenizer_decode(tokenizer, ids, n, RAM_DECODE_ALL, &buf);
    *size = buf.size;
    return ram_buf_take(&buf, text, err);
}

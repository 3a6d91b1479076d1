/* tokenizer.json from anybody: it is refused, or it encodes a text, and decodes what it encoded. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] =
        "The <x> caf\xC3\xA9 cafe\xCC\x81's 123 \xE4\xB8\x80\xFF\r\n\t  end ";
    struct ram_tokenizer *tokenizer = NULL;
    struct ram_encoder *encoder = NULL;
    struct ram_ids ids = {0};
    struct ram_buf out = {0};
    struct ram_err err = {0};

    int status = ram_tokenizer_parse(&tokenizer, (const char *)data, size, "fuzz", &err);
    if (!status)
        status = ram_encoder_new(&encoder, tokenizer, &err);
    if (!status)
        status = ram_encoder_run(encoder, text, strlen(text), RAM_ENCODE_SPECIAL, &ids, &err);
    if (!status)
        ram_tokenizer_decode(tokenizer, ids.items, ids.n, RAM_DECODE_ALL, &out);
    if ((status != 0) != (err.status != 0) || (status && !*err.message))
        abort(); /* failures have a reason, and only they */
    ram_buf_release(&out);
    ram_ids_release(&ids);
    ram_encoder_free(encoder);
    ram_tokenizer_free(tokenizer);
    return 0;
}

/* task_windows.c - `wikitext` and `text`: a file, joined as it stands, in windows. */
#include "evaluate/task.h"

#include "base/file.h"
#include "base/textfile.h"
#include "evaluate/windows.h"

#include <stdlib.h>

enum { MAX_TEXT = 1 << 30, DEFAULT_LENGTH = 2048, DEFAULT_WINDOWS = 256, DEFAULT_SEED = 42 };

static int encode_file(struct ram_task *task, struct ram_ids *ids, struct ram_err *err)
{
    struct ram_encoder *encoder = NULL;
    struct ram_textfile file = {0};

    int status = ram_textfile_read(&file, task->opts->data, MAX_TEXT, RAM_TEXTFILE_PLAIN,
                                   task->likelihood.exec, err);
    if (!status)
        status = ram_encoder_new(&encoder, task->tokenizer, err);
    if (!status)
        status = ram_encoder_run(encoder, file.text, file.size, RAM_ENCODE_PLAIN, ids, err);
    if (!status) {
        struct ram_made settings = ram_made_into(task->settings);
        ram_made_put(&settings, "data_sha256", json_string(file.sha256));
        ram_made_put(&settings, "data_bytes", json_integer((json_int_t)file.file_size));
        ram_made_put(&settings, "data_tokens", json_integer((json_int_t)ids->n));
        status = ram_made_end(&settings, err);
    }
    ram_encoder_free(encoder);
    ram_textfile_release(&file);
    return status;
}

/* Tokens that no chosen window holds do not matter. */
static int check_ids(const struct ram_task *task, const struct ram_windows *windows,
                     const struct ram_ids *ids, struct ram_err *err)
{
    const struct ram_model *model = task->model;
    int status = RAM_OK;

    for (size_t w = 0; !status && w < windows->n; w++)
        status = ram_tokenizer_check_ids(task->tokenizer, ids->items + windows->first[w],
                                         windows->length, model->hp.vocab, model->ckpt->name,
                                         task->opts->data, err);
    return status;
}

int ram_task_windows(struct ram_task *task, struct ram_err *err)
{
    const struct ram_evaluate_opts *opts = task->opts;
    const size_t length = opts->seq_len ? opts->seq_len : DEFAULT_LENGTH;
    const size_t most = opts->windows ? opts->windows : DEFAULT_WINDOWS;
    const uint32_t seed = opts->seed ? opts->seed : DEFAULT_SEED;
    struct ram_windows windows = {0};
    struct ram_ids ids = {0};
    struct ram_buf samples = {0};

    if (!opts->data)
        return ram_fail(
            err, RAM_EUSAGE,
            "this task needs a text: --data FILE (for wikitext the file wiki.test.raw, the "
            "test split of WikiText-2)");
    struct ram_made settings = ram_made_into(task->settings);
    ram_made_put(&settings, "data", ram_json_string(opts->data));
    ram_made_put(&settings, "seq_len", json_integer((json_int_t)length));
    ram_made_put(&settings, "windows", json_integer((json_int_t)most));
    ram_made_put(&settings, "seed", json_integer(seed));
    int status = ram_made_end(&settings, err);
    if (!status)
        status = encode_file(task, &ids, err);
    if (!status) {
        struct ram_err cause = {0};
        status = ram_windows_cut(&windows, ids.n, length, most, seed, opts->limit, &cause);
        if (status)
            ram_fail(err, status, "%s: %s", opts->data, cause.message);
    }
    if (!status)
        status = check_ids(task, &windows, &ids, err);
    if (!status) {
        task->n_tokens = windows.n * length;
        windows.samples = opts->log_samples ? &samples : NULL;
        status = ram_windows_score(&windows, ids.items, task->model, task->reference,
                                   &task->likelihood, task->results, err);
    }
    if (!status && opts->log_samples)
        status = ram_file_write(opts->log_samples, samples.data, samples.size, false, err);
    ram_buf_release(&samples);
    ram_windows_release(&windows);
    ram_ids_release(&ids);
    return status;
}

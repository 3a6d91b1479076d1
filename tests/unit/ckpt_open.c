/*
 * Opening directories: order and lookup, shards against the index in both directions, what is
 * missing or truncated, and models found in a hub cache.
 */
#include "ckpt/ckpt.h"
#include "ckpt_make.h"

#include <setjmp.h>

#include <cmocka.h>
#include <time.h>

static char dir[256];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s", make_temp_dir());
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    make_remove_dir(dir);
    return 0;
}

static void in_dir(char path[512], const char *name)
{
    snprintf(path, 512, "%s/%s", dir, name);
}

static void put_file(const char *name, const char *text)
{
    char path[512];
    in_dir(path, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static void cut_file(const char *name, long by)
{
    char path[512];
    struct stat st;
    in_dir(path, name);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - by), 0);
}

static void refuse(const char *model, int status, const char *message)
{
    struct ram_err err = {0};
    struct ram_ckpt *ckpt = NULL;

    const int got = ram_ckpt_open(&ckpt, model, &err);
    assert_null(ckpt);
    if (!strstr(err.message, message))
        fail_msg("'%s' does not say '%s'", err.message, message);
    assert_int_equal(got, status);
    assert_int_equal(err.status, status);
}

static void names_come_in_natural_order(void **state)
{
    static const char *const sorted[] = {"",
                                         "a",
                                         "a.0",
                                         "a.01.y",
                                         "a.1.x",
                                         "a.2.x",
                                         "a.2.xa",
                                         "a.10.x",
                                         "a.10.y",
                                         "a.100.x",
                                         "a.b",
                                         "a10",
                                         "b.1",
                                         "b.1.1",
                                         "b.2",
                                         "c9z",
                                         "c10a",
                                         "c18446744073709551615",
                                         "c18446744073709551616",
                                         "cc"};
    (void)state;

    for (size_t i = 0; i < sizeof sorted / sizeof *sorted; i++)
        for (size_t j = 0; j < sizeof sorted / sizeof *sorted; j++) {
            const int order = ram_ckpt_name_order(sorted[i], sorted[j]);
            const int expected = (i > j) - (i < j);
            if ((order > 0) - (order < 0) != expected)
                fail_msg("'%s' and '%s': %d", sorted[i], sorted[j], order);
        }
}

static void shards_become_one_set(void **state)
{
    const struct make_opts opts = {.arch = "qwen3", .layers = 12, .shards = 4};
    struct ram_err err = {0};
    struct ram_ckpt *ckpt;
    (void)state;

    struct make_set set = make_tensors(&opts);
    make_ckpt(dir, &opts);
    assert_int_equal(ram_ckpt_open(&ckpt, dir, &err), RAM_OK);
    assert_int_equal(ckpt->n_tensors, set.n);
    assert_int_equal(ckpt->n_files, 4);
    assert_string_equal(ckpt->name, strrchr(dir, '/') + 1);
    for (size_t i = 0; i < set.n; i++) {
        const struct ram_tensor *t = ram_ckpt_find(ckpt, set.tensors[i].name);
        assert_non_null(t);
        assert_int_equal(t->size, set.tensors[i].size);
        assert_memory_equal(t->data, set.tensors[i].data, t->size);
        assert_ptr_equal(t->data, ckpt->files[t->file].map.data + t->offset);
    }
    for (size_t i = 1; i < ckpt->n_tensors; i++)
        assert_true(ram_ckpt_name_order(ckpt->tensors[i - 1].name, ckpt->tensors[i].name) < 0);
    assert_null(ram_ckpt_find(ckpt, "model.layers.0.self_attn.q_proj.weigh"));
    ram_ckpt_close(ckpt);
    make_release(&set);
}

/* sha256sum of the JSON header, computed here by the system's own tool. */
static void header_digest(void **state)
{
    const struct make_opts opts = {.arch = "llama"};
    struct ram_err err = {0};
    struct ram_ckpt *ckpt;
    char command[1024], expected[128] = "";
    (void)state;

    make_ckpt(dir, &opts);
    assert_int_equal(ram_ckpt_open(&ckpt, dir, &err), RAM_OK);
    const struct ram_map *map = &ckpt->files[0].map;
    snprintf(command, sizeof command, "tail -c +9 '%s/model.safetensors' | head -c %d | sha256sum",
             dir, map->data[0] | map->data[1] << 8);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(expected, sizeof expected, pipe));
    pclose(pipe);
    expected[64] = '\0';
    assert_string_equal(ckpt->files[0].header_sha256, expected);
    ram_ckpt_close(ckpt);
}

static void without_an_index_all_model_files_count(void **state)
{
    const struct make_opts opts = {.arch = "llama", .shards = 3};
    struct ram_err err = {0};
    struct ram_ckpt *ckpt;
    char path[512];
    (void)state;

    const size_t n = make_ckpt(dir, &opts);
    in_dir(path, "model.safetensors.index.json");
    assert_int_equal(unlink(path), 0);
    put_file("adapter.safetensors", "not read");
    assert_int_equal(ram_ckpt_open(&ckpt, dir, &err), RAM_OK);
    assert_int_equal(ckpt->n_tensors, n);
    assert_int_equal(ckpt->n_files, 3);
    assert_string_equal(ckpt->files[2].name, "model-00003-of-00003.safetensors");
    ram_ckpt_close(ckpt);
}

static void what_is_missing_is_named(void **state)
{
    const struct make_opts opts = {.arch = "llama", .shards = 3};
    char path[512];
    (void)state;

    refuse("/nonexistent/model", RAM_EIO, "/nonexistent/model: no such directory");
    refuse(dir, RAM_EFORMAT, "no config.json");
    put_file("config.json", "[]");
    refuse(dir, RAM_EFORMAT, "config.json: not a JSON object");
    put_file("config.json", "{\"a\": 1, }");
    refuse(dir, RAM_EFORMAT, "config.json: line 1, column 10: expected a key");
    put_file("config.json", "{");
    refuse(dir, RAM_EFORMAT, "config.json: line 1");
    put_file("config.json", "{}");
    refuse(dir, RAM_EFORMAT, "no weights: neither model.safetensors.index.json nor");
    put_file("pytorch.safetensors", "");
    refuse(dir, RAM_EFORMAT, "there is pytorch.safetensors (not named model*.safetensors");
    put_file("model.safetensors", "");
    refuse(dir, RAM_EFORMAT, "model.safetensors: empty (0 bytes)");
    in_dir(path, "config.json");
    refuse(path, RAM_EUSAGE, "is a file");

    make_ckpt(dir, &opts);
    in_dir(path, "model-00002-of-00003.safetensors");
    assert_int_equal(unlink(path), 0);
    refuse(dir, RAM_EFORMAT,
           "model.safetensors.index.json names 3 weight files, of which 1 is missing: "
           "model-00002-of-00003.safetensors; download");
}

static void truncated_files_are_refused(void **state)
{
    const struct make_opts opts = {.arch = "llama", .shards = 2};
    static const long cuts[] = {1, 4096, 100000};
    (void)state;

    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        make_ckpt(dir, &opts);
        cut_file("model-00002-of-00002.safetensors", cuts[i]);
        refuse(dir, RAM_EFORMAT, "model-00002-of-00002.safetensors: ");
    }
    make_ckpt(dir, &opts);
    put_file("model-00001-of-00002.safetensors", "version https://git-lfs.github.com/spec/v1\n");
    refuse(dir, RAM_EFORMAT, "a Git LFS pointer instead of the file itself; run");
}

/* Every byte of a header flipped in every bit: refused, or the same set of names in another guise;
 * never a crash, and never bytes outside of the file. */
static void flipped_header_bits(void **state)
{
    const struct make_opts opts = {.arch = "llama", .layers = 1};
    char path[512];
    unsigned n_refused = 0, n_opened = 0;
    (void)state;

    make_ckpt(dir, &opts);
    in_dir(path, "model.safetensors");
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    setvbuf(file, NULL, _IONBF, 0);
    for (long at = 0; at < 400; at++)
        for (int bit = 0; bit < 8; bit++) {
            struct ram_err err = {0};
            struct ram_ckpt *ckpt;
            fseek(file, at, SEEK_SET);
            const int byte = fgetc(file);
            fseek(file, at, SEEK_SET);
            fputc(byte ^ 1 << bit, file);
            if (ram_ckpt_open(&ckpt, dir, &err) == RAM_OK) {
                for (size_t i = 0; i < ckpt->n_tensors; i++)
                    assert_true(ckpt->tensors[i].offset + ckpt->tensors[i].size <=
                                ckpt->files[0].map.size);
                ram_ckpt_close(ckpt);
                n_opened++;
            } else {
                assert_true(err.status == RAM_EFORMAT || err.status == RAM_ERANGE);
                n_refused++;
            }
            fseek(file, at, SEEK_SET);
            fputc(byte, file);
        }
    fclose(file);
    /* Letters of names may change unseen; structure and numbers may not. */
    assert_true(n_refused > n_opened);
}

static void a_lying_index_is_refused(void **state)
{
    static const struct {
        const char *index, *message;
    } lies[] = {
        {"{\"weight_map\": {}}", "\"weight_map\" is empty"},
        {"{}", "no \"weight_map\""},
        {"{\"weight_map\": {\"a\": 1}}", "expected a string"},
        {"{\"weight_map\": {\"a\": \"x\", \"a\": \"x\"}}", "'a' is listed twice"},
        {"{\"weight_map\": {\"a\": \"x\"}, \"weight_map\": {}}", "duplicate key 'weight_map'"},
        {"{\"weight_map\": {\"a\": \"../x.safetensors\"}}", "not the name of a shard"},
        {"{\"weight_map\": {\"a\": \"/etc/passwd\"}}", "not the name of a shard"},
        {"{\"weight_map\": {\"a\": \"..\"}}", "not the name of a shard"},
        {"{\"weight_map\": {\"a\": \"\"}}", "not the name of a shard"},
        {"{\"weight_map\": {\"a\": \"sub/../../x.safetensors\"}}", "not the name of a shard"},
        {"{\"weight_map\": {\"a\": \"sub//x.safetensors\"}}", "not the name of a shard"},
        {"{\"weight_map\": {\"a\": \"sub/\"}}", "not the name of a shard"},
        {"{\"weight_map\": {\"a\": \"sub/x.safetensors\"}}",
         "names 1 weight file, of which 1 is missing: sub/x.safetensors"},
    };
    const struct make_opts opts = {.arch = "llama", .shards = 2};
    (void)state;

    make_ckpt(dir, &opts);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        put_file("model.safetensors.index.json", lies[i].index);
        refuse(dir, RAM_EFORMAT, lies[i].message);
    }
}

/* Both loaders believe the headers: what the index says otherwise is only worth a note. */
static void an_index_that_is_wrong_is_noted(void **state)
{
    static const struct {
        const char *index, *note;
    } indexes[] = {
        {"{\"metadata\": {\"x\": 1, \"x\": 2}, \"other\": [1], \"weight_map\": "
         "{\"a\": \"model-00001-of-00002.safetensors\", \"b\": "
         "\"model-00002-of-00002.safetensors\"}}",
         "the index lists 2 tensors that no file holds, such as 'a'"},
        {"{\"weight_map\": {\"model.embed_tokens.weight\": \"model-00002-of-00002.safetensors\", "
         "\"lm_head.weight\": \"model-00001-of-00002.safetensors\"}}",
         "the index is wrong about the files of 2 tensors: 'model.embed_tokens.weight' is not in "
         "model-00002-of-00002.safetensors"},
        {"{\"weight_map\": {\"model.embed_tokens.weight\": \"model-00001-of-00002.safetensors\"}}",
         "passed over, because model.safetensors.index.json does not name it: "
         "model-00002-of-00002.safetensors"},
        {"{\"weight_map\": {\"model.embed_tokens.weight\": \"model-00001-of-00002.safetensors\"}}",
         "the index does not list 14 tensors"},
    };
    const struct make_opts opts = {.arch = "llama", .shards = 2};
    (void)state;

    make_ckpt(dir, &opts);
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; i++) {
        struct ram_err err = {0};
        struct ram_ckpt *ckpt;
        bool said = false;

        put_file("model.safetensors.index.json", indexes[i].index);
        if (ram_ckpt_open(&ckpt, dir, &err))
            fail_msg("%s", err.message);
        for (size_t n = 0; ram_ckpt_note(ckpt, n); n++)
            said = said || strstr(ram_ckpt_note(ckpt, n), indexes[i].note);
        if (!said)
            fail_msg("index %zu: '%s' is not said, but '%s'", i, indexes[i].note,
                     ram_ckpt_note(ckpt, 0) ? ram_ckpt_note(ckpt, 0) : "nothing");
        ram_ckpt_close(ckpt);
    }
}

/* Saved again as one file: the old index names shards that are gone. */
static void a_stale_index_gives_way(void **state)
{
    const struct make_opts opts = {.arch = "llama"};
    struct ram_err err = {0};
    struct ram_ckpt *ckpt;
    (void)state;

    const size_t n = make_ckpt(dir, &opts);
    put_file("model.safetensors.index.json",
             "{\"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\"}}");
    assert_int_equal(ram_ckpt_open(&ckpt, dir, &err), RAM_OK);
    assert_int_equal(ckpt->n_tensors, n);
    assert_non_null(strstr(ram_ckpt_note(ckpt, 0), "model.safetensors is read instead"));
    assert_null(ram_ckpt_note(ckpt, 1));
    ram_ckpt_close(ckpt);
}

/* What else lies where safetensors are looked for, and what is said of it. */
static void what_is_there_instead_is_named(void **state)
{
    static const struct {
        const char *name, *text;
        int status;
        const char *message;
    } cases[] = {
        {"pytorch_model.bin", "x", RAM_EFORMAT, "there is pytorch_model.bin (weights as PyTorch"},
        {"pytorch_model-00001-of-00002.bin", "x", RAM_EFORMAT, "there is pytorch_model-00001"},
        {"consolidated.00.pth", "x", RAM_EFORMAT, "consolidated.00.pth (Meta's own format"},
        {"consolidated.safetensors", "x", RAM_EFORMAT, "(Mistral's own format"},
        {"adapter_model.safetensors", "x", RAM_EFORMAT, "(a LoRA adapter"},
        {"model-Q4_K_M.gguf", "x", RAM_EFORMAT, "(a GGUF file"},
        {"m.nemo", "x", RAM_EFORMAT, "(a NeMo archive"},
        {"model.safetensors.incomplete", "x", RAM_EFORMAT, "its download was interrupted"},
        {"model.safetensors.index.fp32.json", "{}", RAM_EFORMAT, "an index under another name"},
        {"model.safetensors",
         "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 16060522496\n",
         RAM_EFORMAT,
         "a Git LFS pointer instead of the file itself, which has 16060522496 bytes; run \"git lfs "
         "pull\""},
        {"model.safetensors", "<!DOCTYPE html><html>", RAM_EFORMAT, "but a web page or an XML"},
        {"model.safetensors", "{\"error\": \"no\"}", RAM_EFORMAT, "but a JSON text"},
        {"model.safetensors", "GGUF\3\3\3\3\3\3\3\3", RAM_EFORMAT, "but a GGUF file"},
        {"model.safetensors", "PK\3\4archive/data.pkl", RAM_EFORMAT, "but a ZIP archive"},
        {"model.safetensors", "Entry not found", RAM_EFORMAT, "but an error that a server sent"},
        {"model.safetensors", "", RAM_EFORMAT, "empty (0 bytes)"},
        {"model.safetensors", "ab", RAM_EFORMAT, "2 bytes, too short"},
        {"model-00002-of-00004.safetensors", "ab", RAM_EFORMAT,
         "4 weight files, of which 3 are missing: model-00001-of-00004.safetensors, "
         "model-00003-of-00004.safetensors, model-00004-of-00004.safetensors"},
        {"model.safetensors.index.json",
         "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", RAM_EFORMAT,
         "index.json: a Git LFS pointer"},
        {"model.safetensors.index.json",
         "{\"weight_map\": {\"a\": \"1\", \"b\": \"2\", \"c\": \"3\", \"d\": \"4\", \"e\": "
         "\"config.json\"}}",
         RAM_EFORMAT, "names 5 weight files, of which 4 are missing: 1, 2, 3, ..."},
        {"config.json", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
         RAM_EFORMAT, "config.json: a Git LFS pointer"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[512];
        put_file("config.json", "{}");
        put_file(cases[i].name, cases[i].text);
        refuse(dir, cases[i].status, cases[i].message);
        in_dir(path, cases[i].name);
        assert_int_equal(unlink(path), 0);
    }
}

static void a_directory_without_config_says_where_one_is(void **state)
{
    char path[512];
    (void)state;

    in_dir(path, "inner");
    assert_int_equal(mkdir(path, 0777), 0);
    put_file("inner/config.json", "{}");
    refuse(dir, RAM_EFORMAT, "no config.json; there is one in ");
    in_dir(path, "inner/config.json");
    assert_int_equal(unlink(path), 0);
    put_file("adapter_model.safetensors", "x");
    refuse(dir, RAM_EFORMAT, "no config.json; there is adapter_model.safetensors (a LoRA adapter");
}

static void one_name_in_two_files(void **state)
{
    const struct make_opts opts = {.arch = "llama"};
    char path[512], copy[512], command[1100];
    (void)state;

    make_ckpt(dir, &opts);
    in_dir(path, "model.safetensors");
    in_dir(copy, "model-copy.safetensors");
    snprintf(command, sizeof command, "cp '%s' '%s'", path, copy);
    assert_int_equal(system(command), 0);
    refuse(dir, RAM_EFORMAT,
           "is in more than one file (model-copy.safetensors, model.safetensors)");
}

/* The number of tensors of the largest models; a loop over all pairs would take minutes. */
static void a_header_of_44000_tensors(void **state)
{
    enum { N = 44000 };
    struct ram_err err = {0};
    struct ram_ckpt *ckpt;
    char path[512];
    (void)state;

    char *header = malloc(N * 128), *at = header;
    assert_non_null(header);
    at += sprintf(at, "{");
    for (size_t i = 0; i < N; i++)
        at += sprintf(at,
                      "%s\"model.layers.%zu.mlp.experts.%zu.up_proj.weight\":{\"dtype\":\"BF16\","
                      "\"shape\":[2,2],\"data_offsets\":[%zu,%zu]}",
                      i ? "," : "", i % 100, i / 100, 8 * i, 8 * i + 8);
    at += sprintf(at, "}");
    const size_t size = (size_t)(at - header);
    put_file("config.json", "{}");
    in_dir(path, "model.safetensors");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        fputc((int)(size >> (8 * i) & 255), file);
    assert_int_equal(fwrite(header, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(truncate(path, (off_t)(8 + size + 8 * N)), 0);
    free(header);

    const clock_t start = clock();
    assert_int_equal(ram_ckpt_open(&ckpt, dir, &err), RAM_OK);
    assert_true(clock() - start < 3 * CLOCKS_PER_SEC); /* 0.06 s; sanitizers take their time */
    assert_int_equal(ckpt->n_tensors, N);
    assert_string_equal(ckpt->tensors[440].name, "model.layers.1.mlp.experts.0.up_proj.weight");
    assert_non_null(ram_ckpt_find(ckpt, "model.layers.99.mlp.experts.439.up_proj.weight"));
    assert_null(ram_ckpt_find(ckpt, "model.layers.99.mlp.experts.440.up_proj.weight"));
    ram_ckpt_close(ckpt);
}

/* ---- the hub's cache --------------------------------------------------------------------- */

static void models_are_found_in_the_cache(void **state)
{
    static const char *const parts[] = {
        "hub", "hub/models--org--some-model", "hub/models--org--some-model/refs",
        "hub/models--org--some-model/refs/pr", "hub/models--org--some-model/snapshots"};
    const struct make_opts opts = {.arch = "llama"};
    struct ram_err err = {0};
    struct ram_ckpt *ckpt;
    char path[512];
    (void)state;

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        in_dir(path, parts[i]);
        assert_int_equal(mkdir(path, 0777), 0);
    }
    in_dir(path, "hub/models--org--some-model/snapshots/0123abcd");
    make_ckpt(path, &opts);
    put_file("hub/models--org--some-model/refs/main", "0123abcd");
    put_file("hub/models--org--some-model/refs/v1.0", "0123abcd\n");
    put_file("hub/models--org--some-model/refs/pr/1", "../../../etc");
    put_file("hub/models--org--some-model/refs/gone", "ffff");

    unsetenv("HF_HUB_CACHE");
    unsetenv("XDG_CACHE_HOME");
    setenv("HF_HOME", dir, 1);
    static const char *const good[] = {"org/some-model", "org/some-model@main",
                                       "org/some-model@v1.0", "org/some-model@0123abcd"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(ram_ckpt_open(&ckpt, good[i], &err), RAM_OK);
        assert_string_equal(ckpt->name, "org/some-model");
        ram_ckpt_close(ckpt);
    }
    /* Its directory, given as such, keeps the name. */
    in_dir(path, "hub/models--org--some-model/snapshots/0123abcd");
    assert_int_equal(ram_ckpt_open(&ckpt, path, &err), RAM_OK);
    assert_string_equal(ckpt->name, "org/some-model");
    ram_ckpt_close(ckpt);

    refuse("org/other", RAM_EIO, "to download it: hf download org/other");
    refuse("org/some-model@v2", RAM_EIO, "hf download org/some-model --revision v2");
    refuse("org/some-model@gone", RAM_EIO, "hf download org/some-model --revision gone");
    refuse("org/some-model@pr/1", RAM_EFORMAT, "does not hold a commit");
    refuse("org/some-model@../x", RAM_EIO, "not of the form");
    refuse("../x", RAM_EIO, "not of the form");
    refuse("a/b/c", RAM_EIO, "not of the form");
    refuse("two words", RAM_EIO, "not of the form org/name[@revision]");
    refuse("org/some--model", RAM_EIO, "not of the form");
    refuse("word", RAM_EIO, "to download it: hf download word");
    refuse("Org/Some-Model", RAM_EIO, "/hub; it holds org/some-model; to download it: ");
    refuse("org/some-model@v2", RAM_EIO, "of this model it holds commit 0123abcd; to download");

    /* HF_HUB_CACHE beats HF_HOME; HOME is the last resort. */
    in_dir(path, "hub");
    setenv("HF_HUB_CACHE", path, 1);
    setenv("HF_HOME", "/nonexistent", 1);
    assert_int_equal(ram_ckpt_open(&ckpt, "org/some-model", &err), RAM_OK);
    ram_ckpt_close(ckpt);
    unsetenv("HF_HUB_CACHE");
    unsetenv("HF_HOME");
    setenv("HOME", dir, 1);
    refuse("org/some-model", RAM_EIO, "/.cache/huggingface/hub");
}

static void forget_places(void)
{
    static const char *const names[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME",
                                        "XDG_CACHE_HOME"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

/* As huggingface_hub 1 and 2 look them up: by constants.py. $D is the test's directory. */
static void every_variable_of_the_cache(void **state)
{
    static const struct {
        const char *variable, *value, *cache; /* where the model then lies, below the directory */
    } places[] = {
        {"HF_HUB_CACHE", "$D/a", "a"},
        {"HF_HUB_CACHE", "${D}/a", "a"},
        {"HF_HUB_CACHE", "~/a", "a"},
        {"HF_HUB_CACHE", "$D/$UNSET_X/a", "$UNSET_X/a"},
        {"HUGGINGFACE_HUB_CACHE", "$D/b", "b"},
        {"HF_HOME", "~/c", "c/hub"},
        {"XDG_CACHE_HOME", "$D/x", "x/huggingface/hub"},
        {"D", NULL, ".cache/huggingface/hub"},
    };
    static const char *const models[][3] = {
        /* what is asked for, its repository, the ref or commit it lies under */
        {"gpt2", "models--gpt2", "refs/main"},
        {"gpt2@refs/pr/7", "models--gpt2", "refs/refs/pr/7"},
        {"org/m@feature/x+1", "models--org--m", "refs/feature/x+1"},
        {"org/m@0123456789012345678901234567890123456789", "models--org--m", NULL},
    };
    static const char commit[] = "0123456789012345678901234567890123456789";
    const struct make_opts opts = {.arch = "llama", .layers = 1};
    char command[2000], cache[512];
    (void)state;

    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
            struct ram_err err = {0};
            struct ram_ckpt *ckpt;
            forget_places();
            setenv("D", dir, 1);
            setenv("HOME", dir, 1);
            if (places[i].value)
                setenv(places[i].variable, places[i].value, 1);
            in_dir(cache, places[i].cache);
            snprintf(command, sizeof command,
                     "d='%s/%s'; mkdir -p \"$d/snapshots/%s\" \"$d/$(dirname '%s')\" && printf %s "
                     ">\"$d/%s\"",
                     cache, models[m][1], commit, models[m][2] ? models[m][2] : "refs/other",
                     commit, models[m][2] ? models[m][2] : "refs/other");
            assert_int_equal(system(command), 0);
            snprintf(command, sizeof command, "%s/%s/snapshots/%s", cache, models[m][1], commit);
            make_ckpt(command, &opts);
            if (ram_ckpt_open(&ckpt, models[m][0], &err))
                fail_msg("%s=%s: %s", places[i].variable, places[i].value, err.message);
            assert_string_equal(ckpt->name, m < 2 ? "gpt2" : "org/m");
            ram_ckpt_close(ckpt);
            snprintf(command, sizeof command, "rm -r '%s'", cache);
            assert_int_equal(system(command), 0);
        }
    forget_places();
}

/* A download that stopped: the snapshot lacks a file. */
static void partial_snapshots(void **state)
{
    const struct make_opts opts = {.arch = "llama", .layers = 1, .shards = 2};
    char path[512], command[2400];
    (void)state;

    snprintf(path, sizeof path, "%s/models--org--m", dir);
    snprintf(command, sizeof command,
             "mkdir -p '%s/snapshots/0123' '%s/blobs' '%s/refs' && printf 0123 >'%s/refs/main'",
             path, path, path, path);
    assert_int_equal(system(command), 0);
    setenv("HF_HUB_CACHE", dir, 1);
    snprintf(path, sizeof path, "%s/models--org--m/snapshots/0123", dir);
    make_ckpt(path, &opts);
    snprintf(command, sizeof command,
             "cd '%s' && rm model-00001-of-00002.safetensors && ln -s ../../blobs/ab "
             "model-00001-of-00002.safetensors",
             path);
    assert_int_equal(system(command), 0);
    refuse("org/m", RAM_EFORMAT,
           "of which 1 is missing: model-00001-of-00002.safetensors; to download it: hf download "
           "org/m");
    put_file("models--org--m/blobs/ab.incomplete", "x");
    refuse("org/m", RAM_EFORMAT, "a download was interrupted; to download it: hf download org/m");
    snprintf(path, sizeof path, "%s/models--org--m", dir);
    refuse(path, RAM_EFORMAT, "this is a repository of the Hugging Face cache: give org/name");
    forget_places();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_come_in_natural_order),
        cmocka_unit_test_setup_teardown(shards_become_one_set, setup, teardown),
        cmocka_unit_test_setup_teardown(header_digest, setup, teardown),
        cmocka_unit_test_setup_teardown(without_an_index_all_model_files_count, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_missing_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(truncated_files_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(flipped_header_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lying_index_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(an_index_that_is_wrong_is_noted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stale_index_gives_way, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_there_instead_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(a_directory_without_config_says_where_one_is, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(every_variable_of_the_cache, setup, teardown),
        cmocka_unit_test_setup_teardown(partial_snapshots, setup, teardown),
        cmocka_unit_test_setup_teardown(one_name_in_two_files, setup, teardown),
        cmocka_unit_test_setup_teardown(a_header_of_44000_tensors, setup, teardown),
        cmocka_unit_test_setup_teardown(models_are_found_in_the_cache, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

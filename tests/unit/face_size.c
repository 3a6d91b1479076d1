/* A size that was asked for holds for the files, also where the output stores a tensor twice. */
#include "ckpt_make.h"
#include "ram.h"

#include <setjmp.h>
#include <sys/stat.h>

#include <cmocka.h>

static void ok(int status, const struct ram_err *err)
{
    if (status)
        fail_msg("%s", err->message);
}

static uint64_t file_size(const char *dir, const char *name)
{
    struct stat st;
    char path[400];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

/* mlx_lm's GLM classes have a head of their own: the tied embedding is stored twice. */
static void a_tied_glm_keeps_to_its_size(void **state)
{
    static const struct make_opts forms[] = {{.arch = "glm4_moe", .seed = 3, .tied = true},
                                             {.arch = "glm4_moe_lite", .seed = 3, .tied = true},
                                             {.arch = "glm4_moe", .seed = 3}};
    const struct ram_allocate_opts what = {.method = "budget", .size = 200000};
    const struct ram_convert_opts how = {0};

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct ram_manifest *manifest = NULL;
        struct ram_plan *plan = NULL;
        struct ram_ckpt *ckpt = NULL;
        struct ram_totals totals;
        struct ram_err err = {0};
        char model[300], out[300], *text = NULL;
        const char *dir = make_temp_dir();

        snprintf(model, sizeof model, "%s/model", dir);
        snprintf(out, sizeof out, "%s/out", dir);
        make_ckpt(model, &forms[i]);
        ok(ram_ckpt_open(&ckpt, model, &err), &err);
        ok(ram_analyze(ckpt, &(struct ram_analyze_opts){0}, NULL, &manifest, &err), &err);
        ok(ram_allocate(manifest, &what, &plan, &err), &err);
        ok(ram_convert(ckpt, plan, out, &how, NULL, RAM_TEXT, &text, &err), &err);
        ram_plan_totals(plan, &totals);
        const uint64_t size = file_size(out, "model.safetensors");
        assert_in_range(size, 190000, 200000);
        assert_in_range(size - totals.bytes, 8, 20000); /* the header */
        free(text);
        ram_plan_free(plan);
        ram_manifest_free(manifest);
        ram_ckpt_close(ckpt);
        make_remove_dir(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_tied_glm_keeps_to_its_size)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The outline of an output: bytes as planned, files cut, and every quarrel of plan and checkpoint.
 */
#include "convert_case.h"

static const struct ram_convert_opts no_opts;

static void bytes_are_as_planned(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FORMS; i++) {
        for (unsigned salt = 0; salt < 4; salt++) {
            struct ram_outline *outline = NULL;
            struct test_case c;
            case_open(&c, &all_forms[i], mixed_width, &salt);
            if (ram_outline_new(&outline, c.layout, c.plan, &no_opts, &c.err))
                fail_msg("%s: %s", all_forms[i].arch, c.err.message);
            assert_int_equal(outline->bytes, c.plan->totals.bytes);
            assert_int_equal(outline->parameters, c.plan->totals.parameters);
            uint64_t sum = 0;
            for (size_t m = 0; m < outline->n_modules; m++)
                sum += ram_out_module_bytes(outline, &outline->modules[m]);
            assert_int_equal(sum, outline->bytes);
            ram_outline_free(outline);
            case_close(&c);
        }
    }
}

/* Contiguous, aligned, in the order of the reference writer; greedy, and no file empty. */
static void files_are_cut_greedily(void **state)
{
    static const uint64_t sizes[] = {1, 1000, 4096, 20000, 100000, UINT64_C(5) << 30};
    struct width w = {4, 32};
    struct test_case c;

    (void)state;
    case_open(&c, &all_forms[10], same_width, &w);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const struct ram_convert_opts opts = {.shard_size = sizes[i]};
        struct ram_outline *o = NULL;
        size_t seen = 0;
        assert_int_equal(ram_outline_new(&o, c.layout, c.plan, &opts, &c.err), RAM_OK);
        for (size_t f = 0; f < o->n_files; f++) {
            const struct ram_out_file *file = &o->files[f];
            uint64_t sum = 0;
            assert_true(file->n_tensors > 0);
            assert_int_equal(file->first_tensor, seen);
            for (size_t t = seen; t < seen + file->n_tensors; t++) {
                const struct ram_out_tensor *tensor = &o->tensors[t];
                assert_int_equal(tensor->file, f);
                assert_int_equal(tensor->offset % ((uint64_t)ram_dtypes[tensor->dtype].bits / 8),
                                 0);
                assert_true(tensor->offset >= file->header_size);
                assert_true(tensor->offset + tensor->size <= file->size);
                sum += tensor->size;
            }
            assert_int_equal(file->header_size % 8, 0);
            assert_int_equal(file->size, file->header_size + sum);
            assert_true(sum <= sizes[i] || file->n_tensors == 1);
            seen += file->n_tensors;
            /* Greedy: the next tensor would not have fitted. */
            if (seen < o->n_tensors)
                assert_true(sum + o->tensors[seen].size > sizes[i]);
        }
        assert_int_equal(seen, o->n_tensors);
        if (i == 0) { /* a byte: every tensor has a file of its own */
            char name[64];
            snprintf(name, sizeof name, "model-00001-of-%05zu.safetensors", o->n_tensors);
            assert_int_equal(o->n_files, o->n_tensors);
            assert_string_equal(o->files[0].name, name);
        }
        if (o->n_files == 1)
            assert_string_equal(o->files[0].name, "model.safetensors");
        ram_outline_free(o);
    }
    case_close(&c);
}

static const struct ram_out_module *module_of(const struct ram_outline *outline, const char *name)
{
    for (size_t m = 0; m < outline->n_modules; m++)
        if (!strcmp(outline->modules[m].target->module, name) &&
            !strcmp(outline->modules[m].target->suffix, "weight"))
            return &outline->modules[m];
    fail_msg("no module %s", name);
    return NULL;
}

static void groups_fall_back(void **state)
{
    struct ram_outline *o = NULL;
    struct width w = {4, 128};
    struct test_case c;

    (void)state;
    case_open(&c, &all_forms[12], same_width, &w);
    assert_int_equal(ram_outline_new(&o, c.layout, c.plan, &no_opts, &c.err), RAM_OK);
    /* nope 32, latent 64, 4 heads of 48 = 192, width 96: none is a multiple of 128. */
    static const struct {
        const char *module;
        int group;
    } expected[] = {
        {"model.layers.1.self_attn.embed_q", 32},
        {"model.layers.1.self_attn.unembed_out", 64},
        {"model.layers.1.self_attn.o_proj", 64},
        {"model.layers.0.mlp.down_proj", 32},
        {"model.layers.1.mlp.switch_mlp.down_proj", 32},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const struct ram_out_module *module = module_of(o, expected[i].module);
        assert_true(module->quantized);
        assert_int_equal(module->as.form->group, expected[i].group);
        assert_non_null(module->fallback);
    }
    assert_string_equal(o->usual->id, "4g64"); /* what most weights have */
    ram_outline_free(o);
    case_close(&c);
}

static void rows_that_no_group_divides_stay_at_16(void **state)
{
    struct ram_outline *o = NULL;
    struct width w = {4, 32};
    struct test_case c;

    (void)state;
    case_open(&c, &all_forms[0], same_width, &w);
    for (size_t i = 0; i < c.layout->n_targets; i++) {
        struct ram_target *target = &c.layout->targets[i];
        if (!strcmp(target->module, "model.layers.1.mlp.down_proj")) {
            /* 64 x 96 seen as 128 x 48. */
            target->shape[0] = target->views[0].rows = 128;
            target->shape[1] = target->views[0].cols = target->views[0].row_stride = 48;
        }
    }
    assert_int_equal(ram_outline_new(&o, c.layout, c.plan, &no_opts, &c.err), RAM_OK);
    const struct ram_out_module *module = module_of(o, "model.layers.1.mlp.down_proj");
    assert_false(module->quantized);
    assert_non_null(strstr(module->fallback, "48"));
    ram_outline_free(o);
    case_close(&c);
}

static int outline_status(struct test_case *c)
{
    struct ram_outline *outline = NULL;
    c->err = (struct ram_err){0};
    const int status = ram_outline_new(&outline, c->layout, c->plan, &no_opts, &c->err);
    ram_outline_free(outline);
    return status;
}

#define assert_says(c, text)                                                                       \
    do {                                                                                           \
        if (!strstr((c).err.message, text))                                                        \
            fail_msg("\"%s\" does not say \"%s\"", (c).err.message, text);                         \
    } while (0)

static void quarrels_are_named(void **state)
{
    static const char q0[] = "model.layers.0.self_attn.q_proj.weight";
    struct width w = {4, 32};
    struct test_case c;

    (void)state;
    case_open(&c, &all_forms[10], same_width, &w); /* glm4_moe */
    struct ram_unit *unit = plan_unit(c.plan, q0);
    assert_non_null(unit);

    unit->parameters++;
    assert_int_equal(outline_status(&c), RAM_EFORMAT);
    assert_says(c, q0);
    unit->parameters--;

    const struct ram_form *const form = unit->form;
    static const struct ram_codec foreign_codec = {.n_planes = 1};
    static const struct ram_form foreign = {.id = "q4_K", .bits = 4, .codec = &foreign_codec};
    unit->form = &foreign;
    assert_int_equal(outline_status(&c), RAM_EUSAGE);
    assert_says(c, q0);
    assert_says(c, "q4_K");
    unit->form = form;

    c.plan->model_type = "qwen3";
    assert_int_equal(outline_status(&c), RAM_EFORMAT);
    assert_says(c, "qwen3");
    c.plan->model_type = "glm4_moe";

    c.plan->format = "gguf";
    assert_int_equal(outline_status(&c), RAM_EUNSUPPORTED);
    c.plan->format = "mlx";

    unit->name = "model.layers.0.self_attn.z_proj.weight";
    ram_plan_index(c.plan, "test", &c.err);
    assert_int_equal(outline_status(&c), RAM_EFORMAT);
    assert_says(c, q0);
    unit->name = q0;
    ram_plan_index(c.plan, "test", &c.err);

    /* A unit too many: the last but one under the name of none. */
    c.plan->units[c.plan->n_units] =
        (struct ram_unit){.name = "visual.patch.weight", .form = RAM_FORM_16, .reason = "default"};
    c.plan->n_units++;
    c.err = (struct ram_err){0};
    assert_int_equal(ram_plan_index(c.plan, "test", &c.err), RAM_OK);
    assert_int_equal(outline_status(&c), RAM_EFORMAT);
    assert_says(c, "visual.patch.weight");
    c.plan->n_units--;
    ram_plan_index(c.plan, "test", &c.err);

    c.layout->known = false;
    assert_int_equal(outline_status(&c), RAM_EUNSUPPORTED);
    assert_says(c, "glm4_moe");
    c.layout->known = true;

    c.layout->obstacle = "mlx_lm's glm4_moe has no place for 'visual.patch.weight'";
    assert_int_equal(outline_status(&c), RAM_EUNSUPPORTED);
    assert_says(c, "visual.patch.weight");
    c.layout->obstacle = NULL;
    assert_int_equal(outline_status(&c), RAM_OK);
    case_close(&c);
}

/* A GLM router has no quantised form in mlx_lm: a rule gives way, a person is told. */
static void routers_of_glm(void **state)
{
    static const char router[] = "model.layers.1.mlp.gate.weight";
    struct ram_outline *o = NULL;
    struct width w = {4, 32};
    struct test_case c;

    (void)state;
    case_open(&c, &all_forms[10], same_width, &w);
    struct ram_unit *unit = plan_unit(c.plan, router);
    unit->form = ram_form_of(8, 64);
    assert_int_equal(ram_outline_new(&o, c.layout, c.plan, &no_opts, &c.err), RAM_OK);
    assert_false(module_of(o, "model.layers.1.mlp.gate")->quantized);
    assert_non_null(module_of(o, "model.layers.1.mlp.gate")->fallback);
    ram_outline_free(o);

    static const char *const by_hand[] = {"user", "protected"};
    for (size_t i = 0; i < 2; i++) {
        unit->reason = by_hand[i];
        assert_int_equal(outline_status(&c), RAM_EUSAGE);
        assert_says(c, router);
    }
    case_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_as_planned),
        cmocka_unit_test(files_are_cut_greedily),
        cmocka_unit_test(groups_fall_back),
        cmocka_unit_test(rows_that_no_group_divides_stay_at_16),
        cmocka_unit_test(quarrels_are_named),
        cmocka_unit_test(routers_of_glm),
    };
    return cmocka_run_group_tests_name("convert/outline", tests, NULL, NULL);
}

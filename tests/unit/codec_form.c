/* The table of forms: which there are, what they fit, what they cost, and what they give back. */
#include "base/rng.h"
#include "codec/affine.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Ids are what records of schema 1 have as keys, in this order. */
static void ids_and_widths(void **state)
{
    static const char *const ids[RAM_N_FORMS] = {
        "2g32", "2g64",  "2g128", "3g32", "3g64",  "3g128", "4g32", "4g64",  "4g128", "5g32",
        "5g64", "5g128", "6g32",  "6g64", "6g128", "8g32",  "8g64", "8g128", "16"};
    (void)state;

    for (size_t i = 0; i < RAM_N_FORMS; i++) {
        const struct ram_form *const form = ram_form_find(ids[i]);
        assert_ptr_equal(form, &ram_forms[i]);
        assert_int_equal(ram_form_index(form), i);
        assert_ptr_equal(ram_form_of(form->bits, form->group), form);
        assert_true(ram_form_is_plain(form));
    }
    assert_string_equal(ram_form_of(4, 64)->label, "4-bit g64");
    assert_string_equal(RAM_FORM_16->label, "16-bit");
    assert_null(ram_form_find("4g16"));
    assert_null(ram_form_find(""));
    assert_null(ram_form_of(16, 128));
    assert_null(ram_form_of(4, 0));
    assert_null(ram_form_of(7, 64));
    assert_null(ram_form_of(4, 16));
    assert_null(ram_form_of(0, 0));
    assert_null(ram_form_of(-4, 128));
    assert_null(ram_form_of(4294967300, 64)); /* 4 in its last 32 bits */
}

/* A fallback has codes of the same width and takes more rows, so that the way down ends. */
static void fallbacks(void **state)
{
    (void)state;
    for (size_t i = 0; i < RAM_N_FORMS; i++) {
        const struct ram_form *const form = &ram_forms[i], *const next = form->fallback;
        assert_true(form == RAM_FORM_16 ? !next : next && next->block < form->block);
        assert_true(!next || next == RAM_FORM_16 || next->bits == form->bits);
    }
}

static void is_fit(const char *id, uint64_t cols, const char *fit)
{
    assert_string_equal(ram_form_fit(ram_form_find(id), cols)->id, fit);
}

static void forms_fit_rows(void **state)
{
    (void)state;
    is_fit("4g128", 4096, "4g128");
    is_fit("4g32", 4096, "4g32");
    is_fit("4g128", 192, "4g64");
    is_fit("8g128", 96, "8g32");
    is_fit("2g64", 96, "2g32");
    is_fit("4g128", 48, "16");
    is_fit("4g128", 0, "16");
    is_fit("16", 48, "16");
    is_fit("16", 0, "16");
}

static uint64_t bytes(const char *id, uint64_t rows, uint64_t cols, size_t size)
{
    return ram_form_bytes(ram_form_find(id), rows, cols, size);
}

/* By hand, from the format: codes of bits x cols / 8 bytes a row; two bf16 a group. */
static void bytes_of_a_matrix(void **state)
{
    (void)state;
    assert_int_equal(bytes("16", 10, 256, 2), 10 * 256 * 2);
    assert_int_equal(bytes("16", 10, 256, 4), 10 * 256 * 4);
    assert_int_equal(bytes("2g32", 10, 256, 2), 10 * (64 + 8 * 4));
    assert_int_equal(bytes("3g64", 10, 256, 2), 10 * (96 + 4 * 4));
    assert_int_equal(bytes("4g128", 10, 256, 2), 10 * (128 + 2 * 4));
    assert_int_equal(bytes("5g128", 10, 256, 2), 10 * (160 + 2 * 4));
    assert_int_equal(bytes("6g128", 10, 256, 2), 10 * (192 + 2 * 4));
    assert_int_equal(bytes("8g64", 10, 256, 4), 10 * (256 + 4 * 8));
    /* GLM-4.7-Flash's embed_q: rows of 192 hold no group of 128. */
    assert_int_equal(bytes("4g128", 20 * 512, 192, 2), 20 * 512 * (96 + 3 * 4));
    assert_int_equal(bytes("4g128", 10, 48, 2), 10 * 48 * 2);
}

static void lists(void **state)
{
    static const int widths[] = {2, 3, 4, 5, 6, 8, 16, 0};
    char text[RAM_FORM_TEXT];
    int bits = 0;
    (void)state;

    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        assert_int_equal(bits = ram_form_next_bits(bits), widths[i]);
    assert_string_equal(ram_form_bits_text(text), "2, 3, 4, 5, 6 or 8");
    assert_string_equal(ram_form_groups_text(text), "32, 64 or 128");
}

/* The one pass over all forms gives each the error that encoding gives, and the planes of every
 * form decode to what that error is of. */
static void errors_are_those_of_encoding(void **state)
{
    enum { N = 3, COLS = 320 }; /* a multiple of 64, not of 128 */
    double sums[RAM_N_FORMS] = {0};
    float w[N * COLS], seen[N * COLS];
    struct ram_err err = {0};
    (void)state;

    ram_rng_normal(ram_rng_for(5, "forms"), 0, N * COLS, w);
    ram_form_errors(RAM_SCALE_F16, w, N, COLS, sums);
    for (size_t i = 0; i < RAM_N_FORMS; i++) {
        const struct ram_storage as = {.form = &ram_forms[i], .scale_type = RAM_SCALE_F16};
        uint8_t *planes[RAM_MAX_PLANES];
        double square = 0;
        if (as.form == RAM_FORM_16 || ram_form_fit(as.form, COLS) != as.form) {
            assert_true(sums[i] == 0);
            continue;
        }
        assert_int_equal(ram_storage_alloc(&as, N, COLS, planes, &err), RAM_OK);
        assert_true(ram_storage_encode(&as, w, N, COLS, planes) == sums[i]);
        const uint8_t *const coded[RAM_MAX_PLANES] = {planes[0], planes[1], planes[2]};
        ram_storage_decode(&as, coded, N, COLS, seen);
        for (size_t k = 0; k < N * COLS; k++)
            square += (double)(seen[k] - w[k]) * (double)(seen[k] - w[k]);
        assert_true(fabs(square / sums[i] - 1) < 1e-5);
        free(planes[0]);
    }
}

static void planes_lie_side_by_side(void **state)
{
    const struct ram_storage as = {.form = ram_form_of(4, 64), .scale_type = RAM_SCALE_F32};
    uint8_t *planes[RAM_MAX_PLANES];
    struct ram_err err = {0};
    (void)state;

    assert_int_equal(ram_storage_row_size(&as, 0, 128), 64);
    assert_int_equal(ram_storage_row_size(&as, 1, 128), 8);
    assert_int_equal(ram_storage_row_size(&as, 2, 128), 8);
    assert_int_equal(ram_storage_alloc(&as, 3, 128, planes, &err), RAM_OK);
    assert_ptr_equal(planes[1], planes[0] + 3 * 64);
    assert_ptr_equal(planes[2], planes[1] + 3 * 8);
    free(planes[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_and_widths),
        cmocka_unit_test(fallbacks),
        cmocka_unit_test(forms_fit_rows),
        cmocka_unit_test(bytes_of_a_matrix),
        cmocka_unit_test(lists),
        cmocka_unit_test(errors_are_those_of_encoding),
        cmocka_unit_test(planes_lie_side_by_side),
    };
    return cmocka_run_group_tests_name("codec/form", tests, NULL, NULL);
}

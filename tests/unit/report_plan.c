/* Reports: tables line up, numbers read well, and the JSON form says what the plan says. */
#include "base/table.h"
#include "record/plan.h"
#include "report/numbers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char plan_text[] =
    "{\"schema\": \"ram.plan/1\", \"method\": \"auto\", \"model\": {\"name\": \"M\", "
    "\"model_type\": \"qwen3_moe\"}, \"settings\": {\"detected\": \"because\", \"thresholds\": "
    "{\"t2\": null, \"t8\": 0.65, \"t16\": 0.9}}, \"summary\": {\"span\": 0.5, "
    "\"per_expert_distribution\": {\"2\": {\"parameters\": 2560, \"tensors\": 1}, \"4\": "
    "{\"parameters\": 2560, \"tensors\": 1}, \"16\": {\"parameters\": 64, \"tensors\": 1}}, "
    "\"predicted\": {\"relative_error\": 0.1, \"kld\": 0.25, \"max_2bit_percent\": 49.4, "
    "\"per_expert\": "
    "{\"bytes\": 2200, \"nominal_bits\": 3.2}}}, \"units\": [\n"
    "{\"name\": \"norm\", \"role\": \"norm\", \"parameters\": 64, \"bits\": 16, \"group\": 0, "
    "\"reason\": \"1d\", \"bytes\": 128},\n"
    "{\"name\": \"experts.*.up\", \"role\": \"up\", \"layer\": 3, \"members\": 2, \"parameters\": "
    "5120, \"bits\": 8, \"group\": 64, \"scores\": {\"svd\": 0.1, \"kurtosis\": 0.2, \"output\": "
    "0.3, \"error\": 0.4, \"composite\": 0.7}, \"reason\": \"score>=t8\", \"bytes\": 5440}]}";

static struct ram_plan *plan(void)
{
    struct ram_err err = {0};
    struct ram_plan *p = NULL;
    assert_int_equal(ram_plan_parse(&p, plan_text, strlen(plan_text), "text", &err), RAM_OK);
    return p;
}

static void numbers_read_well(void **state)
{
    (void)state;
    assert_string_equal(ram_number_count(0).s, "0");
    assert_string_equal(ram_number_count(999).s, "999");
    assert_string_equal(ram_number_count(1000).s, "1,000");
    assert_string_equal(ram_number_count(8190735360).s, "8,190,735,360");
    assert_string_equal(ram_number_count(UINT64_MAX).s, "18,446,744,073,709,551,615");
    assert_string_equal(ram_number_short(8190735360).s, "8.19 B");
    assert_string_equal(ram_number_short(768).s, "768");
    assert_string_equal(ram_number_short(5000000).s, "5.00 M");
    assert_string_equal(ram_number_binary(16381470720).s, "15.26 GiB");
    assert_string_equal(ram_number_decimal(16381470720).s, "16.38 GB");
    assert_string_equal(ram_number_binary(1023).s, "1023 B");
    assert_string_equal(ram_number_binary((uint64_t)1 << 62).s, "4194304.00 TiB");
    assert_string_equal(ram_number_percent(817, 1000).s, "81.7");
    assert_string_equal(ram_number_percent(1, 1000000).s, "<0.1");
    assert_string_equal(ram_number_percent(0, 1000).s, "");
    assert_string_equal(ram_number_percent(0, 0).s, "");
    assert_string_equal(ram_number_unit(16381470720), "GiB");
    assert_string_equal(ram_number_in_unit(1 << 30, 16381470720).s, "1.00");
    assert_string_equal(ram_number_in_unit(1, 16381470720).s, "<0.01");
    assert_string_equal(ram_number_in_unit(0, 16381470720).s, "0.00");
}

static void a_table_in_both_forms(void **state)
{
    static const char text[] = "  name      bits\n"
                               "  \xc3\xa9            4\n"
                               "  a longer    16\n"
                               "  --------------\n"
                               "  all         20\n";
    static const char markdown[] = "| name     | bits |\n"
                                   "|----------|-----:|\n"
                                   "| \xc3\xa9        |    4 |\n"
                                   "| a longer |   16 |\n"
                                   "| all      |   20 |\n";
    struct ram_table table = {0};
    struct ram_buf out = {0};
    (void)state;
    ram_table_column(&table, "name");
    ram_table_column(&table, ">bits");
    ram_table_cell(&table, "\xc3\xa9");
    ram_table_cell(&table, "%d", 4);
    ram_table_cell(&table, "a %s", "longer");
    ram_table_cell(&table, "%d", 16);
    ram_table_rule(&table);
    ram_table_cell(&table, "all");
    ram_table_cell(&table, "20");
    ram_table_print(&table, RAM_TEXT, &out);
    assert_string_equal(out.data, text);
    ram_buf_release(&out);
    ram_table_print(&table, RAM_MARKDOWN, &out);
    assert_string_equal(out.data, markdown);
    ram_buf_release(&out);
    ram_table_release(&table);
}

static void text_says_it_all(void **state)
{
    static const char *const lines[] = {
        "M: auto\n",
        "chosen          because\n",
        "composite       >= 0.65: 8 bits, >= 0.90: 16 bits, else 4\n",
        "size            5.44 KiB (5.57 KB), 5,568 bytes\n",
        "weight error    10.00 %",
        "predicted KL    0.25   nats/token",
        "  up (experts)        2       5,120  100.0              8.50  5.31\n",
        "  all                 3       5,184   98.8    1.2       8.59  5.44\n",
        "  one width per expert (not storable)  49.4  49.4        1.2     3.20  2.15 KiB\n",
        "  score>=t8      1        2       5,120  98.8  composite at or above 0.65\n",
        "  1d             1        1          64   1.2  a vector: never quantised\n",
        "  experts.*.up        2       5,120     8     64     0.7000  score>=t8  5.31 KiB\n",
    };
    struct ram_plan *p = plan();
    struct ram_err err = {0};
    char *text = NULL;
    (void)state;
    assert_int_equal(ram_plan_describe(p, RAM_TEXT, true, &text, &err), RAM_OK);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (!strstr(text, lines[i]))
            print_error("missing: %s\nin: %s\n", lines[i], text);
        assert_non_null(strstr(text, lines[i]));
    }
    assert_null(strchr(text, '\033'));
    assert_null(strchr(text, '\t'));
    assert_null(strstr(text, " \n"));
    free(text);
    ram_plan_free(p);
}

static void json_says_what_the_plan_says(void **state)
{
    struct ram_plan *p = plan();
    struct ram_err err = {0};
    char *text = NULL;
    json_t *root = NULL;
    (void)state;
    for (int units = 0; units < 2; units++) {
        assert_int_equal(ram_plan_describe(p, RAM_JSON, units, &text, &err), RAM_OK);
        assert_int_equal(ram_json_parse(&root, text, strlen(text), "json", &err), RAM_OK);
        assert_int_equal(json_integer_value(json_object_get(root, "bytes")), 5568);
        assert_int_equal(json_array_size(json_object_get(root, "roles")), 2);
        const json_t *const eight = json_object_get(json_object_get(root, "distribution"), "8");
        assert_int_equal(json_integer_value(json_object_get(eight, "parameters")), 5120);
        assert_int_equal(json_array_size(json_object_get(root, "units")), units ? 2 : 0);
        const json_t *const reason = json_object_get(json_object_get(root, "reasons"), "score>=t8");
        assert_int_equal(json_integer_value(json_object_get(reason, "tensors")), 2);
        json_decref(root);
        free(text);
    }
    ram_plan_free(p);
}

/* Every row of a Markdown table has as many bars as its heads. */
static void markdown_tables_are_whole(void **state)
{
    struct ram_plan *p = plan();
    struct ram_err err = {0};
    char *text = NULL, *rest;
    size_t bars = 0, n_tables = 0;
    (void)state;
    assert_int_equal(ram_plan_describe(p, RAM_MARKDOWN, true, &text, &err), RAM_OK);
    rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        size_t n = 0;
        for (const char *c = line; *c; c++)
            n += *c == '|';
        assert_true(!bars || !n || n == bars);
        n_tables += !bars && n;
        bars = n;
    }
    assert_int_equal(n_tables, 5);
    free(text);
    ram_plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_read_well),         cmocka_unit_test(a_table_in_both_forms),
        cmocka_unit_test(text_says_it_all),          cmocka_unit_test(json_says_what_the_plan_says),
        cmocka_unit_test(markdown_tables_are_whole),
    };
    return cmocka_run_group_tests_name("report/plan", tests, NULL, NULL);
}

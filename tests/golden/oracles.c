/*
 * oracles.c - what the method's authors published, beside what this code makes of their data.
 *
 * The published per-tensor metrics of two models, their file sizes, and the tensors that their
 * config.json imply; a Gaussian matrix made here; and three small trained models, whose mixes were
 * written by stock mlx_lm and measured independently of us. Every line is a test; `oracles --table`
 * prints them (make oracles). The per-tensor metrics are the authors' own, and two of the models
 * are large: lines that need them are left out where the shared data is not there. Where a
 * published number cannot be reached, because its definition was never published, the line says so,
 * and the test holds us to our own definition instead.
 */
#include "base/file.h"
#include "base/rng.h"
#include "golden/inventory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

enum verdict { EQUAL, DIFFERS, WRONG }; /* DIFFERS: known, and why */

struct line {
    char what[64], published[64], ours[64], note[96];
    enum verdict verdict;
};

struct table {
    struct line lines[64];
    size_t n;
};

static struct table table;

static struct line *add(bool ok, const char *what, const char *published, const char *ours)
{
    struct line *const line = &table.lines[table.n++];
    snprintf(line->what, sizeof line->what, "%s", what);
    snprintf(line->published, sizeof line->published, "%s", published);
    snprintf(line->ours, sizeof line->ours, "%s", ours);
    line->verdict = ok ? EQUAL : WRONG;
    return line;
}

/* Equal to as many decimals as were published. */
static struct line *number(const char *what, double published, double ours, int decimals,
                           const char *unit)
{
    char a[64], b[64];
    const double half = 0.5 * pow(10, -decimals);
    snprintf(a, sizeof a, "%.*f %s", decimals, published, unit);
    snprintf(b, sizeof b, "%.*f %s", decimals, fabs(ours) < half ? 0.0 : ours, unit); /* no -0.0 */
    return add(fabs(published - ours) <= 0.5000001 * pow(10, -decimals), what, a, b);
}

static struct line *count(const char *what, uint64_t published, uint64_t ours)
{
    char a[64], b[64];
    snprintf(a, sizeof a, "%llu", (unsigned long long)published);
    snprintf(b, sizeof b, "%llu", (unsigned long long)ours);
    return add(published == ours, what, a, b);
}

/* A published number that our definition, the best that is public, does not give: `expected` is
 * what it does give. */
static void differs(const char *what, double published, double expected, double ours, int decimals,
                    const char *unit, const char *why)
{
    struct line *const line = number(what, published, ours, decimals, unit);
    snprintf(line->note, sizeof line->note, "%s", why);
    line->verdict = fabs(expected - ours) <= 0.5000001 * pow(10, -decimals) ? DIFFERS : WRONG;
}

static double percent(const struct ram_plan *plan, int bits)
{
    return 100 * (double)plan->shares[bits].parameters / (double)plan->totals.parameters;
}

static double gib(const struct ram_plan *plan)
{
    return (double)plan->totals.bytes / (1 << 30);
}

static struct ram_plan *decide(const struct ram_manifest *m, struct ram_allocate_opts opts)
{
    struct ram_plan *plan = NULL;
    struct ram_err err = {0};
    inventory_check(ram_allocate(m, &opts, &plan, &err), err.message);
    return plan;
}

static struct ram_manifest *qwen3_8b(void)
{
    char config[512], metrics[512];
    inventory_config(config, sizeof config, "Qwen--Qwen3-8B");
    inventory_check(!inventory_data(metrics, sizeof metrics, "swan/correlation_qwen3_8b.json"),
                    "no metrics");
    return inventory_published(inventory_qwen3(config), metrics);
}

/* Short names of the scored units at these bits: "1 down, 2 down, ..." by layer. */
static const char *listed(const struct ram_plan *plan, int bits, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (int layer = 0; layer < 1000; layer++) {
        for (size_t i = 0; i < plan->n_units; i++) {
            const struct ram_unit *const u = &plan->units[i];
            if (u->form->bits != bits || u->layer != layer || strncmp(u->reason, "score", 5) != 0)
                continue;
            n += (size_t)snprintf(text + n, n < size ? size - n : 0, "%s%d %s", n ? ", " : "",
                                  layer, u->role);
        }
    }
    return text;
}

/* ---- 1, 3, 4: Qwen3-8B ------------------------------------------------------------------------
 */

static void v1_on_qwen3_8b(void)
{
    struct ram_manifest *m = qwen3_8b();
    struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = "v1"});
    double low = INFINITY, high = -INFINITY;
    char text[256];

    number("Qwen3-8B v1: 4-bit share", 81.73, percent(plan, 4), 2, "%");
    number("Qwen3-8B v1: 8-bit share", 3.07, percent(plan, 8), 2, "%");
    number("Qwen3-8B v1: 16-bit share", 15.20, percent(plan, 16), 2, "%");
    count("Qwen3-8B v1: parameters at 4 bits", 6694109184, plan->shares[4].parameters);
    count("Qwen3-8B v1: parameters at 8 bits", 251658240, plan->shares[8].parameters);
    for (size_t i = 0; i < plan->n_units; i++) {
        if (!plan->units[i].scored)
            continue;
        low = fmin(low, plan->units[i].scores.composite);
        high = fmax(high, plan->units[i].scores.composite);
    }
    number("Qwen3-8B v1: lowest composite", 0.2887, low, 4, "");
    number("Qwen3-8B v1: highest composite", 0.8343, high, 4, "");
    listed(plan, 8, text, sizeof text);
    const char *const five = "1 down, 2 down, 2 gate, 2 up, 35 down";
    add(!strcmp(text, five), "Qwen3-8B v1: the 8-bit matrices", five, text);
    number("Qwen3-8B v1: size", 5.88, gib(plan), 2, "GiB");
    number("Qwen3-8B v1: effective bits", 6.17, plan->totals.effective_bits, 2, "");
    ram_plan_free(plan);
    ram_manifest_free(m);
}

static void v2_on_qwen3_8b(void)
{
    static const char why[] = "how percentiles make scores is not published";
    struct ram_manifest *m = qwen3_8b();
    struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = "v2"});

    differs("Qwen3-8B v2: 2-bit share", 2.2, 1.5, percent(plan, 2), 1, "%", why);
    differs("Qwen3-8B v2: 4-bit share", 73.5, 75.2, percent(plan, 4), 1, "%", why);
    differs("Qwen3-8B v2: 8-bit share", 6.0, 5.6, percent(plan, 8), 1, "%", why);
    differs("Qwen3-8B v2: 16-bit share", 18.3, 17.7, percent(plan, 16), 1, "%",
            "one MLP matrix is 0.61 %");
    differs("Qwen3-8B v2: max 2-bit", 16.8, 17.0,
            inventory_number(plan->predicted, "max_2bit_percent"), 1, "%", why);
    number("Qwen3-8B v2: max 16-bit", 20.3, inventory_number(plan->predicted, "max_16bit_percent"),
           1, "%");
    differs("Qwen3-8B v2: span", 1.173, 1.181, plan->span, 3, "", why);
    differs("Qwen3-8B v2: size", 6.32, 6.24, gib(plan), 2, "GiB", why);
    ram_plan_free(plan);
    plan = decide(m, (struct ram_allocate_opts){.method = "v3"});
    differs("Qwen3-8B v3: size", 6.95, 6.26, gib(plan), 2, "GiB",
            "which metrics fell back is not published");
    ram_plan_free(plan);
    ram_manifest_free(m);
}

static void v3_opt_on_qwen3_8b(void)
{
    static const char twelve[] = "1 down, 1 gate, 2 down, 2 gate, 2 up, 3 down, 4 down, 9 k, 12 k, "
                                 "19 k, 22 k, 35 down";
    struct ram_manifest *m = qwen3_8b();
    struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = "auto"});
    char eight[256], sixteen[256], found[520];
    unsigned n = 0, same = 0;

    number("Qwen3-8B v3-opt (auto): size", 6.051, gib(plan), 3, "GiB");
    number("Qwen3-8B v3-opt: effective bits", 6.35, plan->totals.effective_bits, 2, "");
    listed(plan, 8, eight, sizeof eight);
    listed(plan, 16, sixteen, sizeof sixteen);
    snprintf(found, sizeof found, "%s, %s", eight, sixteen);
    for (char *rest = found, *one; (one = strtok_r(rest, ",", &rest)); n++)
        same += strstr(twelve, one + (*one == ' ')) != NULL;
    char ours[64];
    snprintf(ours, sizeof ours, "%u promoted, %u of them among these", n, same);
    add(n == 12 && same == 12, "Qwen3-8B v3-opt: the promoted matrices",
        "12: layers 1-4, 35; k of 9 12 19 22", ours);
    ram_plan_free(plan);
    ram_manifest_free(m);
}

/* ---- 2: Qwen3.5-397B --------------------------------------------------------------------------
 */

static void v1_on_397b(void)
{
    static const char *const nothing[] = {"(?!)"}; /* the published figures are of all scored */
    struct ram_manifest *m = NULL;
    char metrics[512];

    inventory_check(!inventory_data(metrics, sizeof metrics, "swan/correlation_qwen35_397b.json"),
                    "no metrics");
    m = inventory_published(NULL, metrics);
    struct ram_plan *plan =
        decide(m, (struct ram_allocate_opts){.method = "v1", .protect = nothing, .n_protect = 1});
    number("Qwen3.5-397B v1: at 4 bits", 384.00, (double)plan->shares[4].parameters / 1e9, 2,
           "B parameters");
    number("Qwen3.5-397B v1: at 8 bits", 17.26, (double)plan->shares[8].parameters / 1e9, 2,
           "B parameters");
    number("Qwen3.5-397B v1: at 16 bits", 0.105, (double)plan->shares[16].parameters / 1e9, 3,
           "B parameters");
    ram_plan_free(plan);
    ram_manifest_free(m);
}

/* ---- 5: sizes ---------------------------------------------------------------------------------
 */

static void effective_bits(void)
{
    static const struct {
        int bits, group;
        double effective;
    } widths[] = {{2, 32, 3.0}, {4, 128, 4.25}, {4, 64, 4.5},
                  {4, 32, 5.0}, {8, 64, 8.5},   {16, 0, 16}};
    char what[64];

    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        const uint64_t bytes =
            ram_form_bytes(ram_form_of(widths[i].bits, widths[i].group), 12288, 4096, 2);
        snprintf(what, sizeof what, "effective bits of %d-bit g%d", widths[i].bits,
                 widths[i].group);
        number(what, widths[i].effective, (double)bytes * 8 / (12288.0 * 4096), 2, "");
    }
}

static void uniform_sizes(void)
{
    static const struct {
        const char *name, *config;
        int bits;
        double gib;
    } models[] = {{"Qwen3-8B bf16: size", "Qwen--Qwen3-8B", 16, 15.26},
                  {"Qwen3-8B uniform 4-bit: size", "Qwen--Qwen3-8B", 4, 4.05},
                  {"Qwen3-30B-A3B bf16: size", "Qwen--Qwen3-30B-A3B", 16, 56.87},
                  {"Qwen3-30B-A3B uniform 4-bit: size", "Qwen--Qwen3-30B-A3B", 4, 15.11}};
    char path[640];

    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        inventory_config(path, sizeof path, models[i].config);
        struct ram_manifest *m = inventory_qwen3(path);
        struct ram_plan *plan =
            decide(m, (struct ram_allocate_opts){.method = "uniform", .bits = models[i].bits});
        number(models[i].name, models[i].gib, gib(plan), 2, "GiB");
        ram_plan_free(plan);
        ram_manifest_free(m);
    }
}

/* The ten ablations: parameters at each width as published, and the sizes of the files they made.
 */
static const struct {
    const char *name;
    uint64_t parameters[4]; /* at 2 bits g32, 4 g128, 8 g64 and 16 */
    double gib;
} ablations[] = {{"svd_only", {0, 6190792704, 754974720, 1244967936}, 6.1290873335674405},
                 {"kurtosis_only", {0, 5788139520, 905969664, 1496626176}, 6.548031659796834},
                 {"output_only", {0, 0, 0, 8190735360}, 15.256475959904492},
                 {"position_only", {0, 4127195136, 2046820352, 2016719872}, 7.823905705474317},
                 {"svd_kurtosis", {0, 5989466112, 956301312, 1244967936}, 6.22869670484215},
                 {"svd_output", {0, 0, 6945767424, 1244967936}, 9.19207572657615},
                 {"output_position", {0, 0, 5595201536, 2595533824}, 10.371264822781086},
                 {"kurtosis_position", {0, 5184159744, 1509949440, 1496626176}, 6.846859742887318},
                 {"composite_default", {0, 4865392640, 2080374784, 1244967936}, 6.784849066287279},
                 {"equal_weights", {0, 4919918592, 2025848832, 1244967936}, 6.757871560752392}};

static void ablation_sizes(void)
{
    static const int bits[] = {2, 4, 8, 16}, groups[] = {32, 128, 64, 0};
    char what[64];

    for (size_t i = 0; i < sizeof ablations / sizeof *ablations; i++) {
        uint64_t bytes = 0;
        for (int k = 0; k < 4; k++) {
            /* Every matrix has a row of a multiple of 1,024. */
            bytes += ram_form_bytes(ram_form_of(bits[k], groups[k]),
                                    ablations[i].parameters[k] / 1024, 1024, 2);
        }
        snprintf(what, sizeof what, "ablation %s: size", ablations[i].name);
        /* Theirs has the file's header, about 0.0001 GiB. */
        number(what, ablations[i].gib, (double)bytes / (1 << 30), 3, "GiB");
    }
}

/* ---- 6: a Gaussian matrix -----------------------------------------------------------------------
 */

enum { SIDE = 1024 };

static void write_file(const char *dir, const char *name, const void *data, size_t size)
{
    struct ram_err err = {0};
    char path[640];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    inventory_check(ram_file_write(path, data, size, true, &err), err.message);
}

static void remove_file(const char *dir, const char *name)
{
    char path[640];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    remove(path);
}

/* A checkpoint of one matrix of standard normal weights, in f32. */
static void write_gaussian(const char *dir)
{
    static const char config[] = "{\"model_type\": \"gaussian\"}";
    const size_t n = (size_t)SIDE * SIDE;
    char header[256];
    uint64_t header_size;

    const int used = snprintf(header, sizeof header,
                              "{\"w.weight\":{\"dtype\":\"F32\",\"shape\":[%d,%d],"
                              "\"data_offsets\":[0,%zu]}}",
                              SIDE, SIDE, 4 * n);
    header_size = (uint64_t)used + (8 - used % 8) % 8;
    uint8_t *const file = malloc(8 + header_size + 4 * n);
    float *const weights = malloc(4 * n);
    inventory_check(!file || !weights, "memory");
    memset(file, ' ', 8 + header_size);
    memcpy(file, &header_size, 8); /* the format is little-endian, and so are those who run this */
    memcpy(file + 8, header, (size_t)used);
    ram_rng_normal(ram_rng_for(1, "gaussian"), 0, n, weights);
    memcpy(file + 8 + header_size, weights, 4 * n);
    write_file(dir, "model.safetensors", file, 8 + header_size + 4 * n);
    write_file(dir, "config.json", config, strlen(config));
    free(file);
    free(weights);
}

static struct ram_manifest *analyzed(const char *dir)
{
    const struct ram_analyze_opts opts = {0};
    const struct ram_run run = {0};
    struct ram_manifest *m = NULL;
    struct ram_ckpt *ckpt = NULL;
    struct ram_err err = {0};

    inventory_check(ram_ckpt_open(&ckpt, dir, &err), err.message);
    inventory_check(ram_analyze(ckpt, &opts, &run, &m, &err), err.message);
    ram_ckpt_close(ckpt);
    return m;
}

static void gaussian_matrix(void)
{
    char dir[] = "/tmp/ram-oracles-XXXXXX";

    inventory_check(!mkdtemp(dir), "no directory");
    write_gaussian(dir);
    struct ram_manifest *m = analyzed(dir);
    const struct ram_entry *const e = &m->entries[0];
    inventory_check(!e->measured, "not measured");
    number("Gaussian matrix: error", 0.100, e->metrics.error, 3, "");
    /* 24 / n is its variance: 0 to within five standard errors. */
    number("Gaussian matrix: kurtosis", 0, e->metrics.kurtosis, 1, "");
    number("Gaussian matrix: output x rms / range (1/55.4)", 1 / (16 * sqrt(12)),
           e->metrics.output * e->stats.rms / (e->stats.max - e->stats.min), 6, "");
    ram_manifest_free(m);
    remove_file(dir, "model.safetensors");
    remove_file(dir, "config.json");
    rmdir(dir);
}

/* ---- the trained reference models ---------------------------------------------------------------
 */

/* Bytes of files that stock mlx_lm wrote from the method's decisions, as others made them. */
static const struct {
    const char *model, *method;
    uint64_t bytes;
} mixes[] = {{"tiny-qwen3", "v1", 4206291},         {"tiny-qwen3", "v2", 4511247},
             {"tiny-qwen3", "v3-opt", 4450017},     {"ref-qwen3-moe", "v2", 10248951},
             {"ref-glm4-moe-lite", "v2", 10137441}, {"ref-glm4-moe-lite", "v2-opt", 9972740},
             {"ref-glm4-moe-lite", "v3", 9683373}};

/* The directory of a reference model, if it is there. */
static const char *model_dir(char *dir, size_t size, const char *model)
{
    const char *const source = getenv("RAM_SOURCE");
    char probe[64];

    if (!strcmp(model, "tiny-qwen3")) {
        snprintf(dir, size, "%s/examples/tiny-qwen3", source ? source : ".");
        return dir;
    }
    snprintf(probe, sizeof probe, "../models/%s/config.json", model);
    if (!inventory_data(dir, size, probe))
        return NULL;
    *strrchr(dir, '/') = '\0';
    return dir;
}

static void reference_models(void)
{
    const char *model = "";
    struct ram_manifest *m = NULL;
    char dir[512], what[64], published[64], ours[64];

    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++) {
        if (strcmp(model, mixes[i].model) != 0) {
            model = mixes[i].model;
            ram_manifest_free(m);
            m = model_dir(dir, sizeof dir, model) ? analyzed(dir) : NULL;
        }
        if (!m)
            continue;
        struct ram_plan *plan = decide(m, (struct ram_allocate_opts){.method = mixes[i].method});
        const uint64_t bytes = plan->totals.bytes;
        snprintf(what, sizeof what, "%s %s: bytes of the file", model, mixes[i].method);
        snprintf(published, sizeof published, "%llu", (unsigned long long)mixes[i].bytes);
        snprintf(ours, sizeof ours, "%llu, header not counted", (unsigned long long)bytes);
        /* A header is less than 0.35 % of these files; two methods differ by 1.4 % and more. */
        add(bytes < mixes[i].bytes && (double)bytes > 0.9965 * (double)mixes[i].bytes, what,
            published, ours);
        ram_plan_free(plan);
    }
    ram_manifest_free(m);
}

/* data: what it needs of the authors' own per-tensor data. */
static const struct {
    void (*run)(void);
    const char *data;
} groups[] = {{v1_on_qwen3_8b, "swan/correlation_qwen3_8b.json"},
              {v2_on_qwen3_8b, "swan/correlation_qwen3_8b.json"},
              {v3_opt_on_qwen3_8b, "swan/correlation_qwen3_8b.json"},
              {v1_on_397b, "swan/correlation_qwen35_397b.json"},
              {effective_bits, NULL},
              {uniform_sizes, NULL},
              {gaussian_matrix, NULL},
              {reference_models, NULL},
              {ablation_sizes, NULL}};

static void every_line_holds(void **state)
{
    (void)state;
    assert_true(table.n >= 26); /* those that need nothing from elsewhere */
    for (size_t i = 0; i < table.n; i++)
        if (table.lines[i].verdict == WRONG)
            print_error("%s: published %s, ours %s\n", table.lines[i].what,
                        table.lines[i].published, table.lines[i].ours);
    for (size_t i = 0; i < table.n; i++)
        assert_int_not_equal(table.lines[i].verdict, WRONG);
}

static int print_table(void)
{
    int failed = 0;

    printf("%-46s %-38s %-38s\n", "what", "published", "ours");
    for (size_t i = 0; i < table.n; i++) {
        const struct line *const line = &table.lines[i];
        static const char *const verdicts[] = {"equal", "differs", "WRONG"};
        printf("%-46s %-38s %-38s %s%s%s\n", line->what, line->published, line->ours,
               verdicts[line->verdict], *line->note ? ": " : "", line->note);
        failed |= line->verdict == WRONG;
    }
    return failed;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_line_holds)};
    char path[640];

    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        if (!groups[i].data || inventory_data(path, sizeof path, groups[i].data))
            groups[i].run();
        else
            printf("left out: lines that need ../shared/data/%s (RAM_SHARED)\n", groups[i].data);
    }
    if (argc > 1 && !strcmp(argv[1], "--table"))
        return print_table();
    return cmocka_run_group_tests_name("oracles", tests, NULL, NULL);
}

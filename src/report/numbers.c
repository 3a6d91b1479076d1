/* numbers.c - see numbers.h. */
#include "report/numbers.h"

#include <stdio.h>
#include <string.h>

struct ram_text ram_number_count(uint64_t n)
{
    struct ram_text text;
    char digits[24];
    size_t out = 0;

    const size_t size = (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    for (size_t i = 0; i < size; i++) {
        if (i && (size - i) % 3 == 0)
            text.s[out++] = ',';
        text.s[out++] = digits[i];
    }
    text.s[out] = '\0';
    return text;
}

static const char *const binary_units[] = {"B", "KiB", "MiB", "GiB", "TiB"};

/* Number of the largest of five units that leaves at least 1. */
static int fit_unit(double x, double step)
{
    int unit = 0;

    for (; x >= step && unit < 4; unit++)
        x /= step;
    return unit;
}

static struct ram_text scaled(uint64_t n, double step, const char *const units[5])
{
    struct ram_text text;
    const int unit = fit_unit((double)n, step);
    double x = (double)n;

    for (int i = 0; i < unit; i++)
        x /= step;
    snprintf(text.s, sizeof text.s, unit ? "%.2f %s" : "%.0f %s", x, units[unit]);
    return text;
}

struct ram_text ram_number_short(uint64_t n)
{
    static const char *const units[] = {"", "K", "M", "B", "T"};
    struct ram_text text = scaled(n, 1000, units);
    if (n < 1000)
        text.s[strlen(text.s) - 1] = '\0'; /* no unit, no space */
    return text;
}

struct ram_text ram_number_binary(uint64_t n)
{
    return scaled(n, 1024, binary_units);
}

struct ram_text ram_number_decimal(uint64_t n)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    return scaled(n, 1000, units);
}

const char *ram_number_unit(uint64_t total)
{
    return binary_units[fit_unit((double)total, 1024)];
}

struct ram_text ram_number_in_unit(uint64_t n, uint64_t total)
{
    struct ram_text text;
    double x = (double)n;

    for (int unit = fit_unit((double)total, 1024); unit > 0; unit--)
        x /= 1024;
    if (n && x < 0.01)
        snprintf(text.s, sizeof text.s, "<0.01");
    else
        snprintf(text.s, sizeof text.s, total < 1024 ? "%.0f" : "%.2f", x);
    return text;
}

struct ram_text ram_number_percent(double part, double whole)
{
    struct ram_text text = {""};
    const double percent = whole > 0 ? 100 * part / whole : 0;

    if (percent >= 0.05)
        snprintf(text.s, sizeof text.s, "%.1f", percent);
    else if (part > 0)
        snprintf(text.s, sizeof text.s, "<0.1");
    return text;
}

struct ram_text ram_bits_text(int bits)
{
    struct ram_text text;

    snprintf(text.s, sizeof text.s, "%d", bits);
    return text;
}

void ram_bits_column(struct ram_table *table, int bits)
{
    /* A table borrows its heads. */
    static const char *const heads[RAM_MAX_BITS + 1] = {">0",  ">1",  ">2",  ">3",  ">4",  ">5",
                                                        ">6",  ">7",  ">8",  ">9",  ">10", ">11",
                                                        ">12", ">13", ">14", ">15", ">16"};

    ram_table_column(table, heads[bits]);
}

/* numbers.h - numbers as people read them. */
#ifndef RAM_REPORT_NUMBERS_H
#define RAM_REPORT_NUMBERS_H

#include "base/table.h"
#include "codec/form.h"

#include <stddef.h>
#include <stdint.h>

enum { RAM_NUMBER_SIZE = 32 };
struct ram_text {
    char s[RAM_NUMBER_SIZE];
};

struct ram_text ram_number_count(uint64_t n);   /* 8,190,735,360 */
struct ram_text ram_number_short(uint64_t n);   /* 8.19 B, 5.0 M, 768 */
struct ram_text ram_number_binary(uint64_t n);  /* bytes: 6.05 GiB, 4.24 MiB */
struct ram_text ram_number_decimal(uint64_t n); /* bytes: 6.50 GB, 4.45 MB */

/* Bytes in a column: one unit for all, chosen by their sum; 5.96, or <0.01. */
const char *ram_number_unit(uint64_t total); /* "GiB", ... */
struct ram_text ram_number_in_unit(uint64_t n, uint64_t total);

struct ram_text ram_number_percent(double part, double whole); /* 81.7; "" for nothing; <0.1 */

struct ram_text ram_bits_text(int bits);                 /* "4": a width as a key, */
void ram_bits_column(struct ram_table *table, int bits); /* and as the head of a column */

#endif

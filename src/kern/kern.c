/* kern.c - which table of kernels runs here; see kern.h. */
#include "kern/kern.h"

#include "base/cpu.h"

const int ram_kern_bits[RAM_KERN_N_BITS] = {2, 3, 4, 5, 6, 8};
const int ram_kern_groups[RAM_KERN_N_GROUPS] = {32, 64, 128};

size_t ram_kern_all(const struct ram_kern *tables[8])
{
    const struct ram_cpu *const cpu = ram_cpu();
    size_t n = 0;

    tables[n++] = &ram_kern_ref;
#if defined(__x86_64__)
    if (cpu->avx2)
        tables[n++] = &ram_kern_avx2;
    if (cpu->avx512)
        tables[n++] = &ram_kern_avx512;
#elif defined(__aarch64__)
    if (cpu->neon)
        tables[n++] = &ram_kern_neon;
#else
    (void)cpu;
#endif
    return n;
}

const struct ram_kern *ram_kern(void)
{
    const struct ram_kern *tables[8];
    const size_t n = ram_kern_all(tables);

    return tables[n - 1];
}

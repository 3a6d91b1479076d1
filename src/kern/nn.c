/* nn.c - which table of row loops runs here; see nn.h. */
#include "kern/nn.h"

#include "base/cpu.h"

size_t ram_nn_all(const struct ram_nn *tables[8])
{
    const struct ram_cpu *const cpu = ram_cpu();
    size_t n = 0;

    tables[n++] = &ram_nn_ref;
#if defined(__x86_64__)
    if (cpu->avx2)
        tables[n++] = &ram_nn_avx2;
    if (cpu->avx512)
        tables[n++] = &ram_nn_avx512;
#elif defined(__aarch64__)
    if (cpu->neon)
        tables[n++] = &ram_nn_neon;
#else
    (void)cpu;
#endif
    return n;
}

const struct ram_nn *ram_nn(void)
{
    const struct ram_nn *tables[8];
    const size_t n = ram_nn_all(tables);

    return tables[n - 1];
}

/*
 * plan.c - what a plan decides: width, bytes, name and reason of each unit.
 *
 *   cc plan.c $(pkg-config --cflags --libs ram) -o plan && ./plan plan.json
 */
#include <ram.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct ram_unit_info unit;
    struct ram_plan *plan = NULL;
    struct ram_err err = {0};

    if (argc != 2) {
        fprintf(stderr, "usage: %s PLAN\n", argv[0]);
        return 2;
    }
    const int status = ram_plan_read(&plan, argv[1], &err);
    if (status)
        fprintf(stderr, "%s\n", err.message);
    for (size_t i = 0; !status && ram_plan_unit(plan, i, &unit); i++)
        printf("%2d bits %12llu B  %s (%s)\n", unit.bits, (unsigned long long)unit.bytes, unit.name,
               unit.reason);
    ram_plan_free(plan);
    return ram_exit_code(status);
}

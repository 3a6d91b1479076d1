/*
 * list.c - what the options of libram can be set to: "encoders gptq", a line each.
 *
 *   cc list.c $(pkg-config --cflags --libs ram) -o list && ./list
 */
#include <ram.h>
#include <stdio.h>

int main(void)
{
    static const char *const lists[] = {"methods", "encoders", "profiles", "formats",
                                        "forms",   "efforts",  "tasks",    "families"};

    for (int list = RAM_LIST_METHODS; list <= RAM_LIST_FAMILIES; list++)
        for (size_t i = 0; ram_list_item((enum ram_list)list, i, NULL); i++)
            printf("%s %s\n", lists[list], ram_list_item((enum ram_list)list, i, NULL));
    return 0;
}

/* replay.c - runs a fuzz target over the files of a corpus, in an ordinary test. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return -1;
    fseek(file, 0, SEEK_END);
    const long size = ftell(file);
    rewind(file);
    /* Exactly as large as the input, so that a sanitizer sees the first byte past the end. */
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    const size_t n = data && size > 0 ? fread(data, 1, (size_t)size, file) : 0;
    fclose(file);
    if (data)
        LLVMFuzzerTestOneInput(data, n);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned n_files = 0;

    for (int i = 1; i < argc; i++) {
        struct dirent *entry;
        DIR *dir = opendir(argv[i]);
        if (!dir) {
            perror(argv[i]);
            return 1;
        }
        while ((entry = readdir(dir))) {
            char path[4096];
            if (entry->d_name[0] == '.')
                continue;
            snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
            if (replay_file(path)) {
                perror(path);
                return 1;
            }
            n_files++;
        }
        closedir(dir);
    }
    printf("%u inputs replayed\n", n_files);
    return n_files ? 0 : 1; /* an empty corpus tests nothing */
}

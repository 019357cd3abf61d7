// SPDX-License-Identifier: GPL-2.0-or-later
// Runs one fuzz target over every file of the folders given, in the order of their names, without a fuzzer: `make corpora`.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "proto/base/file.h"

#define INPUT_BYTES_MAX (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    struct note note = {0};
    struct stat facts;
    uint8_t *bytes;
    size_t len;

    if (stat(path, &facts) == 0 && !S_ISREG(facts.st_mode))
        return 0;
    if (file_read(path, INPUT_BYTES_MAX, &bytes, &len, &note)) {
        fprintf(stderr, "replay: %s\n", note.text);
        return -1;
    }
    // Of exactly the input's length, so that a sanitizer sees every byte read past its end.
    uint8_t *input = malloc(len ? len : 1);
    if (!input) {
        free(bytes);
        fprintf(stderr, "replay: out of memory\n");
        return -1;
    }
    for (size_t i = 0; i < len; i++)
        input[i] = bytes[i];
    free(bytes);
    (void)LLVMFuzzerTestOneInput(input, len);
    free(input);
    return 1;
}

// How many inputs there were; none is a failure.
static int replay_folder(const char *folder)
{
    struct dirent **entries;
    int found = scandir(folder, &entries, NULL, alphasort);
    int count = 0;

    if (found < 0) {
        fprintf(stderr, "replay: %s: the folder cannot be read; every fuzzer needs its corpus there\n", folder);
        return -1;
    }
    for (int i = 0; i < found; i++) {
        char path[4096];
        int done = 0;
        if (entries[i]->d_name[0] != '.' && count >= 0) {
            snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
            // Named before it runs: a crash is the last line's.
            printf("%s\n", path);
            fflush(stdout);
            done = replay_file(path);
        }
        count = done < 0 ? -1 : count + done;
        free(entries[i]);
    }
    free(entries);
    if (count == 0)
        fprintf(stderr, "replay: %s: the folder has no inputs\n", folder);
    return count;
}

int main(int argc, char **argv)
{
    int status = argc > 1 ? 0 : 1, total = 0;

    for (int i = 1; i < argc; i++) {
        int count = replay_folder(argv[i]);
        if (count <= 0)
            status = 1;
        else
            total += count;
    }
    printf("%d inputs\n", total);
    return status;
}

/*
 * csnn [FILE]: classifies the samples of a file, or of the standard input, and prints one line for each.
 *
 * A sample is CSNN_FRAMES frames of CSNN_INPUTS raw bytes in height-width-channel order; any number of samples may
 * follow one another. Exit code 0, or 2 after one line on the standard error.
 */
#include <stdio.h>

#include "csnn.h"

#define SAMPLE_BYTES ((size_t)CSNN_FRAMES * CSNN_INPUTS)

static struct csnn_state state;
static uint8_t sample[SAMPLE_BYTES];

static void print(int class, const int32_t counts[CSNN_CLASSES])
{
    printf("class %d, spike counts", class);
    for (int i = 0; i < CSNN_CLASSES; i++)
        printf(" %ld", (long)counts[i]);
    putchar('\n');
}

/* perror, preceded by the program's name. */
static int fail(const char *what)
{
    fputs("csnn: ", stderr);
    perror(what);
    return 2;
}

static int classify_all(FILE *file, const char *name)
{
    int32_t counts[CSNN_CLASSES];
    unsigned long samples = 0;
    size_t size;

    while ((size = fread(sample, 1, SAMPLE_BYTES, file)) == SAMPLE_BYTES) {
        print(csnn_classify(&state, sample, counts), counts);
        samples++;
    }
    if (ferror(file))
        return fail(name);
    if (size > 0 || samples == 0) {
        fprintf(stderr, "csnn: %s: %lu bytes after %lu samples, expected samples of %lu bytes\n", name,
                (unsigned long)size, samples, (unsigned long)SAMPLE_BYTES);
        return 2;
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "standard input";
    FILE *file = stdin;

    if (argc > 2) {
        fputs("usage: csnn [FILE]\n", stderr);
        return 2;
    }
    if (argc > 1 && !(file = fopen(name, "rb")))
        return fail(name);
    const int code = classify_all(file, name);
    fclose(file);
    if (fflush(stdout) || ferror(stdout))
        return fail("standard output");
    return code;
}

/*
 * csnn [FILE]: classifies the samples in a file, or on standard input, and prints one line for each.
 *
 *     A sample is CSNN_FRAMES frames of CSNN_INPUTS raw bytes in height-width-channel order. Samples follow one another
 *     without separators.
 *
 * csnn --events [--window-us N] [FILE]: classifies the events of a camera, see events.c.
 * csnn --help: prints the usage.
 *
 * A line is `class 3, spike counts ...`, with the class's name from classes.h, or `class -, ...` if the answer is
 * unknown, see csnn_class.
 * Networks that read out membranes print `class 3, scores ...`.
 * The exit code is 0, or 2 after one line on standard error.
 */
#include <stdlib.h>
#include <string.h>

#include "program.h"

#define SAMPLE_BYTES ((size_t)CSNN_FRAMES * CSNN_INPUTS)

static struct csnn_state state;
static uint8_t sample[SAMPLE_BYTES];

static int classify_samples(FILE *file, const char *name)
{
    csnn_score scores[CSNN_CLASSES];
    unsigned long samples = 0;
    size_t size;

    while ((size = fread(sample, 1, SAMPLE_BYTES, file)) == SAMPLE_BYTES) {
        csnn_classify(&state, sample, scores);
        print_answer(scores);
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

static const char usage[] = "usage: csnn [FILE], or csnn --events [--window-us N] [FILE]\n";

#define LONGEST_US 1000000000000000LL /* 31 years: no sum of times overflows */

/* The value of --window-us in microseconds; 0 if it's invalid or too short for the frames. */
static int64_t microseconds(const char *text)
{
    char *end;
    const long long found = strtoll(text, &end, 10);

    return *text && !*end && found >= CSNN_WINDOW_FRAMES && found <= LONGEST_US ? (int64_t)found : 0;
}

int main(int argc, char **argv)
{
    const char *name = "standard input";
    FILE *file = stdin;
    int64_t window_us = 0;
    int events = 0, at = 1;

    if (argc == 2 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")))
        return fputs(usage, stdout) < 0 || fflush(stdout) ? fail("standard output") : 0;
    if (at < argc && !strcmp(argv[at], "--events")) {
        events = 1;
        at++;
        if (at + 1 < argc && !strcmp(argv[at], "--window-us")) {
            if (!(window_us = microseconds(argv[at + 1]))) {
                fprintf(stderr, "csnn: --window-us %s: expected a whole number from %d, one for each frame, to %lld\n",
                        argv[at + 1], CSNN_WINDOW_FRAMES, LONGEST_US);
                return 2;
            }
            at += 2;
        }
    }
    if (argc > at + 1 || (at < argc && argv[at][0] == '-')) {
        fputs(usage, stderr);
        return 2;
    }
    if (at < argc) {
        name = argv[at];
        if (!(file = fopen(name, "rb")))
            return fail(name);
    }
    const int code = events ? classify_events(file, name, window_us) : classify_samples(file, name);
    fclose(file);
    if (fflush(stdout) || ferror(stdout))
        return fail("standard output");
    return code;
}

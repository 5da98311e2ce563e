/*
 * csnn [FILE]: classifies the samples in a file, or on standard input, and prints one line for each.
 *
 *     A sample is CSNN_FRAMES frames of CSNN_INPUTS raw bytes in height-width-channel order. Samples follow one another
 *     without separators.
 *
 * csnn --events [--window-us N] [FILE]: classifies the events of a camera, see events.c.
 * csnn --early ...: ends a window as soon as its remaining steps can't change the class, and prints the scores so far and
 *     the number of steps, too. Only for networks that count spikes.
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

/* As csnn_classify, until the class is decided. Returns the number of steps. */
static int32_t classify_early(csnn_score scores[CSNN_CLASSES])
{
    int32_t t = 0;

    csnn_reset(&state);
    memset(scores, 0, CSNN_CLASSES * sizeof *scores);
    for (; !csnn_decided(scores, CSNN_TIME_STEPS - t); t++) {
        if (t < CSNN_FRAMES)
            csnn_present(&state, sample + (size_t)t * CSNN_INPUTS);
        csnn_step(&state);
        csnn_score_step(&state, scores);
    }
    return t;
}

static int classify_samples(FILE *file, const char *name, int early)
{
    csnn_score scores[CSNN_CLASSES];
    int32_t steps = 0;
    unsigned long samples = 0;
    size_t size;

    while ((size = fread(sample, 1, SAMPLE_BYTES, file)) == SAMPLE_BYTES) {
        if (early)
            steps = classify_early(scores);
        else
            csnn_classify(&state, sample, scores);
        csnn_print(scores, steps);
        samples++;
    }
    if (ferror(file))
        return csnn_fail(name);
    if (size > 0 || samples == 0) {
        fprintf(stderr, "csnn: %s: has %lu bytes after sample %lu, expected samples of %lu bytes\n", name,
                (unsigned long)size, samples, (unsigned long)SAMPLE_BYTES);
        return 2;
    }
    return 0;
}

static const char usage[] = "usage: csnn [--early] [FILE], or csnn [--early] --events [--window-us N] [FILE]\n";

#define LONGEST_US 1000000000000000LL /* 31 years: no sum of times overflows */

/* The value of --window-us in microseconds; 0 if it's invalid or too short for the frames. */
static int64_t microseconds(const char *text)
{
    char *end;
    const long long us = strtoll(text, &end, 10);

    return *text && !*end && us >= CSNN_WINDOW_FRAMES && us <= LONGEST_US ? (int64_t)us : 0;
}

int main(int argc, char **argv)
{
    const char *name = "standard input";
    FILE *file = stdin;
    int64_t window_us = 0;
    int early = 0, events = 0, at = 1;

    if (argc == 2 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")))
        return fputs(usage, stdout) < 0 || fflush(stdout) ? csnn_fail("standard output") : 0;
    if (at < argc && !strcmp(argv[at], "--early")) {
        if (CSNN_READS_MEMBRANES) {
            fputs("csnn: --early: this network's class is read from membranes, expected one from spikes\n", stderr);
            return 2;
        }
        early = 1;
        at++;
    }
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
            return csnn_fail(name);
    }
    const int code = events ? csnn_classify_events(file, name, window_us, early) : classify_samples(file, name, early);
    fclose(file);
    if (fflush(stdout) || ferror(stdout))
        return csnn_fail("standard output");
    return code;
}

/* What the files of the program share. */
#ifndef CSNN_PROGRAM_H
#define CSNN_PROGRAM_H

#include <stdio.h>

#include "classes.h"
#include "csnn.h"

/* Prints the name of the class, `-` if none spiked, and the scores of all: 9 digits name any float, and any count. */
static inline void print_answer(const csnn_score scores[CSNN_CLASSES])
{
    const int answer = csnn_class(scores);

    fputs("class ", stdout);
    fputs(answer < 0 ? "-" : csnn_class_names[answer], stdout);
    fputs(CSNN_READS_MEMBRANES ? ", scores" : ", spike counts", stdout);
    for (int i = 0; i < CSNN_CLASSES; i++)
        printf(" %.9g", (double)scores[i]);
    putchar('\n');
}

/* perror, preceded by the program's name; returns exit code 2. */
static inline int fail(const char *what)
{
    fputs("csnn: ", stderr);
    perror(what);
    return 2;
}

/*
 * Classifies the recordings of an event camera and prints a line for each window. Returns the exit code.
 *
 * name: of the file, for errors.
 * window_us: microseconds of a window; 0: the whole file is one.
 */
int classify_events(FILE *file, const char *name, int64_t window_us);

#endif

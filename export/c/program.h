/* Shared by the program's source files. */
#ifndef CSNN_PROGRAM_H
#define CSNN_PROGRAM_H

#include <stdio.h>

#include "classes.h"
#include "csnn.h"

/* Prints the class's name, or `-` if it's unknown, and all scores; 9 digits are enough for any float or count. */
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

/* Prints a perror message with the program's name in front; returns exit code 2. */
static inline int fail(const char *what)
{
    fputs("csnn: ", stderr);
    perror(what);
    return 2;
}

/*
 * Classifies the recordings of an event camera and prints a line for each window. Returns the exit code.
 *
 * name: the file's name, for error messages.
 * window_us: length of a window in microseconds; 0: the whole file is one window.
 */
int classify_events(FILE *file, const char *name, int64_t window_us);

#endif

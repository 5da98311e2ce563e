/* Shared by the program's source files. */
#ifndef CSNN_PROGRAM_H
#define CSNN_PROGRAM_H

#include <stdio.h>

#include "classes.h"
#include "csnn.h"

/*
 * Prints the class's name, or `-` if it's unknown, and all scores; 9 digits are enough for any float or count.
 *
 * steps: after how many of a window's steps it was decided, which is printed, too; 0: it isn't.
 */
static inline void csnn_print(const csnn_score scores[CSNN_CLASSES], int32_t steps)
{
    const int answer = csnn_class(scores);

    fputs("class ", stdout);
    fputs(answer < 0 ? "-" : csnn_class_names[answer], stdout);
    fputs(CSNN_READS_MEMBRANES ? ", scores" : ", spike counts", stdout);
    for (int i = 0; i < CSNN_CLASSES; i++)
        printf(" %.9g", (double)scores[i]);
    if (steps)
        printf(", after %ld of %ld steps", (long)steps, (long)CSNN_TIME_STEPS);
    putchar('\n');
}

/* Prints a perror message with the program's name in front; returns exit code 2. */
static inline int csnn_fail(const char *what)
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
 * early: 1: prints a line as soon as the rest of the window can't change the class, and doesn't run the rest.
 */
int csnn_classify_events(FILE *file, const char *name, int64_t window_us, int early);

#endif

/* What the files of the program share. */
#ifndef CSNN_PROGRAM_H
#define CSNN_PROGRAM_H

#include <stdio.h>

#include "csnn.h"

/* Prints the class with the most output spikes, the lowest of those if there are several, and all counts. */
void print_answer(const int32_t counts[CSNN_CLASSES]);

/* perror, preceded by the program's name; returns exit code 2. */
int fail(const char *what);

/*
 * Classifies the recordings of an event camera and prints a line for each window. Returns the exit code.
 *
 * name: of the file, for errors.
 * window_us: microseconds of a window; 0: the whole file is one.
 */
int classify_events(FILE *file, const char *name, int64_t window_us);

#endif

/*
 * A convolutional spiking neural network with its trained weights. C99, no heap, no static state, no
 * library but what compilers call by themselves: memset and memcpy, and on a processor without a floating-point unit,
 * such as a Cortex-M0+, the compiler's own functions for float and for division (libgcc has them).
 *
 *     static struct csnn_state state;
 *     int answer = csnn_classify(&state, image, counts);
 *
 * or step by step, for a stream of frames:
 *
 *     csnn_reset(&state);
 *     for (;;) {
 *         csnn_present(&state, frame);
 *         csnn_step(&state);
 *         events = csnn_spikes(&state, CSNN_LAYERS - 1, &count);
 *     }
 *
 * Every neuron has a membrane U, every layer a decay beta and a threshold theta. With H(x) = 1 where x > 0, else 0, a
 * step computes, for an input current I:
 *
 *     R[t] = H(U[t-1] - theta)
 *     U[t] = beta U[t-1] + I[t] - R[t] theta      or, as network.h says, beta (1 - R[t]) U[t-1] + I[t], or no reset
 *     S[t] = H(U[t] - theta)                       the spikes
 *
 * Each operation on U is rounded by itself: csnn.c keeps compilers from fusing beta U and the sum after it. The currents
 * I don't round at all, for weights are multiples of powers of two, and inputs whole multiples of 1 / CSNN_INPUT_SCALE, a
 * power of two, at most CSNN_INPUT_MOST of them. So every compiler and processor that keeps to IEEE 754 finds the trained
 * network's membranes, bit for bit.
 *
 * All calls work on the caller's `struct csnn_state` alone: use one per thread. Memory: network.h says what the weights
 * and a state take; the code takes about 5 KB and the stack less than 1 KB (GCC 12, -O3, x86-64).
 */
#ifndef CSNN_H
#define CSNN_H

#include <stddef.h>
#include <stdint.h>

#include "network.h" /* the sizes of this network */

#ifdef __cplusplus
extern "C" {
#endif

/* Everything that changes. Callers may read it; what they may write is behind csnn_membranes. */
struct csnn_state {
    float membrane[CSNN_NEURONS];               /* U[t] of every layer, one layer after another */
    float drive[CSNN_FIRST_NEURONS];            /* the first layer's input current, from the frame presented */
    csnn_sum sum[CSNN_WIDEST];                  /* scratch: sums of one pixel's neurons */
    csnn_sum corner[CSNN_WIDEST_POOLED];        /* scratch: those at one corner of the pooling window */
    csnn_index event[CSNN_NEURONS];             /* every layer's spikes, ascending */
    csnn_index begin[CSNN_CELLS];               /* where each pixel's spikes begin */
};

/* Sets all membranes to 0 and removes the frame: the state before the first step. */
void csnn_reset(struct csnn_state *state);

/*
 * Sets the input until the next call: the frame counts as value / CSNN_INPUT_SCALE at every step.
 *
 * frame: CSNN_INPUTS values in height-width-channel order. An image that does not change need be presented once only.
 */
void csnn_present(struct csnn_state *state, const uint8_t *frame);

/* Advances all layers by one time step. */
void csnn_step(struct csnn_state *state);

/*
 * The neurons of a layer (0 to CSNN_LAYERS - 1) that spiked in the latest step: their indices in height-width-channel
 * order, ascending; *count is set to how many there are. In the last layer an index is a class.
 */
const csnn_index *csnn_spikes(const struct csnn_state *state, int layer, int32_t *count);

/*
 * The membranes U[t] of a layer, before the reset that its latest spikes cause, in height-width-channel order. Callers
 * may set them, before any step; *count is set to how many there are.
 */
float *csnn_membranes(struct csnn_state *state, int layer, int32_t *count);

/* The class with the most output spikes, the lowest of those if there are several; -1 if no class spiked. */
int csnn_class(const int32_t counts[CSNN_CLASSES]);

/*
 * Resets, and runs the whole window.
 *
 * sample: CSNN_FRAMES frames. If that is 1, it is shown for all CSNN_TIME_STEPS steps, else each for one step.
 * counts: set to the output spikes of every class.
 *
 * Returns csnn_class(counts).
 */
int csnn_classify(struct csnn_state *state, const uint8_t *sample, int32_t counts[CSNN_CLASSES]);

/* sizeof(struct csnn_state), for callers in other languages. */
size_t csnn_state_size(void);

#ifdef __cplusplus
}
#endif

#endif

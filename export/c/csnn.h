/*
 * A convolutional spiking neural network with its trained weights. C99, no heap, no static state, no
 * library but what compilers call by themselves: memset and memcpy, and on a processor without a floating-point unit,
 * such as a Cortex-M0+, the compiler's own functions for float and for division (libgcc has them).
 *
 *     static struct csnn_state state;
 *     int answer = csnn_classify(&state, image, scores);
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
 * Every neuron has a membrane U, and some have more states. A step computes them from the states before it and an input
 * current I, as neurons.h has it. For example, with R[t] = 1 where U[t-1] is above the threshold theta, else 0:
 *
 *     U[t] = beta U[t-1] + I[t] - R[t] theta
 *
 * and a neuron spikes where U[t] is above theta. Each operation on a state is rounded by itself: csnn.c keeps compilers
 * from fusing beta U and the sum after it. The currents I don't round at all: weights are multiples of powers of two, and
 * inputs whole multiples of 1 / CSNN_INPUT_SCALE, a power of two, at most CSNN_INPUT_MOST of them. So every compiler and
 * processor that keeps to IEEE 754 finds the trained network's membranes, bit for bit.
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

/* Everything that changes. Callers may read it; what they may write is behind csnn_values. */
struct csnn_state {
    float value[CSNN_STATES * CSNN_NEURONS];    /* one state after another: of all layers' neurons */
    float drive[CSNN_FIRST_NEURONS];            /* the first layer's input current, from the frame presented */
    csnn_sum sum[CSNN_WIDEST];                  /* scratch: sums of one pixel's neurons */
    csnn_sum corner[CSNN_WIDEST_POOLED];        /* scratch: those at one corner of the pooling window */
    csnn_index event[CSNN_NEURONS + CSNN_POOLED]; /* every layer's spikes, ascending; scratch: one layer's pooled ones */
    csnn_index begin[CSNN_CELLS + CSNN_POOLED_CELLS]; /* where each pixel's spikes begin */
};

/* Sets all states to 0 and removes the frame: the state before the first step. */
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
 * A state of a layer's neurons (CSNN_STATE_MEM or another of network.h) in height-width-channel order; *count is set to
 * how many neurons there are. Callers may set it, before any step.
 */
float *csnn_values(struct csnn_state *state, int number, int layer, int32_t *count);

/* The membranes U[t] of a layer: csnn_values of CSNN_STATE_MEM, before the reset that the latest spikes cause. */
float *csnn_membranes(struct csnn_state *state, int layer, int32_t *count);

/*
 * Adds the latest step to the scores, which start at 0: for each class 1 if it spiked, or its membrane if
 * CSNN_READS_MEMBRANES. Sums of membranes round, so add every step as soon as it's made.
 */
void csnn_score_step(const struct csnn_state *state, csnn_score scores[CSNN_CLASSES]);

/* The class with the highest score, the lowest if several have it; -1 if scores are counts of spikes, and all are 0. */
int csnn_class(const csnn_score scores[CSNN_CLASSES]);

/*
 * Resets, and runs the whole window.
 *
 * sample: CSNN_FRAMES frames. If that is 1, it is shown for all CSNN_TIME_STEPS steps, else each for one step.
 * scores: set to the sum of all steps, see csnn_score_step.
 *
 * Returns csnn_class(scores).
 */
int csnn_classify(struct csnn_state *state, const uint8_t *sample, csnn_score scores[CSNN_CLASSES]);

/* sizeof(struct csnn_state), for callers in other languages. */
size_t csnn_state_size(void);

#ifdef __cplusplus
}
#endif

#endif

/*
 * A convolutional spiking neural network with its trained weights. C99, no heap, no static state. It needs no
 * library functions except those that compilers call implicitly: memset and memcpy, and on processors without a
 * floating-point unit, such as a Cortex-M0+, the float and division routines of libgcc or its equivalent.
 *
 *     static struct csnn_state state;
 *     int answer = csnn_classify(&state, image, scores);
 *
 * or step by step, for a stream of frames, until no later one can change the answer:
 *
 *     csnn_reset(&state);
 *     memset(scores, 0, sizeof scores);
 *     for (t = 0; !csnn_decided(scores, CSNN_TIME_STEPS - t); t++) {
 *         csnn_present(&state, next_frame());
 *         csnn_step(&state);
 *         csnn_score_step(&state, scores);
 *     }
 *     answer = csnn_class(scores);
 *
 * Every neuron has a membrane U, and some have more states. A step updates them from the previous states and an input
 * current I; neurons.h has the equations. For example, with R[t] = 1 if U[t-1] is above the threshold theta, else 0:
 *
 *     U[t] = beta U[t-1] + I[t] - R[t] theta
 *
 * and a neuron spikes if U[t] is above theta. Each operation on a state is rounded separately: csnn.c keeps compilers
 * from fusing beta U with the sum that follows. The currents I are exact: weights are multiples of powers of two, and
 * inputs are whole multiples of 1 / CSNN_INPUT_SCALE, a power of two, up to CSNN_INPUT_MOST. So with any compiler and
 * processor that follow IEEE 754, the membranes are the trained network's, bit for bit.
 *
 * Arguments aren't checked, unless csnn.c is compiled with -DCSNN_DEBUG: then a null pointer, a number of a layer or a
 * state that doesn't exist, or a byte above CSNN_INPUT_MOST fails an assert. Without <assert.h>, define
 * CSNN_ASSERT(condition) instead, as in -D'CSNN_ASSERT(x)=((x) ? (void)0 : stop())'.
 *
 * Calls only access the caller's `struct csnn_state`, so use one per thread. Memory: network.h has the sizes of the
 * weights and of a state; the code takes 8 to 12 KB and the stack about 1 KB (GCC 12, -O3, x86-64).
 */
#ifndef CSNN_H
#define CSNN_H

#include <stddef.h>
#include <stdint.h>

#include "network.h" /* the sizes of this network */

#ifdef __cplusplus
extern "C" {
#endif

/* All mutable data. Callers may read it, but should only write through csnn_values. */
struct csnn_state {
    float value[CSNN_STATES * CSNN_NEURONS];    /* one state after another, each of all layers' neurons */
    float drive[CSNN_DRIVEN];                   /* input currents from the presented frame */
    csnn_sum sum[CSNN_WIDEST * CSNN_MOST_SOURCES]; /* scratch: sums of one pixel's neurons */
    csnn_sum corner[CSNN_WIDEST_POOLED];        /* scratch: sums at one position of the pooling window */
    csnn_index event[CSNN_LISTED];              /* all layers' spikes, ascending; scratch: copies of them */
    csnn_index begin[CSNN_CELLS];               /* where each pixel's spikes begin */
};

/* Sets all states to 0 and removes the frame: the state before the first step. */
void csnn_reset(struct csnn_state *state);

/* Lists the spikes that follow from the states, which recurrent layers read: call it after writing to states. It
 * leaves the outputs of earlier steps as they are, see csnn_past. */
void csnn_restore(struct csnn_state *state);

/*
 * Sets the input for all steps until the next call: value / CSNN_INPUT_SCALE at every step.
 *
 * frame: CSNN_INPUTS values in height-width-channel order. A static image needs to be presented only once.
 */
void csnn_present(struct csnn_state *state, const uint8_t *frame);

/* Advances all layers by one time step. */
void csnn_step(struct csnn_state *state);

/*
 * The neurons of a layer (0 to CSNN_LAYERS - 1) that spiked in the latest step: their indices in height-width-channel
 * order, ascending; *count is set to their number. In the last layer, an index is a class.
 */
const csnn_index *csnn_spikes(const struct csnn_state *state, int layer, int32_t *count);

#if CSNN_PAST
/*
 * What a node gave in an earlier step, for delays: network.h has the meaning of `number` (0 to CSNN_PAST - 1). The
 * result is a list of its events: their indices in height-width-channel order, ascending by pixel, as often as the value
 * is a multiple of its step. *begin is set to where each pixel's events start, and, last, to their number. Callers may
 * write to both between steps.
 */
csnn_index *csnn_past(struct csnn_state *state, int number, csnn_index **begin);
#endif

/*
 * A state of a layer's neurons (CSNN_STATE_MEM or another from network.h) in height-width-channel order; *count is set
 * to the number of neurons. Callers may write to it between steps, and then call csnn_restore.
 */
float *csnn_values(struct csnn_state *state, int number, int layer, int32_t *count);

/* The membranes U[t] of a layer: csnn_values of CSNN_STATE_MEM, before the latest spikes reset them. */
float *csnn_membranes(struct csnn_state *state, int layer, int32_t *count);

/*
 * Adds the latest step to the scores, which start at 0: for each class 1 if it spiked, or its membrane if
 * CSNN_READS_MEMBRANES. Sums of membranes round, so call this right after every step.
 */
void csnn_score_step(const struct csnn_state *state, csnn_score scores[CSNN_CLASSES]);

/* The highest score minus the second highest; 0 on ties. */
csnn_score csnn_margin(const csnn_score scores[CSNN_CLASSES]);

/*
 * The class with the highest score; ties go to the lowest class. -1 if the answer is unknown: csnn_margin is below
 * CSNN_MARGIN, or scores are spike counts and all are 0.
 */
int csnn_class(const csnn_score scores[CSNN_CLASSES]);

/*
 * Whether no more than `remaining` steps can change csnn_class(scores): no other class catches up even if it spikes in
 * each of them. Membranes have no such limit, so with CSNN_READS_MEMBRANES, only 0 steps can't.
 */
int csnn_decided(const csnn_score scores[CSNN_CLASSES], int32_t remaining);

/*
 * Resets the state and runs the whole window.
 *
 * sample: CSNN_FRAMES frames. A single frame is shown for all CSNN_TIME_STEPS steps; several, for one step each.
 * scores: set to the sum over all steps, see csnn_score_step.
 *
 * Returns csnn_class(scores).
 */
int csnn_classify(struct csnn_state *state, const uint8_t *sample, csnn_score scores[CSNN_CLASSES]);

/* For callers in other languages, which can't use macros: each returns the macro of its name in network.h. */
const char *csnn_version(void);
int32_t csnn_height(void);
int32_t csnn_width(void);
int32_t csnn_channels(void);
int32_t csnn_inputs(void);
int32_t csnn_input_most(void);
int32_t csnn_frames(void);
int32_t csnn_time_steps(void);
int32_t csnn_classes(void);
int32_t csnn_layers(void);
int32_t csnn_states(void);
int32_t csnn_reads_membranes(void);

/* sizeof(struct csnn_state), which needs the alignment of a float, and sizeof(csnn_index). A csnn_score has 4 bytes. */
size_t csnn_state_size(void);
size_t csnn_index_size(void);

#ifdef __cplusplus
}
#endif

#endif

/*
 * Event-driven inference: the work of a layer follows the spikes of the layer before it.
 *
 * The spikes of a layer are a list of neuron indices in height-width-channel order, and `begin` says where in that list
 * the spikes of each pixel begin. So the spikes in one row of a convolution's window are one run of the list, and each
 * names one row of weights, which is added to the currents of all output channels. Where nothing spikes, nothing is
 * added; only the values of the input frame are multiplied, when it is presented.
 *
 * A linear layer is a convolution whose kernel covers the whole of its input: one output pixel, no padding, no pooling.
 */
#include "csnn.h"

#include <float.h>
#include <stdbool.h>

#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
#error "float must be computed in float, or spikes near the threshold change (on 32-bit x86: -msse2 -mfpmath=sse)"
#endif
#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__)
#error "-ffast-math and its parts change sums and quotients, and with them spikes: compile without"
#endif
#ifdef __cplusplus
#error "csnn.c is C: compile it with a C compiler (g++: -x c); csnn.h can be included in C++"
#endif

/* The input, or the neurons of a layer. */
struct map {
    int32_t height, width, channels;
    int32_t first_event; /* its events start here in csnn_state.event */
    int32_t first_begin; /* its pixels start here in csnn_state.begin: height * width of them, and the end */
};

#ifdef CSNN_INT8
#define CSNN_SCALED 1
typedef int8_t csnn_weight; /* counts times the scale of its output channel, a power of two */
#else
#define CSNN_SCALED 0
typedef float csnn_weight;
#endif

struct layer {
    const csnn_weight *weight; /* [kernel_height][kernel_width][channels in][channels out] */
#ifdef CSNN_INT8
    const float *scale; /* [channels out] */
#endif
    const float *bias; /* [channels out] */
    int32_t kernel_height, kernel_width;
    int32_t stride;  /* pixels from one position of the kernel to the next */
    int32_t padding; /* zeros around the input */
    int32_t pool, pool_stride; /* positions in a row of the pooling window, and from one window to the next; 1: none */
    int32_t pool_is_max;       /* 1: maximum, 0: average; what no whole window fits into at the edges is dropped */
    float beta, threshold;
};

/* Either defines maps[CSNN_LAYERS + 1], the input first, and layers[CSNN_LAYERS]. */
#ifdef CSNN_INT8
#include "weights_int8.h"
#else
#include "weights.h"
#endif

/*
 * Weights and inputs are whole multiples of powers of two, with so few bits that no product or sum of them rounds: their
 * order and fused operations change nothing. But beta U rounds, before I is added, as in the trained network. A compiler
 * may fuse both (-ffp-contract=fast does, on processors that can), which rounds once. No macro reveals that, and not every
 * build is the Makefile's, which forbids it. So the product is multiplied by a 1 that the compiler doesn't know to be one:
 * what it can fuse is then 1 * product + sum, which rounds to the same bits.
 */
static const volatile float unknown_one = 1.0f;

/* The weights [channels out] of one input under the kernel, counted in height-width-channel order. */
static const csnn_weight *row(const struct layer *layer, int32_t input, int32_t channels_out)
{
    return layer->weight + (size_t)input * (size_t)channels_out;
}

/* sum += one */
static void add(float *restrict sum, const csnn_weight *restrict one, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        sum[i] += one[i];
}

/* The same as add(sum, one) and then add(sum, two), with half the traffic to and from the memory of sum. */
static void add_two(float *restrict sum, const csnn_weight *restrict one, const csnn_weight *restrict two,
                    int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        sum[i] = sum[i] + one[i] + two[i];
}

/* sum += value * one */
static void add_scaled(float *restrict sum, const csnn_weight *restrict one, float value, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        sum[i] += value * one[i];
}

/*
 * The convolution at one position, with the bias: sum[channels out].
 *
 * top, left: where the kernel's window starts in the input; negative in the padding.
 * frame: the values of the events, if the input of this layer is a frame; NULL for spikes.
 */
static void convolve(const struct csnn_state *state, int number, int32_t top, int32_t left, const uint8_t *frame,
                     float *sum)
{
    const struct layer *layer = &layers[number];
    const struct map *in = &maps[number];
    const int32_t channels = maps[number + 1].channels;
    const csnn_index *event = state->event + in->first_event;
    const csnn_index *begin = state->begin + in->first_begin;
    const int32_t from = left > 0 ? left : 0;
    const int32_t to = left + layer->kernel_width < in->width ? left + layer->kernel_width : in->width;

    for (int32_t c = 0; c < channels; c++)
        sum[c] = CSNN_SCALED ? 0.0f : layer->bias[c];
    for (int32_t i = 0; i < layer->kernel_height; i++) {
        const int32_t y = top + i;
        if (y < 0 || y >= in->height)
            continue;
        /* Input n of the map is under row n + offset of the weights. */
        const int32_t offset = i * layer->kernel_width * in->channels - (y * in->width + left) * in->channels;
        const csnn_index *e = event + begin[y * in->width + from], *end = event + begin[y * in->width + to];
        if (frame)
            for (; e < end; e++)
                add_scaled(sum, row(layer, *e + offset, channels), (float)frame[*e] / CSNN_INPUT_SCALE, channels);
        for (; end - e >= 2; e += 2)
            add_two(sum, row(layer, e[0] + offset, channels), row(layer, e[1] + offset, channels), channels);
        if (e < end)
            add(sum, row(layer, *e + offset, channels), channels);
    }
#ifdef CSNN_INT8
    for (int32_t c = 0; c < channels; c++)
        sum[c] = sum[c] * layer->scale[c] + layer->bias[c];
#endif
}

/* The input currents of one pixel's neurons, convolved and pooled: current[channels out]. */
static void gather(struct csnn_state *state, int number, int32_t y, int32_t x, const uint8_t *frame, float *current)
{
    const struct layer *layer = &layers[number];
    const int32_t channels = maps[number + 1].channels;
    const int32_t stride = layer->stride, apart = layer->pool_stride * stride;
    const int32_t top = y * apart - layer->padding, left = x * apart - layer->padding;

    convolve(state, number, top, left, frame, current);
    if (layer->pool == 1)
        return;
    for (int32_t place = 1; place < layer->pool * layer->pool; place++) {
        float *corner = state->corner;
        convolve(state, number, top + place / layer->pool * stride, left + place % layer->pool * stride, frame, corner);
        for (int32_t c = 0; c < channels; c++) {
            if (layer->pool_is_max)
                current[c] = corner[c] > current[c] ? corner[c] : current[c];
            else
                current[c] += corner[c];
        }
    }
    if (!layer->pool_is_max)
        for (int32_t c = 0; c < channels; c++)
            current[c] /= (float)(layer->pool * layer->pool);
}

/* One step of one pixel's neurons: U[t] from U[t-1] and I[t], as csnn.h has it. */
static void fire(const struct layer *layer, float *restrict membrane, const float *restrict current, int32_t count)
{
    const float beta = layer->beta, threshold = layer->threshold, unit = unknown_one;

    for (int32_t c = 0; c < count; c++) {
        const float reset = membrane[c] > threshold ? 1.0f : 0.0f;
        if (CSNN_RESET_SUBTRACT)
            membrane[c] = unit * (beta * membrane[c]) + current[c] - reset * threshold; /* reset * threshold is exact */
        else if (CSNN_RESET_ZERO)
            membrane[c] = unit * (beta * ((1.0f - reset) * membrane[c])) + current[c];
        else
            membrane[c] = unit * (beta * membrane[c]) + current[c];
    }
}

void csnn_reset(struct csnn_state *state)
{
    for (int32_t i = 0; i < CSNN_NEURONS; i++)
        state->membrane[i] = 0.0f;
    for (int32_t i = 0; i < CSNN_FIRST_NEURONS; i++)
        state->drive[i] = 0.0f;
    for (int32_t i = 0; i < CSNN_CELLS; i++)
        state->begin[i] = 0;
}

void csnn_present(struct csnn_state *state, const uint8_t *frame)
{
    const struct map *in = &maps[0], *out = &maps[1];
    int32_t count = 0;

    for (int32_t i = 0; i < CSNN_INPUTS; i++) {
        if (i % in->channels == 0)
            state->begin[i / in->channels] = (csnn_index)count;
        if (frame[i])
            state->event[count++] = (csnn_index)i;
    }
    state->begin[in->height * in->width] = (csnn_index)count;

    for (int32_t y = 0; y < out->height; y++)
        for (int32_t x = 0; x < out->width; x++)
            gather(state, 0, y, x, frame, state->drive + (y * out->width + x) * out->channels);
}

void csnn_step(struct csnn_state *state)
{
    for (int number = 0; number < CSNN_LAYERS; number++) {
        const struct layer *layer = &layers[number];
        const struct map *out = &maps[number + 1];
        csnn_index *event = state->event + out->first_event;
        csnn_index *begin = state->begin + out->first_begin;
        float *membrane = state->membrane + (out->first_event - CSNN_INPUTS);
        int32_t count = 0, neuron = 0;

        for (int32_t pixel = 0; pixel < out->height * out->width; pixel++) {
            const float *current = number == 0 ? state->drive + neuron : state->current;
            if (number > 0)
                gather(state, number, pixel / out->width, pixel % out->width, NULL, state->current);
            begin[pixel] = (csnn_index)count;
            fire(layer, membrane + neuron, current, out->channels);
            for (int32_t end = neuron + out->channels; neuron < end; neuron++) { /* without a branch to mispredict */
                event[count] = (csnn_index)neuron;
                count += membrane[neuron] > layer->threshold;
            }
        }
        begin[out->height * out->width] = (csnn_index)count;
    }
}

const csnn_index *csnn_spikes(const struct csnn_state *state, int layer, int32_t *count)
{
    const struct map *out = &maps[layer + 1];
    *count = state->begin[out->first_begin + out->height * out->width];
    return state->event + out->first_event;
}

float *csnn_membranes(struct csnn_state *state, int layer, int32_t *count)
{
    const struct map *out = &maps[layer + 1];
    *count = out->height * out->width * out->channels;
    return state->membrane + (out->first_event - CSNN_INPUTS);
}

int csnn_class(const int32_t counts[CSNN_CLASSES])
{
    int best = 0;

    for (int i = 1; i < CSNN_CLASSES; i++)
        if (counts[i] > counts[best])
            best = i;
    return counts[best] ? best : -1;
}

int csnn_classify(struct csnn_state *state, const uint8_t *sample, int32_t counts[CSNN_CLASSES])
{
    csnn_reset(state);
    for (int32_t i = 0; i < CSNN_CLASSES; i++)
        counts[i] = 0;
    for (int32_t t = 0; t < CSNN_TIME_STEPS; t++) {
        int32_t spikes;
        if (t < CSNN_FRAMES) /* one image is convolved once, not at every step */
            csnn_present(state, sample + (size_t)t * CSNN_INPUTS);
        csnn_step(state);
        const csnn_index *spiked = csnn_spikes(state, CSNN_LAYERS - 1, &spikes);
        for (int32_t i = 0; i < spikes; i++)
            counts[spiked[i]]++;
    }
    return csnn_class(counts);
}

size_t csnn_state_size(void)
{
    return sizeof(struct csnn_state);
}

/*
 * Event-driven inference: a layer does work only for the spikes of the layer before it.
 *
 * A layer's spikes are a list of neuron indices in height-width-channel order, and `begin` says where each pixel's
 * spikes start in it. So the spikes in one row of a convolution's window are contiguous in the list. Each of them
 * selects one row of weights, which is added to the sums of all output channels (sums.h). Only the nonzero values of
 * an input frame are multiplied, once, when it's presented.
 *
 * A linear layer is a convolution whose kernel covers its whole input: one output pixel, no padding, no pooling.
 */
#include "csnn.h"

#include <float.h>
#include <stdbool.h>

#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
#error "float must be computed in float, or spikes near the threshold change (on 32-bit x86: -msse2 -mfpmath=sse)"
#endif
#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__)
#error "-ffast-math and the options it implies change sums and quotients, and so spikes: compile without them"
#endif
#ifdef __cplusplus
#error "csnn.c is C: compile it with a C compiler (g++: -x c); csnn.h can be included in C++"
#endif

/* The input, or the neurons of a layer. Both offsets are 0 for the input, which isn't stored as a list. */
struct map {
    int32_t height, width, channels;
    int32_t first;       /* where its neurons start in csnn_state.value, and its spikes in csnn_state.event */
    int32_t first_begin; /* where its pixels start in csnn_state.begin: height * width entries and the end */
};

#include "neurons.h" /* neurons[CSNN_LAYERS], step and spikes */
#include "sums.h"

struct layer {
    const csnn_weight *weight; /* [kernel_height][kernel_width][channels in][words of a row], see sums.h */
    const float *scale; /* [channels out], powers of two, by which sums are multiplied; includes averages and inputs */
    const float *bias; /* [channels out] */
    int32_t kernel_height, kernel_width;
    int32_t stride;  /* pixels from one position of the kernel to the next */
    int32_t padding; /* zeros around the input */
    int32_t pool, pool_stride; /* side of the pooling window, and distance between windows; 1: no pooling */
    int32_t pool_is_max; /* 1: maximum, 0: sum or average; edges where no whole window fits are dropped */
};

#include "weights.h" /* maps[CSNN_LAYERS + 1], the input first, and layers[CSNN_LAYERS] */
#include "pools.h"   /* inputs[CSNN_LAYERS], what each layer reads */

/*
 * Weights and inputs are whole multiples of powers of two, with so few bits that their products and sums are exact, in
 * any order and with or without fused operations. But beta U rounds before I is added, as in the trained network. A
 * compiler may fuse the two (-ffp-contract=fast does, on processors that can), which rounds only once. No macro reveals
 * that, and not every build uses the Makefile, which forbids it. So the product is multiplied by a 1 that the compiler
 * can't see: it can then only fuse 1 * product + sum, which rounds to the same bits.
 */
static const volatile float unknown_one = 1.0f;

/* Number of blocks of CSNN_LANES that hold all channels. */
static int32_t blocks(int32_t channels)
{
    return (channels + CSNN_LANES - 1) / CSNN_LANES;
}

/* sum[channels out] = the sum of the rows, multiplied by their values if given; += if they aren't the first rows. */
static void add(csnn_sum *sum, const csnn_weight *const *row, const uint8_t *value, int32_t rows, int32_t count,
                bool first)
{
    for (int32_t i = 0; i < count; i++) {
        if (value)
            add_scaled_rows(sum + CSNN_LANES * i, row, value, rows, CSNN_WORDS * (size_t)i, first);
        else
            add_rows(sum + CSNN_LANES * i, row, rows, CSNN_WORDS * (size_t)i, first);
    }
}

/*
 * The convolution at one position: sum[channels out].
 *
 * top, left: where the kernel's window starts in the input; negative in the padding.
 * frame: the first layer's input; NULL for spikes.
 *
 * Returns whether anything was added; if not, all sums are 0.
 */
static bool convolve(const struct csnn_state *state, int number, int32_t top, int32_t left, const uint8_t *frame,
                     csnn_sum *sum)
{
    const struct layer *layer = &layers[number];
    const struct map *in = &inputs[number];
    const int32_t count = blocks(maps[number + 1].channels), words = CSNN_WORDS * count;
    const csnn_index *event = state->event + in->first, *begin = state->begin + in->first_begin;
    const int32_t from = left > 0 ? left : 0;
    const int32_t to = left + layer->kernel_width < in->width ? left + layer->kernel_width : in->width;
    const csnn_weight *row[CSNN_ROWS];
    uint8_t value[CSNN_ROWS];
    int32_t rows = 0;
    bool first = true;

    for (int32_t i = 0; i < layer->kernel_height; i++) {
        const int32_t y = top + i;
        if (y < 0 || y >= in->height)
            continue;
        /* Input n of the map has row n + offset of the weights. */
        const int32_t offset = i * layer->kernel_width * in->channels - (y * in->width + left) * in->channels;
        const int32_t begins = y * in->width + from, ends = y * in->width + to;
        if (frame) {
            for (int32_t n = begins * in->channels; n < ends * in->channels; n++) {
                if (!frame[n])
                    continue;
                if (rows == CSNN_ROWS) {
                    add(sum, row, value, rows, count, first);
                    first = false;
                    rows = 0;
                }
                value[rows] = frame[n];
                row[rows++] = layer->weight + (size_t)(n + offset) * (size_t)words;
            }
            continue;
        }
        for (const csnn_index *e = event + begin[begins]; e < event + begin[ends]; e++) {
            if (rows == CSNN_ROWS) {
                add(sum, row, NULL, rows, count, first);
                first = false;
                rows = 0;
            }
            row[rows++] = layer->weight + (size_t)(*e + offset) * (size_t)words;
        }
    }
    if (rows > 0) {
        add(sum, row, frame ? value : NULL, rows, count, first);
        return true;
    }
    for (int32_t c = 0; c < CSNN_LANES * count; c++)
        sum[c] = 0;
    return false;
}

/* Convolves and pools for one pixel's neurons, into state->sum[channels out]. */
static void gather(struct csnn_state *state, int number, int32_t row, int32_t column, const uint8_t *frame)
{
    const struct layer *layer = &layers[number];
    const int32_t channels = maps[number + 1].channels;
    const int32_t pool = CSNN_POOLED ? 1 : layer->pool; /* with CSNN_POOLED, the spikes are pooled instead */
    const int32_t stride = layer->stride, apart = (CSNN_POOLED ? 1 : layer->pool_stride) * stride;
    const int32_t top = row * apart - layer->padding, left = column * apart - layer->padding;
    csnn_sum *sum = state->sum, *corner = state->corner;

    bool any = convolve(state, number, top, left, frame, sum);
    for (int32_t place = 1; place < pool * pool; place++) {
        const int32_t y = top + place / pool * stride, x = left + place % pool * stride;
        const bool more = convolve(state, number, y, x, frame, corner);
        if (!any && !more)
            continue; /* both are 0 */
        any = true;
        for (int32_t c = 0; c < channels; c++) {
            if (layer->pool_is_max)
                sum[c] = corner[c] > sum[c] ? corner[c] : sum[c];
            else
                sum[c] += corner[c];
        }
    }
}

/* Converts sums to input currents. Exact: whole numbers times a power of two, plus the bias. */
static void settle(float *restrict current, const csnn_sum *restrict sum, const float *restrict scale,
                   const float *restrict bias, int32_t count)
{
    for (int32_t c = 0; c < count; c++)
        current[c] = (float)sum[c] * scale[c] + bias[c];
}

/* One step of `count` neurons of a pixel, starting at channel `from`. */
static void fire(const struct neurons *own, float *restrict states, int32_t from, const float *restrict current,
                 int32_t count)
{
    const float unit = unknown_one;

    for (int32_t i = 0; i < count; i++)
        step(*own, states, from + i, current[i], unit);
}

void csnn_reset(struct csnn_state *state)
{
    for (int32_t i = 0; i < CSNN_STATES * CSNN_NEURONS; i++)
        state->value[i] = 0.0f;
    for (int32_t i = 0; i < CSNN_FIRST_NEURONS; i++)
        state->drive[i] = 0.0f;
    for (int32_t i = 0; i < CSNN_CELLS; i++)
        state->begin[i] = 0;
}

void csnn_present(struct csnn_state *state, const uint8_t *frame)
{
    const struct map *out = &maps[1];

    for (int32_t y = 0; y < out->height; y++)
        for (int32_t x = 0; x < out->width; x++) {
            gather(state, 0, y, x, frame);
            settle(state->drive + (y * out->width + x) * out->channels, state->sum, layers[0].scale, layers[0].bias,
                   out->channels);
        }
}

void csnn_step(struct csnn_state *state)
{
    for (int number = 0; number < CSNN_LAYERS; number++) {
        const struct layer *layer = &layers[number];
        const struct map *out = &maps[number + 1];
        csnn_index *event = state->event + out->first;
        csnn_index *begin = state->begin + out->first_begin;
        const struct neurons *own = &neurons[number];
        int32_t count = 0, neuron = 0;

        if (number > 0)
            pool_spikes(state, number);
        for (int32_t pixel = 0; pixel < out->height * out->width; pixel++) {
            float *states = state->value + out->first + neuron;
            begin[pixel] = (csnn_index)count;
            if (number == 0) {
                fire(own, states, 0, state->drive + neuron, out->channels);
            } else {
                gather(state, number, pixel / out->width, pixel % out->width, NULL);
                for (int32_t c = 0; c < out->channels; c += CSNN_LANES) {
                    const int32_t some = out->channels - c < CSNN_LANES ? out->channels - c : CSNN_LANES;
                    float current[CSNN_LANES];
                    settle(current, state->sum + c, layer->scale + c, layer->bias + c, some);
                    fire(own, states, c, current, some);
                }
            }
            for (int32_t c = 0; c < out->channels; c++, neuron++) { /* no branch that could be mispredicted */
                event[count] = (csnn_index)neuron;
                count += spikes(*own, states, c);
            }
        }
        begin[out->height * out->width] = (csnn_index)count;
    }
}

const csnn_index *csnn_spikes(const struct csnn_state *state, int layer, int32_t *count)
{
    const struct map *out = &maps[layer + 1];
    *count = state->begin[out->first_begin + out->height * out->width];
    return state->event + out->first;
}

float *csnn_values(struct csnn_state *state, int number, int layer, int32_t *count)
{
    const struct map *out = &maps[layer + 1];
    *count = out->height * out->width * out->channels;
    return state->value + number * CSNN_NEURONS + out->first;
}

float *csnn_membranes(struct csnn_state *state, int layer, int32_t *count)
{
    return csnn_values(state, CSNN_STATE_MEM, layer, count);
}

void csnn_score_step(const struct csnn_state *state, csnn_score scores[CSNN_CLASSES])
{
#if CSNN_READS_MEMBRANES
    const float *membrane = state->value + CSNN_STATE_MEM * CSNN_NEURONS + maps[CSNN_LAYERS].first;
    for (int32_t i = 0; i < CSNN_CLASSES; i++)
        scores[i] += membrane[i];
#else
    int32_t count;
    const csnn_index *spiked = csnn_spikes(state, CSNN_LAYERS - 1, &count);
    for (int32_t i = 0; i < count; i++)
        scores[spiked[i]]++;
#endif
}

int csnn_class(const csnn_score scores[CSNN_CLASSES])
{
    int best = 0;

    for (int i = 1; i < CSNN_CLASSES; i++)
        if (scores[i] > scores[best])
            best = i;
    return CSNN_READS_MEMBRANES || scores[best] > 0 ? best : -1;
}

int csnn_classify(struct csnn_state *state, const uint8_t *sample, csnn_score scores[CSNN_CLASSES])
{
    csnn_reset(state);
    for (int32_t i = 0; i < CSNN_CLASSES; i++)
        scores[i] = 0;
    for (int32_t t = 0; t < CSNN_TIME_STEPS; t++) {
        if (t < CSNN_FRAMES) /* one image is convolved once, not at every step */
            csnn_present(state, sample + (size_t)t * CSNN_INPUTS);
        csnn_step(state);
        csnn_score_step(state, scores);
    }
    return csnn_class(scores);
}

size_t csnn_state_size(void)
{
    return sizeof(struct csnn_state);
}

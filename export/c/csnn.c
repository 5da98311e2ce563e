/*
 * Event-driven inference: the work of a layer follows the spikes of the layer before it.
 *
 * The spikes of a layer are a list of neuron indices in height-width-channel order, and `begin` says where in that list
 * the spikes of each pixel begin. So the spikes in one row of a convolution's window are one run of the list, and each
 * names one row of weights, which is added to the sums of all output channels (sums.h). Where nothing spikes, nothing
 * is added; only the nonzero values of the input frame are multiplied, when it is presented.
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

/* The input, or the neurons of a layer; of the input, whose values aren't listed, both places are 0. */
struct map {
    int32_t height, width, channels;
    int32_t first;       /* its neurons start here in csnn_state.value, and its spikes in csnn_state.event */
    int32_t first_begin; /* its pixels start here in csnn_state.begin: height * width of them, and the end */
};

#include "neurons.h" /* neurons[CSNN_LAYERS], step and spikes */
#include "sums.h"

struct layer {
    const csnn_weight *weight; /* [kernel_height][kernel_width][channels in][words of a row], see sums.h */
    const float *scale; /* [channels out], powers of two: what a sum is multiplied by, averages and inputs included */
    const float *bias; /* [channels out] */
    int32_t kernel_height, kernel_width;
    int32_t stride;  /* pixels from one position of the kernel to the next */
    int32_t padding; /* zeros around the input */
    int32_t pool, pool_stride; /* positions in a row of the pooling window, and from one window to the next; 1: none */
    int32_t pool_is_max; /* 1: maximum, 0: sum or average; what no whole window fits into at the edges is dropped */
};

#include "weights.h" /* maps[CSNN_LAYERS + 1], the input first, and layers[CSNN_LAYERS] */
#include "pools.h"   /* inputs[CSNN_LAYERS], what each layer reads */

/*
 * Weights and inputs are whole multiples of powers of two, with so few bits that no product or sum of them rounds: their
 * order and fused operations change nothing. But beta U rounds, before I is added, as in the trained network. A compiler
 * may fuse both (-ffp-contract=fast does, on processors that can), which rounds once. No macro reveals that, and not every
 * build is the Makefile's, which forbids it. So the product is multiplied by a 1 that the compiler doesn't know to be one:
 * what it can fuse is then 1 * product + sum, which rounds to the same bits.
 */
static const volatile float unknown_one = 1.0f;

/* How many blocks of CSNN_LANES hold all channels. */
static int32_t blocks(int32_t channels)
{
    return (channels + CSNN_LANES - 1) / CSNN_LANES;
}

/* sum[channels out] = the sum of the rows, times their values if there are any; += if they are not the first. */
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
 * frame: the input of the first layer; NULL for spikes.
 *
 * Returns whether anything was added: if not, all sums are 0.
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
        /* Input n of the map is under row n + offset of the weights. */
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

/* The sums of one pixel's neurons, convolved and pooled: state->sum[channels out]. */
static void gather(struct csnn_state *state, int number, int32_t row, int32_t column, const uint8_t *frame)
{
    const struct layer *layer = &layers[number];
    const int32_t channels = maps[number + 1].channels;
    const int32_t pool = CSNN_POOLED ? 1 : layer->pool; /* or its spikes are pooled */
    const int32_t stride = layer->stride, apart = (CSNN_POOLED ? 1 : layer->pool_stride) * stride;
    const int32_t top = row * apart - layer->padding, left = column * apart - layer->padding;
    csnn_sum *sum = state->sum, *corner = state->corner;

    bool any = convolve(state, number, top, left, frame, sum);
    for (int32_t place = 1; place < pool * pool; place++) {
        const int32_t y = top + place / pool * stride, x = left + place % pool * stride;
        const bool more = convolve(state, number, y, x, frame, corner);
        if (!any && !more)
            continue; /* 0 and 0 */
        any = true;
        for (int32_t c = 0; c < channels; c++) {
            if (layer->pool_is_max)
                sum[c] = corner[c] > sum[c] ? corner[c] : sum[c];
            else
                sum[c] += corner[c];
        }
    }
}

/* The input currents of neurons, from their sums: a power of two times a whole number, and then the bias, are exact. */
static void settle(float *restrict current, const csnn_sum *restrict sum, const float *restrict scale,
                   const float *restrict bias, int32_t count)
{
    for (int32_t c = 0; c < count; c++)
        current[c] = (float)sum[c] * scale[c] + bias[c];
}

/* One step of a pixel's neurons, `count` channels from `from` on. */
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
            for (int32_t c = 0; c < out->channels; c++, neuron++) { /* without a branch to mispredict */
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

/*
 * Event-driven inference: a layer does work only for the spikes of the layer before it.
 *
 * A layer's spikes are a list of neuron indices in height-width-channel order, and `begin` says where each pixel's
 * spikes start in it. So the spikes in one row of a convolution's window are contiguous in the list. Each of them
 * selects one row of weights, which is added to the sums of all output channels (sums.h). Only the nonzero values of
 * an input frame are multiplied, once, when it's presented.
 *
 * A linear layer is a convolution whose kernel covers its whole input: one output pixel, no padding, no pooling.
 *
 * A layer's current is the sum of what its sources give: weights, and the spikes or the frame that they multiply. If a
 * source reads several lists, which adds spikes, their rows are added to the same sums. A list has the spikes of the
 * last step until its layer has fired, so a recurrent layer reads its own list before that, and an earlier layer can
 * read a later one's. Lists that are overwritten too early are copied, as are those of earlier steps (copies.h).
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

/* Checks an argument in a debug build, see csnn.h. */
#if defined(CSNN_DEBUG) && !defined(CSNN_ASSERT)
#ifdef NDEBUG
#error "CSNN_DEBUG checks arguments by assert, which NDEBUG removes: define CSNN_ASSERT(condition), too, or no NDEBUG"
#endif
#include <assert.h>
#define CSNN_ASSERT(condition) assert(condition)
#elif !defined(CSNN_ASSERT)
#define CSNN_ASSERT(condition) ((void)sizeof((condition) ? 1 : 0)) /* not computed, but no variable is unused */
#endif

/* The neurons of a layer, or a copy of spikes. */
struct map {
    int32_t height, width, channels;
    int32_t first;       /* where its spikes start in csnn_state.event, and a layer's neurons in csnn_state.value */
    int32_t first_begin; /* where its pixels start in csnn_state.begin: height * width entries and the end */
};

#include "sums.h"
#include "neurons.h" /* neurons[CSNN_LAYERS], step and spikes */

/* Weights that give a layer's neurons a current. */
struct source {
    int32_t height, width, channels; /* of what it reads */
    int32_t first_list, lists; /* lists[first_list] and those that follow, which it adds; none if it reads the frame */
    int32_t drive; /* where its currents start in csnn_state.drive if it reads the frame; -1: it reads spikes */
    const csnn_weight *weight; /* [kernel_height][kernel_width][channels in][words of a row], see sums.h;
                                  NULL: neuron n reads only input n, and its scale includes its weight */
    const float *scale; /* [channels out], powers of two, by which sums are multiplied; includes averages and inputs */
    const float *bias; /* [channels out] */
    int32_t kernel_height, kernel_width;
    int32_t stride;  /* pixels from one position of the kernel to the next */
    int32_t padding; /* zeros around the input */
    int32_t pool, pool_stride; /* side of the pooling window, and distance between windows; 1: no pooling */
    int32_t pool_is_max; /* 1: maximum, 0: sum or average; edges where no whole window fits are dropped */
};

/* A layer's sources: sources[first] and those that follow. */
struct layer {
    int32_t first, sources;
    int32_t separate; /* 1: its neurons add their currents one by one; 0: they add the sum */
};

/* Spikes that a source or copy reads. */
struct list {
    int32_t first, first_begin; /* as in struct map */
    int32_t often; /* how often each event counts */
};

/* A copy of the sum of lists, made before the turn of layer `before`. Pools are as in struct source. */
struct copy {
    int32_t before;
    int32_t first_list, lists;
    int32_t width; /* of the lists, in pixels */
    int32_t pool, pool_stride, pool_is_max;
    struct map to;
};

#include "weights.h" /* sources[CSNN_SOURCES], layers[CSNN_LAYERS], maps[CSNN_LAYERS], copies and lists[CSNN_LISTS] */
#include "answers.h"
#include "copies.h"

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
 * A source's convolution at one position: sum[channels out].
 *
 * top, left: where the kernel's window starts in the input; negative in the padding.
 * frame: the input; NULL for spikes.
 *
 * Returns whether anything was added; if not, all sums are 0.
 */
static bool convolve(const struct csnn_state *state, const struct source *source, int32_t channels, int32_t top,
                     int32_t left, const uint8_t *frame, csnn_sum *sum)
{
    const int32_t count = blocks(channels), words = CSNN_WORDS * count;
    const int32_t from = left > 0 ? left : 0;
    const int32_t to = left + source->kernel_width < source->width ? left + source->kernel_width : source->width;
    const csnn_weight *row[CSNN_ROWS];
    uint8_t value[CSNN_ROWS];
    int32_t rows = 0;
    bool first = true;

    for (int32_t i = 0; i < source->kernel_height; i++) {
        const int32_t y = top + i;
        if (y < 0 || y >= source->height)
            continue;
        /* Input n has row n + offset of the weights. */
        const int32_t offset = (i * source->kernel_width - y * source->width - left) * source->channels;
        const int32_t begins = y * source->width + from, ends = y * source->width + to;
        if (frame) {
            for (int32_t n = begins * source->channels; n < ends * source->channels; n++) {
                if (!frame[n])
                    continue;
                if (rows == CSNN_ROWS) {
                    add(sum, row, value, rows, count, first);
                    first = false;
                    rows = 0;
                }
                value[rows] = frame[n];
                row[rows++] = source->weight + (size_t)(n + offset) * (size_t)words;
            }
            continue;
        }
        for (int32_t k = 0; k < lists_of(source->lists); k++) {
            const struct list *list = &lists[source->first_list + k];
            const csnn_index *event = state->event + list->first, *begin = state->begin + list->first_begin;
            for (const csnn_index *e = event + begin[begins]; e < event + begin[ends]; e++) {
                for (int32_t again = 0; again < often(list); again++) {
                    if (rows == CSNN_ROWS) {
                        add(sum, row, NULL, rows, count, first);
                        first = false;
                        rows = 0;
                    }
                    row[rows++] = source->weight + (size_t)(*e + offset) * (size_t)words;
                }
            }
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

/* For a source without `weight`: sum[n] = how often input n spiked, or its value in the frame. */
static void count_inputs(const struct csnn_state *state, const struct source *source, const uint8_t *frame,
                         csnn_sum *sum)
{
    const int32_t pixels = source->height * source->width, inputs = pixels * source->channels;

    for (int32_t n = 0; n < inputs; n++)
        sum[n] = frame ? (csnn_sum)frame[n] : 0;
    for (int32_t k = 0; !frame && k < lists_of(source->lists); k++) {
        const struct list *list = &lists[source->first_list + k];
        const csnn_index *event = state->event + list->first, *begin = state->begin + list->first_begin;
        for (const csnn_index *e = event; e < event + begin[pixels]; e++)
            sum[*e] += (csnn_sum)often(list);
    }
}

/* Convolves and pools for one pixel's neurons of a layer with `channels`, into sum[channels]. */
static void gather(struct csnn_state *state, const struct source *source, int32_t channels, int32_t row, int32_t column,
                   const uint8_t *frame, csnn_sum *sum)
{
    const int32_t pool = source->pool, stride = source->stride, apart = source->pool_stride * stride;
    const int32_t top = row * apart - source->padding, left = column * apart - source->padding;
    csnn_sum *corner = state->corner;

    if (!source->weight) {
        count_inputs(state, source, frame, sum);
        return;
    }
    bool any = convolve(state, source, channels, top, left, frame, sum);
    for (int32_t place = 1; place < pool * pool; place++) {
        const int32_t y = top + place / pool * stride, x = left + place % pool * stride;
        const bool more = convolve(state, source, channels, y, x, frame, corner);
        if (!any && !more)
            continue; /* both are 0 */
        any = true;
        for (int32_t c = 0; c < channels; c++) {
            if (source->pool_is_max)
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

/* How many sources a layer has; the compiler knows it if no layer has several. */
static int32_t sources_of(const struct layer *layer)
{
    return CSNN_MOST_SOURCES == 1 ? 1 : layer->sources;
}

/*
 * The currents of `count` neurons of a pixel, from channel c, whose sums are gathered. They're added up here, exactly
 * and so in any order, unless the neurons add them one by one.
 */
static void collect(const struct csnn_state *state, const struct layer *layer, int32_t neuron, int32_t c, float *current,
                    int32_t count)
{
    for (int32_t k = 0; k < sources_of(layer); k++) {
        const struct source *source = &sources[layer->first + k];
        float one[CSNN_LANES];
        float *to = k == 0 ? current : layer->separate ? current + CSNN_LANES * k : one;
        if (source->drive < 0)
            settle(to, state->sum + CSNN_WIDEST * k + c, source->scale + c, source->bias + c, count);
        for (int32_t i = 0; source->drive >= 0 && i < count; i++)
            to[i] = state->drive[source->drive + neuron + c + i];
        for (int32_t i = 0; to == one && i < count; i++)
            current[i] += one[i];
    }
}

/* One step of `count` neurons of a pixel, starting at channel `from`. */
static void fire(const struct neurons *own, float *restrict states, int32_t from, const float *restrict current,
                 int32_t count)
{
    const float unit = unknown_one;

    for (int32_t i = 0; i < count; i++)
        step(*own, states, from + i, current + i, unit);
}

/* Writes the spikes of a pixel's neurons to `event`; returns how many there are. */
static int32_t list(const struct neurons *own, const float *states, int32_t neuron, int32_t channels, csnn_index *event)
{
    int32_t count = 0;

    for (int32_t c = 0; c < channels; c++) { /* no branch that could be mispredicted */
        event[count] = (csnn_index)(neuron + c);
        count += spikes(*own, states, c);
    }
    return count;
}

void csnn_reset(struct csnn_state *state)
{
    CSNN_ASSERT(state);
    for (int32_t i = 0; i < CSNN_STATES * CSNN_NEURONS; i++)
        state->value[i] = 0.0f;
    for (int32_t i = 0; i < CSNN_DRIVEN; i++)
        state->drive[i] = 0.0f;
    for (int32_t i = 0; i < CSNN_CELLS; i++)
        state->begin[i] = 0;
    csnn_restore(state);
}

void csnn_restore(struct csnn_state *state)
{
    CSNN_ASSERT(state);
    for (int number = 0; number < CSNN_LAYERS; number++) {
        const struct map *out = &maps[number];
        csnn_index *event = state->event + out->first, *begin = state->begin + out->first_begin;
        int32_t count = 0, pixel = 0;

        for (; pixel < out->height * out->width; pixel++) {
            const int32_t neuron = pixel * out->channels;
            begin[pixel] = (csnn_index)count;
            count += list(&neurons[number], state->value + out->first + neuron, neuron, out->channels, event + count);
        }
        begin[pixel] = (csnn_index)count;
    }
}

void csnn_present(struct csnn_state *state, const uint8_t *frame)
{
    CSNN_ASSERT(state && frame);
    for (int32_t i = 0; i < CSNN_INPUTS; i++) {
        const int32_t value = frame[i]; /* no warning if all bytes are valid */
        CSNN_ASSERT(value <= CSNN_INPUT_MOST);
    }
    for (int number = 0; number < CSNN_LAYERS; number++) {
        const struct map *out = &maps[number];
        for (int32_t k = 0; k < sources_of(&layers[number]); k++) {
            const struct source *source = &sources[layers[number].first + k];
            for (int32_t pixel = 0; source->drive >= 0 && pixel < out->height * out->width; pixel++) {
                gather(state, source, out->channels, pixel / out->width, pixel % out->width, frame, state->sum);
                settle(state->drive + source->drive + pixel * out->channels, state->sum, source->scale, source->bias,
                       out->channels);
            }
        }
    }
}

void csnn_step(struct csnn_state *state)
{
    CSNN_ASSERT(state);
    for (int number = 0; number < CSNN_LAYERS; number++) {
        const struct layer *layer = &layers[number];
        const struct source *source = &sources[layer->first];
        const struct map *out = &maps[number];
        csnn_index *event = state->event + out->first;
        csnn_index *begin = state->begin + out->first_begin;
        const struct neurons *own = &neurons[number];
        int32_t count = 0, neuron = 0;

        make_copies(state, number);
        for (int32_t pixel = 0; pixel < out->height * out->width; pixel++, neuron += out->channels) {
            float *states = state->value + out->first + neuron;
            if (sources_of(layer) == 1 && source->drive >= 0) {
                fire(own, states, 0, state->drive + source->drive + neuron, out->channels);
            } else {
                for (int32_t k = 0; k < sources_of(layer); k++)
                    if (source[k].drive < 0)
                        gather(state, source + k, out->channels, pixel / out->width, pixel % out->width, NULL,
                               state->sum + CSNN_WIDEST * k);
                for (int32_t c = 0; c < out->channels; c += CSNN_LANES) {
                    const int32_t some = out->channels - c < CSNN_LANES ? out->channels - c : CSNN_LANES;
                    float current[CSNN_LANES * CSNN_CURRENTS];
                    collect(state, layer, neuron, c, current, some);
                    fire(own, states, c, current, some);
                }
            }
            begin[pixel] = (csnn_index)count;
            count += list(own, states, neuron, out->channels, event + count);
        }
        begin[out->height * out->width] = (csnn_index)count;
    }
    make_copies(state, CSNN_LAYERS);
}

const csnn_index *csnn_spikes(const struct csnn_state *state, int layer, int32_t *count)
{
    CSNN_ASSERT(state && layer >= 0 && layer < CSNN_LAYERS && count);
    const struct map *out = &maps[layer];
    *count = state->begin[out->first_begin + out->height * out->width];
    return state->event + out->first;
}

#if CSNN_PAST
csnn_index *csnn_past(struct csnn_state *state, int number, csnn_index **begin)
{
    CSNN_ASSERT(state && number >= 0 && number < CSNN_PAST && begin);
    const struct map *out = &copies[CSNN_COPIES - 1 - number].to;
    *begin = state->begin + out->first_begin;
    return state->event + out->first;
}
#endif

float *csnn_values(struct csnn_state *state, int number, int layer, int32_t *count)
{
    CSNN_ASSERT(state && number >= 0 && number < CSNN_STATES);
    CSNN_ASSERT(layer >= 0 && layer < CSNN_LAYERS && count);
    const struct map *out = &maps[layer];
    *count = out->height * out->width * out->channels;
    return state->value + number * CSNN_NEURONS + out->first;
}

float *csnn_membranes(struct csnn_state *state, int layer, int32_t *count)
{
    return csnn_values(state, CSNN_STATE_MEM, layer, count);
}

void csnn_score_step(const struct csnn_state *state, csnn_score scores[CSNN_CLASSES])
{
    CSNN_ASSERT(state && scores);
#if CSNN_READS_MEMBRANES
    const float *membrane = state->value + CSNN_STATE_MEM * CSNN_NEURONS + maps[CSNN_LAYERS - 1].first;
    for (int32_t i = 0; i < CSNN_CLASSES; i++)
        scores[i] += membrane[i];
#else
    int32_t count;
    const csnn_index *spiked = csnn_spikes(state, CSNN_LAYERS - 1, &count);
    for (int32_t i = 0; i < count; i++)
        scores[spiked[i]]++;
#endif
}

int csnn_classify(struct csnn_state *state, const uint8_t *sample, csnn_score scores[CSNN_CLASSES])
{
    CSNN_ASSERT(state && sample && scores);
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

const char *csnn_version(void)
{
    return CSNN_VERSION;
}

#define RETURN(name, value) \
    int32_t name(void)      \
    {                       \
        return value;       \
    }

RETURN(csnn_height, CSNN_HEIGHT)
RETURN(csnn_width, CSNN_WIDTH)
RETURN(csnn_channels, CSNN_CHANNELS)
RETURN(csnn_inputs, CSNN_INPUTS)
RETURN(csnn_input_most, CSNN_INPUT_MOST)
RETURN(csnn_frames, CSNN_FRAMES)
RETURN(csnn_time_steps, CSNN_TIME_STEPS)
RETURN(csnn_classes, CSNN_CLASSES)
RETURN(csnn_layers, CSNN_LAYERS)
RETURN(csnn_states, CSNN_STATES)
RETURN(csnn_reads_membranes, CSNN_READS_MEMBRANES)

size_t csnn_index_size(void)
{
    return sizeof(csnn_index);
}

size_t csnn_state_size(void)
{
    return sizeof(struct csnn_state);
}

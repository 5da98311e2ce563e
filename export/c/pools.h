/*
 * Pooling of spikes, for pools that follow the neurons; included by csnn.c only.
 *
 * At every step, the previous layer's spikes are rewritten to a second list, with the pixel of their window. A sum has
 * an event for every spike in the window, so the next layer adds a row of weights that many times; for an average,
 * `scale` includes the division. A maximum has at most one event.
 */
#if CSNN_POOLED

/* Pools the previous layer's spikes, maps[number], into those that layer `number` reads, inputs[number]. */
static void pool_spikes(struct csnn_state *state, int number)
{
    const struct layer *before = &layers[number - 1];
    const struct map *in = &maps[number], *out = &inputs[number];
    const csnn_index *spike = state->event + in->first, *start = state->begin + in->first_begin;
    csnn_index *event = state->event + out->first, *begin = state->begin + out->first_begin;
    csnn_sum *seen = state->sum; /* which channels have an event in this window; the sums aren't needed yet */
    int32_t count = 0, pixel = 0;

    if (out->first == in->first)
        return; /* not pooled */
    for (; pixel < out->height * out->width; pixel++) {
        const int32_t top = pixel / out->width * before->pool_stride, left = pixel % out->width * before->pool_stride;
        begin[pixel] = (csnn_index)count;
        for (int32_t c = 0; c < out->channels; c++)
            seen[c] = 0;
        for (int32_t place = 0; place < before->pool * before->pool; place++) {
            const int32_t from = (top + place / before->pool) * in->width + left + place % before->pool;
            for (const csnn_index *s = spike + start[from]; s < spike + start[from + 1]; s++) {
                const int32_t channel = (int32_t)*s - from * in->channels;
                if (before->pool_is_max && seen[channel])
                    continue;
                seen[channel] = 1;
                event[count++] = (csnn_index)(pixel * out->channels + channel);
            }
        }
    }
    begin[pixel] = (csnn_index)count;
}

#else

static const struct map *const inputs = maps;

static void pool_spikes(const struct csnn_state *state, int number)
{
    (void)state;
    (void)number;
}

#endif

/*
 * Copies of spikes; included by csnn.c only.
 *
 * Some spikes are pooled, and some would be overwritten before they're read: in a recurrent convolution, and if a later
 * layer reads those of the step before. They're copied to another list, with the pixel of their pooling window. A sum
 * has an event for every spike in the window, so the reader adds a row of weights that many times; for an average, its
 * `scale` includes the division. A maximum has at most one event for a channel.
 */
#if CSNN_COPIES

static void make_copy(struct csnn_state *state, const struct copy *copy)
{
    const struct map *in = &maps[copy->layer], *out = &copy->to;
    const csnn_index *spike = state->event + in->first, *start = state->begin + in->first_begin;
    csnn_index *event = state->event + out->first, *begin = state->begin + out->first_begin;
    csnn_sum *seen = state->sum; /* which channels have an event in this window; the sums aren't needed yet */
    int32_t count = 0, pixel = 0;

    for (; pixel < out->height * out->width; pixel++) {
        const int32_t top = pixel / out->width * copy->pool_stride, left = pixel % out->width * copy->pool_stride;
        begin[pixel] = (csnn_index)count;
        for (int32_t c = 0; c < out->channels; c++)
            seen[c] = 0;
        for (int32_t place = 0; place < copy->pool * copy->pool; place++) {
            const int32_t from = (top + place / copy->pool) * in->width + left + place % copy->pool;
            for (const csnn_index *s = spike + start[from]; s < spike + start[from + 1]; s++) {
                const int32_t channel = (int32_t)*s - from * in->channels;
                if (copy->pool_is_max && seen[channel])
                    continue;
                seen[channel] = 1;
                event[count++] = (csnn_index)(pixel * out->channels + channel);
            }
        }
    }
    begin[pixel] = (csnn_index)count;
}

/* Makes the copies that are due before a layer's turn. */
static void make_copies(struct csnn_state *state, int number)
{
    for (int i = 0; i < CSNN_COPIES; i++)
        if (copies[i].before == number)
            make_copy(state, &copies[i]);
}

#else

static void make_copies(const struct csnn_state *state, int number)
{
    (void)state;
    (void)number;
}

#endif

/*
 * Lists that sources and copies read, and copies of spikes; included by csnn.c only.
 *
 * Some spikes are pooled, and some would be overwritten before they're read: in a recurrent convolution, and if a later
 * layer reads those of the step before. They're copied to another list, with the pixel of their pooling window. A sum
 * has an event for every spike in the window, so the reader adds a row of weights that many times; for an average, its
 * `scale` includes the division. A maximum has as many events for a channel as the pixel with the most.
 *
 * Outputs of earlier steps are copies, too, each made from the one of the step after it, at the end of a step.
 */

/* How many lists a source or copy reads; the compiler knows it if none reads several. */
static inline int32_t lists_of(int32_t several)
{
    return CSNN_MOST_LISTS == 1 ? 1 : several;
}

/* How often an event of a list counts: more than once if averages are added to spikes. */
static inline int32_t often(const struct list *list)
{
    return CSNN_MOST_OFTEN == 1 ? 1 : list->often;
}

#if CSNN_COPIES

static void make_copy(struct csnn_state *state, const struct copy *copy)
{
    const struct map *out = &copy->to;
    csnn_index *event = state->event + out->first, *begin = state->begin + out->first_begin;
    csnn_sum *most = state->sum, *here = state->corner; /* a channel's events; the sums aren't needed yet */
    int32_t count = 0, pixel = 0;

    for (; pixel < out->height * out->width; pixel++) {
        const int32_t top = pixel / out->width * copy->pool_stride, left = pixel % out->width * copy->pool_stride;
        begin[pixel] = (csnn_index)count;
        for (int32_t c = 0; copy->pool_is_max && c < out->channels; c++)
            most[c] = 0;
        for (int32_t place = 0; place < copy->pool * copy->pool; place++) {
            const int32_t from = (top + place / copy->pool) * copy->width + left + place % copy->pool;
            for (int32_t c = 0; copy->pool_is_max && c < out->channels; c++)
                here[c] = 0;
            for (int32_t k = 0; k < lists_of(copy->lists); k++) {
                const struct list *list = &lists[copy->first_list + k];
                const csnn_index *spike = state->event + list->first, *start = state->begin + list->first_begin;
                for (const csnn_index *s = spike + start[from]; s < spike + start[from + 1]; s++) {
                    const int32_t channel = (int32_t)*s - from * out->channels;
                    for (int32_t again = 0; again < often(list); again++) {
                        if (copy->pool_is_max && (here[channel] += 1) <= most[channel])
                            continue;
                        if (copy->pool_is_max)
                            most[channel] = here[channel];
                        event[count++] = (csnn_index)(pixel * out->channels + channel);
                    }
                }
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

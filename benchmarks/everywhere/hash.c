/*
 * Hashes every layer's membranes and spikes at every step, see hashes.py: reads samples from one file, and writes
 * [sample][layer][step][3] words to another. It uses files, because an emulated board has no standard streams.
 */
#include <stdio.h>
#include <string.h>

#include "csnn.h"

static struct csnn_state state;
static uint8_t sample[(size_t)CSNN_FRAMES * CSNN_INPUTS];
static uint32_t words[CSNN_LAYERS][CSNN_TIME_STEPS][3];

static void hash(int layer, uint32_t sums[3])
{
    int32_t neurons, events;
    const float *membranes = csnn_membranes(&state, layer, &neurons);
    const csnn_index *spikes = csnn_spikes(&state, layer, &events);

    memset(sums, 0, 3 * sizeof *sums);
    for (int32_t n = 0; n < neurons; n++) {
        uint32_t bits;

        memcpy(&bits, &membranes[n], sizeof bits);
        if ((bits & 0x7F800000u) == 0) /* 0, -0 and subnormals */
            bits = 0;
        sums[0] += bits * (2 * (uint32_t)n + 1);
        sums[1] += (bits ^ (bits >> 15)) * (((uint32_t)n * 2654435761u) | 1);
    }
    for (int32_t e = 0; e < events; e++)
        sums[2] += ((uint32_t)spikes[e] * 2654435761u) | 1;
}

int main(void)
{
    FILE *in = fopen(SAMPLES, "rb"), *out = fopen(HASHES, "wb");

    if (!in || !out)
        return 2;
    while (fread(sample, 1, sizeof sample, in) == sizeof sample) {
        csnn_reset(&state);
        for (int32_t t = 0; t < CSNN_TIME_STEPS; t++) {
            if (t < CSNN_FRAMES)
                csnn_present(&state, sample + (size_t)t * CSNN_INPUTS);
            csnn_step(&state);
            for (int layer = 0; layer < CSNN_LAYERS; layer++)
                hash(layer, words[layer][t]);
        }
        if (fwrite(words, sizeof words, 1, out) != 1)
            return 2;
    }
    return fclose(out) ? 2 : 0;
}

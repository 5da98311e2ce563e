/*
 * Sums of rows of weights, where the network spends its time; included by csnn.c only.
 *
 * A row has the weights from one input to all output channels, padded to a multiple of CSNN_LANES, which are added at
 * once. Weights are floats, or whole numbers times the scale of their channel. In the latter case, CSNN_WEIGHT_BITS is
 * 8, 4 or 2, and a row consists of 32-bit words of 4, 8 or 16 weights. These are biased by 128, 8 or 2 to make them
 * nonnegative, so a word adds several at once, until a sum could overflow into the next one.
 */
#define CSNN_LANES (CSNN_WEIGHT_BITS == 2 ? 16 : 8)
#define CSNN_ROWS 68 /* maximum number of rows added in one call */

#if CSNN_WEIGHT_BITS == 32

typedef float csnn_weight;

#define CSNN_WORDS CSNN_LANES /* words with the weights of CSNN_LANES channels */

/* sum[CSNN_LANES] = the sum of the rows; += if they aren't the first rows. */
static void add_rows(csnn_sum *restrict sum, const csnn_weight *const *row, int32_t rows, size_t at, bool first)
{
    csnn_sum total[CSNN_LANES];

    for (int i = 0; i < CSNN_LANES; i++)
        total[i] = first ? 0.0f : sum[i];
    for (int32_t r = 0; r < rows; r++)
        for (int i = 0; i < CSNN_LANES; i++)
            total[i] += row[r][at + (size_t)i];
    for (int i = 0; i < CSNN_LANES; i++)
        sum[i] = total[i];
}

/* The same, with each row multiplied by its value. */
static void add_scaled_rows(csnn_sum *restrict sum, const csnn_weight *const *row, const uint8_t *value, int32_t rows,
                            size_t at, bool first)
{
    csnn_sum total[CSNN_LANES];

    for (int i = 0; i < CSNN_LANES; i++)
        total[i] = first ? 0.0f : sum[i];
    for (int32_t r = 0; r < rows; r++)
        for (int i = 0; i < CSNN_LANES; i++)
            total[i] += (float)value[r] * row[r][at + (size_t)i];
    for (int i = 0; i < CSNN_LANES; i++)
        sum[i] = total[i];
}

#else

typedef uint32_t csnn_weight;

#define CSNN_WORDS (CSNN_LANES * CSNN_WEIGHT_BITS / 32)
#define CSNN_BIAS (1 << (CSNN_WEIGHT_BITS - 1))

#if CSNN_WEIGHT_BITS == 2

#define PAIR 0x00030003u
#define FEW 5 /* no overflow: 5 * 3 < 2^4, 68 * 3 < 2^8 and 68 * 3 * 255 < 2^16 */

static void add_rows(csnn_sum *restrict sum, const csnn_weight *const *row, int32_t rows, size_t at, bool first)
{
    uint32_t total[4] = {0}; /* four 8-bit sums each */

    for (int32_t r = 0; r < rows;) {
        const int32_t end = rows - r < FEW ? rows : r + FEW;
        uint32_t even = 0, odd = 0; /* eight 4-bit sums each */
        for (; r < end; r++) {
            const uint32_t word = row[r][at];
            even += word & 0x33333333u;
            odd += word >> 2 & 0x33333333u;
        }
        total[0] += even & 0x0F0F0F0Fu;
        total[1] += even >> 4 & 0x0F0F0F0Fu;
        total[2] += odd & 0x0F0F0F0Fu;
        total[3] += odd >> 4 & 0x0F0F0F0Fu;
    }
    for (int i = 0; i < CSNN_LANES; i++)
        sum[i] = (first ? 0 : sum[i]) + ((int32_t)(total[i / 4] >> 8 * (i % 4) & 255u) - CSNN_BIAS * rows);
}

static void add_scaled_rows(csnn_sum *restrict sum, const csnn_weight *const *row, const uint8_t *value, int32_t rows,
                            size_t at, bool first)
{
    uint32_t even[4] = {0}, odd[4] = {0}, values = 0; /* two 16-bit sums each */

    for (int32_t r = 0; r < rows; r++) {
        const uint32_t word = row[r][at], by = value[r];
        for (int i = 0; i < 4; i++) {
            const uint32_t four = word >> (4 * (i % 2) + 2 * (i / 2));
            even[i] += by * (four & PAIR);
            odd[i] += by * (four >> 8 & PAIR);
        }
        values += by;
    }
    for (int i = 0; i < CSNN_LANES; i++) {
        const uint32_t two = i % 2 ? odd[i / 4] : even[i / 4];
        sum[i] = (first ? 0 : sum[i]) + ((int32_t)(two >> 16 * (i / 2 % 2) & 0xFFFFu) - CSNN_BIAS * (int32_t)values);
    }
}

#else

/* Two 16-bit sums in each word, for channels 0 and 1, 2 and 3, and so on. */
struct pairs {
    uint32_t a, b, c, d;
};

/* sum[CSNN_LANES] = the pairs minus their bias; += if they aren't the first. */
static void unpack(csnn_sum *restrict sum, struct pairs pairs, int32_t bias, bool first)
{
    const uint32_t total[CSNN_LANES] = {
        pairs.a & 0xFFFFu, pairs.a >> 16, pairs.b & 0xFFFFu, pairs.b >> 16,
        pairs.c & 0xFFFFu, pairs.c >> 16, pairs.d & 0xFFFFu, pairs.d >> 16,
    };

    for (int i = 0; i < CSNN_LANES; i++)
        sum[i] = (first ? 0 : sum[i]) + ((int32_t)total[i] - bias);
}

#if CSNN_WEIGHT_BITS == 8

#define PAIR 0x00FF00FFu

static void add_rows(csnn_sum *restrict sum, const csnn_weight *const *row, int32_t rows, size_t at, bool first)
{
    struct pairs total = {0, 0, 0, 0}; /* no overflow: 68 * 255 < 2^16 */

    for (int32_t r = 0; r < rows; r++) {
        const uint32_t one = row[r][at], two = row[r][at + 1];
        total.a += one & PAIR;
        total.b += one >> 8 & PAIR;
        total.c += two & PAIR;
        total.d += two >> 8 & PAIR;
    }
    unpack(sum, total, CSNN_BIAS * rows, first);
}

static void add_scaled_rows(csnn_sum *restrict sum, const csnn_weight *const *row, const uint8_t *value, int32_t rows,
                            size_t at, bool first)
{
    uint32_t total[CSNN_LANES] = {0}, values = 0;

    for (int32_t r = 0; r < rows; r++) { /* no overflow: 255 * 255 < 2^16 */
        const uint32_t one = row[r][at], two = row[r][at + 1], by = value[r];
        const uint32_t a = by * (one & PAIR), b = by * (one >> 8 & PAIR), c = by * (two & PAIR), d = by * (two >> 8 & PAIR);
        total[0] += a & 0xFFFFu;
        total[1] += a >> 16;
        total[2] += b & 0xFFFFu;
        total[3] += b >> 16;
        total[4] += c & 0xFFFFu;
        total[5] += c >> 16;
        total[6] += d & 0xFFFFu;
        total[7] += d >> 16;
        values += by;
    }
    for (int i = 0; i < CSNN_LANES; i++)
        sum[i] = (first ? 0 : sum[i]) + ((int32_t)total[i] - CSNN_BIAS * (int32_t)values);
}

#else

#define PAIR 0x000F000Fu
#define FEW 17 /* no overflow: 17 * 15 < 2^8 and 17 * 15 * 255 < 2^16 */

static void add_rows(csnn_sum *restrict sum, const csnn_weight *const *row, int32_t rows, size_t at, bool first)
{
    struct pairs total = {0, 0, 0, 0};

    for (int32_t r = 0; r < rows;) {
        const int32_t end = rows - r < FEW ? rows : r + FEW;
        uint32_t even = 0, odd = 0; /* four 8-bit sums each */
        for (; r < end; r++) {
            const uint32_t word = row[r][at];
            even += word & 0x0F0F0F0Fu;
            odd += word >> 4 & 0x0F0F0F0Fu;
        }
        total.a += even & 0x00FF00FFu;
        total.b += even >> 8 & 0x00FF00FFu;
        total.c += odd & 0x00FF00FFu;
        total.d += odd >> 8 & 0x00FF00FFu;
    }
    unpack(sum, total, CSNN_BIAS * rows, first);
}

static void add_scaled_rows(csnn_sum *restrict sum, const csnn_weight *const *row, const uint8_t *value, int32_t rows,
                            size_t at, bool first)
{
    for (int32_t r = 0; r < rows; first = false) {
        const int32_t end = rows - r < FEW ? rows : r + FEW;
        struct pairs total = {0, 0, 0, 0};
        int32_t values = 0;
        for (; r < end; r++) {
            const uint32_t word = row[r][at], by = value[r];
            total.a += by * (word & PAIR);
            total.b += by * (word >> 8 & PAIR);
            total.c += by * (word >> 4 & PAIR);
            total.d += by * (word >> 12 & PAIR);
            values += (int32_t)by;
        }
        unpack(sum, total, CSNN_BIAS * values, first);
    }
}

#endif
#endif
#endif

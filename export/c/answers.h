/* What scores say: the class, how far it is ahead, and when it can no longer change; included by csnn.c only. */

/* The class with the highest score other than `except`; the lowest one on ties. */
static int highest(const csnn_score scores[CSNN_CLASSES], int except)
{
    int best = except == 0 ? 1 : 0;

    CSNN_ASSERT(scores);
    for (int i = best + 1; i < CSNN_CLASSES; i++)
        if (i != except && scores[i] > scores[best])
            best = i;
    return best;
}

csnn_score csnn_margin(const csnn_score scores[CSNN_CLASSES])
{
    const int best = highest(scores, -1);

    return scores[best] - scores[highest(scores, best)];
}

int csnn_class(const csnn_score scores[CSNN_CLASSES])
{
    const int best = highest(scores, -1);

    if (csnn_margin(scores) < CSNN_MARGIN)
        return -1;
    return CSNN_READS_MEMBRANES || scores[best] > 0 ? best : -1;
}

int csnn_decided(const csnn_score scores[CSNN_CLASSES], int32_t remaining)
{
    const int best = csnn_class(scores);

    if (remaining <= 0 || CSNN_READS_MEMBRANES)
        return remaining <= 0;
    if (best < 0) /* it stays unknown if even the first one can't gain enough */
        return csnn_margin(scores) + (csnn_score)remaining < CSNN_MARGIN;
    for (int i = 0; i < CSNN_CLASSES; i++) { /* without a margin, a lower class needs no more than a tie */
        const csnn_score ahead = CSNN_MARGIN > 0 ? CSNN_MARGIN : i < best;

        if (i != best && scores[i] + (csnn_score)remaining + ahead > scores[best])
            return 0;
    }
    return 1;
}

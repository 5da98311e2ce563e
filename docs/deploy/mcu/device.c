#include "program.h"

#define SAMPLE ((size_t)CSNN_FRAMES * CSNN_INPUTS)
#define SYSTICK ((volatile uint32_t *)0xE000E010) /* control, reload value, current value, which counts down */
#define PERIOD 0x1000000u                         /* ticks until it wraps */

__asm__(".section .rodata\n"
        "samples: .incbin \"samples.bin\"\n"
        "samples_end:\n"
        ".previous");
extern const uint8_t samples[], samples_end[];

static struct csnn_state state;
static volatile uint32_t wraps;

void timer_wrapped(void)
{
    wraps++;
}

/* Ticks since the timer was started. */
static uint64_t ticks(void)
{
    uint32_t before, left;

    do { /* again if it wraps meanwhile */
        before = wraps;
        left = SYSTICK[2];
    } while (before != wraps);
    return (uint64_t)before * PERIOD + (PERIOD - left) % PERIOD;
}

int main(void)
{
    csnn_score scores[CSNN_CLASSES];

    SYSTICK[1] = PERIOD - 1;
    SYSTICK[2] = 0;
    SYSTICK[0] = 7; /* on, with its interrupt, by the processor's clock */
    for (const uint8_t *sample = samples; sample < samples_end; sample += SAMPLE) {
        const uint64_t start = ticks();

        csnn_classify(&state, sample, scores);
        fprintf(stderr, "%lu ticks\n", (unsigned long)(ticks() - start));
        csnn_print(scores, 0);
    }
    return 0;
}

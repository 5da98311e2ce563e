/*
 * csnn --events [--window-us N] [FILE]: classifies a stream of camera events and prints one line for each window.
 *
 * Events have N-MNIST's format, five bytes each: column, row, and, big-endian, one bit of polarity and 23 bits of time
 * (microseconds). An event in row 240 advances the clock by 2^13 us. A window is cut into CSNN_WINDOW_FRAMES frames by
 * the rules the network was trained with (network.h), and the first CSNN_FRAMES of them are run. The state is reset
 * before every window.
 *
 * With --early, a window's line is printed as soon as the rest of it can't change the class, and its other frames aren't
 * run.
 *
 * Without --window-us the whole input is one window, which is buffered until its end. With it, a window is N
 * microseconds, counted from the first event. A frame then lasts N / CSNN_WINDOW_FRAMES and is run as soon as it ends,
 * so only one frame is buffered. A window without events gets a line, too. If there are several in a row, only the
 * first is run, and a line says how many more have the same result, so a jumping clock can't keep the network busy. The
 * last window ends with the input; the rest of it is empty.
 */
#include "program.h"

#if !CSNN_EVENTS

int csnn_classify_events(FILE *file, const char *name, int64_t window_us, int early)
{
    (void)file, (void)window_us, (void)early;
    fprintf(stderr, "csnn: %s: --events: this network takes images, not the events of a camera\n", name);
    return 2;
}

#else

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define OVERFLOW_ROW 240

struct event {
    int64_t t; /* microseconds */
    int x, y, polarity;
};

/* The input, and the state of its clock. */
struct source {
    FILE *file;
    const char *name;
    unsigned long events;
    int64_t overflown, last;
};

/* The current window. */
static struct csnn_state state;
static uint8_t frame[CSNN_INPUTS];
static csnn_score scores[CSNN_CLASSES];
static int64_t taken; /* frames run so far */
static int answered;  /* 1: its line is printed, and the rest isn't run */

static int early; /* see program.h */

/* Reads the next event. Returns 1, 0 at the end of the input, or -1 after printing an error. */
static int next(struct source *source, struct event *event)
{
    unsigned char bytes[5];
    size_t size;

    while ((size = fread(bytes, 1, sizeof bytes, source->file)) == sizeof bytes && bytes[1] == OVERFLOW_ROW)
        source->overflown += 1 << 13;
    if (ferror(source->file)) {
        csnn_fail(source->name);
        return -1;
    }
    if (size == 0)
        return 0;
    if (size < sizeof bytes) {
        fprintf(stderr, "csnn: %s: ends in the middle of an event, after %lu of them\n", source->name, source->events);
        return -1;
    }
    event->x = bytes[0];
    event->y = bytes[1];
    event->polarity = bytes[2] >> 7;
    event->t = ((int64_t)(bytes[2] & 127) << 16 | bytes[3] << 8 | bytes[4]) + source->overflown;
    if (event->x >= CSNN_SENSOR_WIDTH || event->y >= CSNN_SENSOR_HEIGHT) {
        fprintf(stderr, "csnn: %s: has an event at x = %d, y = %d, expected a sensor of %d by %d pixels\n",
                source->name, event->x, event->y, CSNN_SENSOR_HEIGHT, CSNN_SENSOR_WIDTH);
        return -1;
    }
    if (source->events && event->t < source->last) {
        fprintf(stderr,
                "csnn: %s: has an event at %" PRId64 " us after one at %" PRId64 " us, expected ascending times\n",
                source->name, event->t, source->last);
        return -1;
    }
    source->last = event->t;
    source->events++;
    return 1;
}

static void begin(void)
{
    csnn_reset(&state);
    memset(frame, 0, sizeof frame);
    memset(scores, 0, sizeof scores);
    taken = 0;
    answered = 0;
}

/*
 * Runs all frames before frame `end`, at most until the class is decided; those after the current one are empty. Prints
 * the window's line after the last one.
 */
static void advance(int64_t end)
{
    while (taken < end && !answered) {
        csnn_present(&state, frame);
        csnn_step(&state);
        csnn_score_step(&state, scores);
        memset(frame, 0, sizeof frame);
        taken++;
        answered = taken == CSNN_FRAMES || (early && csnn_decided(scores, (int32_t)(CSNN_FRAMES - taken)));
        if (answered) {
            csnn_print(scores, early ? (int32_t)taken : 0);
            fflush(stdout); /* a reader may be waiting at the other end of a pipe */
        }
    }
}

/* Adds an event to frame `number`; drops events after the last frame that is run. */
static void add(const struct event *event, int64_t number)
{
    const int y = event->y / (CSNN_SENSOR_HEIGHT / CSNN_HEIGHT), x = event->x / (CSNN_SENSOR_WIDTH / CSNN_WIDTH);
    uint8_t *cell = frame + (y * CSNN_WIDTH + x) * CSNN_CHANNELS + event->polarity;

    if (number >= CSNN_FRAMES)
        return;
    advance(number);
    if (*cell < CSNN_FRAME_MOST)
        ++*cell;
}

static int refuse_empty(const struct source *source)
{
    fprintf(stderr, "csnn: %s: has no events, expected at least one\n", source->name);
    return 2;
}

/* Runs windows of the same length, each frame as soon as it's complete. */
static int classify_windows(struct source *source, int64_t window_us)
{
    const int64_t each = window_us / CSNN_WINDOW_FRAMES;
    struct event event;
    int64_t start = 0;
    int status;

    begin();
    while ((status = next(source, &event)) > 0) {
        if (source->events == 1)
            start = event.t;
        const int64_t windows = (event.t - start) / window_us; /* that have ended */
        for (int64_t i = 0; i < windows && i < 2; i++) {
            advance(CSNN_FRAMES);
            begin();
        }
        if (windows > 2)
            printf("%" PRId64 " more without events: the same\n", windows - 2);
        start += windows * window_us;
        add(&event, (event.t - start) / each);
    }
    if (status < 0)
        return 2;
    if (!source->events)
        return refuse_empty(source);
    advance(CSNN_FRAMES);
    return 0;
}

/* Runs the whole input as one window. */
static int classify_whole(struct source *source)
{
    struct event *events = NULL, event;
    size_t count = 0, room = 0;
    int status;

    while ((status = next(source, &event)) > 0) {
        if (count == room) {
            struct event *more = realloc(events, (room = room ? 2 * room : 4096) * sizeof *events);
            if (!more) {
                free(events);
                return csnn_fail(source->name);
            }
            events = more;
        }
        events[count++] = event;
    }
    if (status < 0 || !count) {
        free(events);
        return status < 0 ? 2 : refuse_empty(source);
    }
    const int64_t length = CSNN_FRAMES_BY_COUNT ? (int64_t)count : events[count - 1].t - events[0].t;
    const int64_t each = length / CSNN_WINDOW_FRAMES;

    if (each) {
        begin();
        for (size_t i = 0; i < count; i++)
            add(&events[i], (CSNN_FRAMES_BY_COUNT ? (int64_t)i : events[i].t - events[0].t) / each);
        advance(CSNN_FRAMES);
    } else {
        fprintf(stderr, "csnn: %s: %s %" PRId64 " %s, expected at least %d, the network's frames\n", source->name,
                CSNN_FRAMES_BY_COUNT ? "has" : "lasts", length, CSNN_FRAMES_BY_COUNT ? "events" : "us",
                CSNN_WINDOW_FRAMES);
    }
    free(events);
    return each ? 0 : 2;
}

int csnn_classify_events(FILE *file, const char *name, int64_t window_us, int is_early)
{
    struct source source = {file, name, 0, 0, 0};

    early = is_early;
    if (!window_us)
        return classify_whole(&source);
    if (CSNN_FRAMES_BY_COUNT) {
        fputs("csnn: --window-us: this network's frames have equally many events, expected whole recordings\n", stderr);
        return 2;
    }
    return classify_windows(&source, window_us);
}

#endif

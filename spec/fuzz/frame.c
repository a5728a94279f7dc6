/* Fuzz target: bytes as the stream of frames that either side reads, and as a snapshot of scripts.
 * Whatever decodes must encode to the very same bytes again. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/event.h"
#include "frame/frame.h"
#include "frame/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROUND_TRIP(name)                                       \
    do {                                                       \
        struct evrt_frame_##name x;                            \
        if (evrt_frame_get_##name(f->payload, &x) < 0) return; \
        evrt_frame_put_##name(&out, &x);                       \
    } while (0)

static void decode(const struct evrt_frame *f, struct evrt_slice whole) {
    struct evrt_buf out __attribute__((cleanup(evrt_buf_finish)));
    evrt_buf_init(&out);
    size_t done = SIZE_MAX;
    switch (f->type) {
    case EVRT_FRAME_HELLO: ROUND_TRIP(hello); break;
    case EVRT_FRAME_DELIVER: ROUND_TRIP(deliver); break;
    case EVRT_FRAME_PUBLISHED: ROUND_TRIP(published); break;
    case EVRT_FRAME_FAILED: ROUND_TRIP(failed); break;
    case EVRT_FRAME_PUBLISH: ROUND_TRIP(publish); break;
    case EVRT_FRAME_LOG: ROUND_TRIP(log); break;
    case EVRT_FRAME_NOTE: ROUND_TRIP(note); break;
    case EVRT_FRAME_SHARE: ROUND_TRIP(share); break;
    case EVRT_FRAME_SHARED: ROUND_TRIP(shared); break;
    case EVRT_FRAME_LOG_LEVEL: ROUND_TRIP(log_level); break;
    case EVRT_FRAME_METRIC: ROUND_TRIP(metric); break;
    case EVRT_FRAME_METRIC_SERIES: ROUND_TRIP(metric_series); break;
    case EVRT_FRAME_DONE:
        if (f->payload.n == 0 || f->payload.n % EVRT_FRAME_DONE_ITEM != 0) return;
        for (size_t at = 0; at < f->payload.n; at += EVRT_FRAME_DONE_ITEM)
            evrt_frame_put_done(&out, &done, evrt_event_seq(f->payload.p + at));
        break;
    default: evrt_frame_put_text(&out, f->type, f->payload); break;
    }
    assert(evrt_slice_eq(evrt_buf_slice(&out), whole));
}

static void stream(struct evrt_slice in, char direction) {
    struct evrt_frame f;
    int64_t n;
    while ((n = evrt_frame_take(in, direction, &f)) > 0) {
        decode(&f, (struct evrt_slice){in.p, (size_t)n});
        in.p += n;
        in.n -= (size_t)n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct evrt_slice in = {(const char *)data, size};
    stream(in, '>');
    stream(in, '<');
    struct evrt_snapshot_file file;
    volatile char sum = 0;
    for (size_t at = 0; evrt_snapshot_next(in, &at, &file) == 1;)
        for (size_t i = 0; i < file.bytes.n; i++)
            sum ^= file.bytes.p[i];
    return 0;
}

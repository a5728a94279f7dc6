/* See frame.h. Each frame's fields are one table here, which both its encoder and its decoder read;
 * DELIVER and DONE, the hot ones, have a fixed layout and are written by hand. */
#include "frame/frame.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>

#include "core/bytes.h"

/* kind, member, in the order in which they stand. A slice is u32 length and bytes. */
/* clang-format off */
#define HELLO_FIELDS(X) \
    X(u32, worker) X(u64, generation) X(u64, concurrency) X(u64, memory_limit) X(u64, max_event_size) \
    X(u32, max_hops) X(u8, allow_ffi) X(u8, testing) X(u8, log_level) X(i64, load_timeout_ms) \
    X(u8, confine) \
    X(u32, kv_max_key) X(u32, kv_max_value) X(u64, kv_max_effects) X(slice, kv_writers) \
    X(i64, steady_ms) \
    X(u32, max_series) X(u8, tracing) X(u64, trace_threshold) \
    X(slice, service) X(slice, service_version) X(slice, environment) X(slice, user) X(slice, store) \
    X(u32, nice)
#define FAILED_FIELDS(X) \
    X(u64, delivery) X(slice, error_type) X(slice, message) X(slice, traceback) X(i64, retry_ms)
#define PUBLISH_FIELDS(X) \
    X(u64, token) X(u64, delivery) X(u8, wait) X(i64, timeout_ms) X(slice, event)
#define PUBLISHED_FIELDS(X) \
    X(u64, token) X(i32, status) X(u64, seq) X(slice, id) X(slice, message) X(slice, outcomes)
#define LOG_FIELDS(X) \
    X(u8, level) X(u64, delivery) X(slice, caller) X(slice, message) X(slice, fields)
#define LOG_LEVEL_FIELDS(X) X(u8, level)
#define NOTE_FIELDS(X) X(u64, delivery) X(slice, text)
#define LIMIT_FIELDS(X) X(slice, key)
#define SPAN_FIELDS(X) \
    X(u64, delivery) X(u64, id) X(u64, parent) X(i64, start_ns) X(i64, end_ns) X(slice, name) \
    X(u8, failed) X(slice, error_type) X(slice, message) X(slice, attributes)
#define METRIC_FIELDS(X) \
    X(u32, metric) X(u8, type) X(slice, name) X(slice, help) X(slice, labels) X(slice, bounds)
#define METRIC_SERIES_FIELDS(X) X(u32, series) X(u32, metric) X(u8, overflow) X(slice, values)
#define SHARE_FIELDS(X) \
    X(u64, token) X(u64, version) X(i64, ttl_ms) X(u8, remove) X(slice, key) X(slice, value)
#define SHARED_FIELDS(X) \
    X(u64, token) X(i32, status) X(u64, version) X(slice, key) X(slice, value)
#define READ_FIELDS(X) \
    X(u64, token) X(u32, limit) X(slice, ns) X(slice, key) X(slice, after)
#define EFFECTS_FIELDS(X) X(u64, delivery) X(slice, ops)
#define QUERY_FIELDS(X) \
    X(u64, token) X(u64, after) X(u32, limit) X(slice, type) X(slice, subject)
#define WRITE_FIELDS(X) X(u64, token) X(u64, delivery) X(slice, op)
#define VALUE_FIELDS(X) X(u64, token) X(i32, status) X(u8, more) X(slice, value)
/* clang-format on */

const char *evrt_frame_name(unsigned type) {
    switch (type) {
#define X(name, number, direction, help) \
    case number: return #name;
        EVRT_FRAME_TYPES(X)
#undef X
    default: return "unknown";
    }
}

/* '>' or '<', 0 for a type that does not exist. */
static char direction_of(unsigned type) {
    switch (type) {
#define X(name, number, direction, help) \
    case number: return direction;
        EVRT_FRAME_TYPES(X)
#undef X
    default: return 0;
    }
}

/* ---- Writing: open, fields, close ---- */

static size_t open_frame(struct evrt_buf *out, enum evrt_frame_type type) {
    size_t at = out->n;
    char *p = evrt_buf_room(out, EVRT_FRAME_HEADER);
    memset(p, 0, EVRT_FRAME_HEADER);
    p[4] = (char)type;
    out->n += EVRT_FRAME_HEADER;
    return at;
}

static void close_frame(struct evrt_buf *out, size_t at) {
    size_t n = out->n - at;
    assert(n <= EVRT_FRAME_MAX);
    evrt_set_u32(out->p + at, (uint32_t)n);
}

#define PUT_INTEGER(kind)                                         \
    static void put_##kind(struct evrt_buf *out, kind##_type v) { \
        memcpy(evrt_buf_room(out, sizeof v), &v, sizeof v);       \
        out->n += sizeof v;                                       \
    }
#define GET_INTEGER(kind)                                           \
    static bool get_##kind(struct evrt_slice *in, kind##_type *v) { \
        if (in->n < sizeof *v) return false;                        \
        memcpy(v, in->p, sizeof *v);                                \
        in->p += sizeof *v;                                         \
        in->n -= sizeof *v;                                         \
        return true;                                                \
    }
#define INTEGER(kind, c_type)   \
    typedef c_type kind##_type; \
    PUT_INTEGER(kind)           \
    GET_INTEGER(kind)
INTEGER(u8, uint8_t)
INTEGER(u32, uint32_t)
INTEGER(u64, uint64_t)
INTEGER(i32, int32_t)
INTEGER(i64, int64_t)

static void put_slice(struct evrt_buf *out, struct evrt_slice s) {
    put_u32(out, (uint32_t)s.n);
    evrt_buf_put(out, s.p, s.n);
}

static bool get_slice(struct evrt_slice *in, struct evrt_slice *s) {
    uint32_t n;
    if (!get_u32(in, &n) || n > in->n) return false;
    *s = (struct evrt_slice){in->p, n};
    in->p += n;
    in->n -= n;
    return true;
}

#define PUT_FIELD(kind, member) put_##kind(out, f->member);
#define GET_FIELD(kind, member) \
    if (!get_##kind(&payload, &f->member)) return -EBADMSG;
#define CODEC(name, TYPE)                                                                 \
    void evrt_frame_put_##name(struct evrt_buf *out, const struct evrt_frame_##name *f) { \
        size_t at = open_frame(out, EVRT_FRAME_##TYPE);                                   \
        TYPE##_FIELDS(PUT_FIELD) close_frame(out, at);                                    \
    }                                                                                     \
    int evrt_frame_get_##name(struct evrt_slice payload, struct evrt_frame_##name *f) {   \
        TYPE##_FIELDS(GET_FIELD) return payload.n == 0 ? 0 : -EBADMSG;                    \
    }
CODEC(hello, HELLO)
CODEC(failed, FAILED)
CODEC(publish, PUBLISH)
CODEC(published, PUBLISHED)
CODEC(log, LOG)
CODEC(note, NOTE)
CODEC(limit, LIMIT)
CODEC(span, SPAN)
CODEC(share, SHARE)
CODEC(metric, METRIC)
CODEC(metric_series, METRIC_SERIES)
CODEC(shared, SHARED)
CODEC(effects, EFFECTS)
CODEC(read, READ)
CODEC(query, QUERY)
CODEC(write, WRITE)
CODEC(value, VALUE)
CODEC(log_level, LOG_LEVEL)

void evrt_frame_put_deliver(struct evrt_buf *out, const struct evrt_frame_deliver *f) {
    bool notice = f->purpose == EVRT_PURPOSE_NOTICE;
    size_t info = notice ? 4 + f->info.n : 0;
    size_t n = EVRT_FRAME_HEADER + EVRT_FRAME_DELIVER_FIXED + info + f->event.n;
    assert(n <= EVRT_FRAME_MAX);
    char *p = evrt_buf_room(out, n);
    evrt_set_u32(p, (uint32_t)n);
    evrt_set_u32(p + 4, EVRT_FRAME_DELIVER);
    evrt_set_u32(p + 8, f->handler);
    evrt_set_u32(p + 12, f->attempt | (uint32_t)f->purpose << 24);
    evrt_set_u64(p + 16, f->delivery);
    evrt_set_u64(p + 24, (uint64_t)f->timeout_ms);
    if (notice) evrt_set_u32(p + 32, (uint32_t)f->info.n);
    if (notice && f->info.n != 0) memcpy(p + 36, f->info.p, f->info.n);
    if (f->event.n != 0) memcpy(p + 32 + info, f->event.p, f->event.n);
    out->n += n;
}

int evrt_frame_get_deliver(struct evrt_slice payload, struct evrt_frame_deliver *f) {
    if (payload.n < EVRT_FRAME_DELIVER_FIXED) return -EBADMSG;
    const char *p = payload.p;
    *f = (struct evrt_frame_deliver){
        .handler = evrt_get_u32(p),
        .attempt = evrt_get_u32(p + 4) & 0xffffff,
        .purpose = (uint8_t)(evrt_get_u32(p + 4) >> 24),
        .delivery = evrt_get_u64(p + 8),
        .timeout_ms = (int64_t)evrt_get_u64(p + 16),
        .event = {p + EVRT_FRAME_DELIVER_FIXED, payload.n - EVRT_FRAME_DELIVER_FIXED},
    };
    if (f->purpose > EVRT_PURPOSE_NOTICE) return -EBADMSG;
    return f->purpose != EVRT_PURPOSE_NOTICE || get_slice(&f->event, &f->info) ? 0 : -EBADMSG;
}

void evrt_frame_put_text(struct evrt_buf *out, enum evrt_frame_type type, struct evrt_slice text) {
    size_t at = open_frame(out, type);
    evrt_buf_put(out, text.p, text.n);
    close_frame(out, at);
}

void evrt_frame_put_done(struct evrt_buf *out, size_t *frame, uint64_t delivery) {
    if (*frame == SIZE_MAX) *frame = open_frame(out, EVRT_FRAME_DONE);
    put_u64(out, delivery);
    close_frame(out, *frame);
}

void evrt_frame_put_metric_counts(struct evrt_buf *out, const struct evrt_frame_metric_count *items,
                                  size_t n) {
    size_t at = open_frame(out, EVRT_FRAME_METRIC_COUNTS);
    evrt_buf_put(out, items, n * sizeof *items);
    close_frame(out, at);
}

/* ---- Taking ---- */

int64_t evrt_frame_take(struct evrt_slice in, char direction, struct evrt_frame *out) {
    if (in.n < EVRT_FRAME_HEADER) return 0;
    uint32_t n = evrt_get_u32(in.p);
    unsigned type = (unsigned char)in.p[4];
    if (n < EVRT_FRAME_HEADER || n > EVRT_FRAME_MAX) return -EBADMSG;
    if (direction_of(type) != direction || in.p[5] != 0 || evrt_get_u16(in.p + 6) != 0)
        return -EBADMSG;
    if (in.n < n) return 0;
    *out = (struct evrt_frame){type, {in.p + EVRT_FRAME_HEADER, n - EVRT_FRAME_HEADER}};
    return n;
}

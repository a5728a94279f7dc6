/* Frames: what host and worker say to each other over their socketpair. One table of types; one codec.
 *
 *     u32 length (of the whole frame), u8 type, u8 flags, u16 zero, payload
 *
 * Frames are batched: many are written at once, a reader takes all that have arrived. Neither side ever
 * stops reading. A frame that does not decode is the end of the worker that sent it, never of the host.
 * Any thread; an encoder or decoder is its owner's. Decoded slices point into the input. */
#ifndef EVRT_FRAME_FRAME_H
#define EVRT_FRAME_FRAME_H

#include "core/buf.h"
#include "core/purpose.h"

/* What a worker inherits besides 0, 1 and 2: its socket, the snapshot of its scripts, and the page in which
 * it says what it is doing (frame/page.h; absent when nobody watches it). */
enum {
    EVRT_FRAME_SOCKET_FD = 3,
    EVRT_FRAME_SNAPSHOT_FD = 4,
    EVRT_FRAME_PAGE_FD = 5,  /* page.h */
    EVRT_FRAME_VALUES_FD = 6 /* values.h; only beside a page */
};

#define EVRT_FRAME_HEADER 8
#define EVRT_FRAME_MAX (64u << 20) /* longest frame that is accepted */

/* name, number, direction ('>' host to worker, '<' worker to host), what it says. */
#define EVRT_FRAME_TYPES(X)                                                                   \
    X(HELLO, 1, '>', "settings of this worker; its scripts are in the snapshot it inherited") \
    X(DELIVER, 2, '>', "handle this event")                                                   \
    X(PUBLISHED, 3, '>', "what became of a PUBLISH")                                          \
    X(DRAIN, 4, '>', "finish what you have, then say DRAINED")                                \
    X(SHARED, 8, '>', "a shared value, changed or as it was asked for")                       \
    X(VALUE, 9, '>', "what a READ, WRITE or QUERY came to")                                   \
    X(LOG_LEVEL, 16, '>', "send no line below this level from now on")                        \
    X(READY, 32, '<', "scripts are loaded; here is what they declare (JSON)")                 \
    X(REFUSED, 33, '<', "scripts do not load; here is why (errors with file and line)")       \
    X(DONE, 34, '<', "these deliveries succeeded")                                            \
    X(FAILED, 35, '<', "this delivery failed")                                                \
    X(PUBLISH, 36, '<', "a script publishes an event")                                        \
    X(LOG, 37, '<', "a script's log line")                                                    \
    X(DRAINED, 38, '<', "nothing is left here")                                               \
    X(SHARE, 40, '<', "change a shared value if it is still the one that was seen")           \
    X(EFFECTS, 42, '<', "this delivery succeeded; what it wrote and published, with it")      \
    X(READ, 43, '<', "a key of the key-value store, or those of a prefix")                    \
    X(WRITE, 44, '<', "an operation of the key-value store that is no delivery's effect")     \
    X(QUERY, 45, '<', "stored events of a type and subject")                                  \
    X(SPAN, 46, '<', "something that a script did in a delivery, and how long it took")       \
    X(NOTE, 48, '<', "what a policy did with a delivery")                                     \
    X(LIMIT, 49, '<', "a limit of the configuration came to bear in a script")                \
    X(METRIC, 52, '<', "a script defines a metric")                                           \
    X(METRIC_SERIES, 53, '<', "... and counts for these label values")                        \
    X(METRIC_COUNTS, 54, '<', "what was counted since the last of these")

enum evrt_frame_type {
#define X(name, number, direction, help) EVRT_FRAME_##name = number,
    EVRT_FRAME_TYPES(X)
#undef X
};

const char *evrt_frame_name(unsigned type);

/* HELLO. */
struct evrt_frame_hello {
    uint32_t worker;       /* number of this worker, from 0 */
    uint64_t generation;   /* of the scripts */
    uint64_t concurrency;  /* deliveries that may be in progress at once in this worker */
    uint64_t memory_limit; /* bytes of Lua memory */
    uint64_t max_event_size;
    uint32_t max_hops;
    uint8_t allow_ffi;
    uint8_t testing;           /* may publish types of evrt's own */
    uint8_t log_level;         /* lines below it need not be sent */
    int64_t load_timeout_ms;   /* scripts that load for longer are refused; 0: never */
    uint8_t confine;           /* keep scripts from the store and the host */
    uint32_t max_series;       /* label sets of one metric of scripts; 0: nothing is counted */
    uint8_t tracing;           /* EVRT_TRACING_* */
    uint64_t trace_threshold;  /* of evrt_event_trace() */
    struct evrt_slice service; /* default source of published events */
    struct evrt_slice service_version, environment;
    struct evrt_slice user; /* to run as; "": the host's */
    uint32_t kv_max_key, kv_max_value;
    uint64_t kv_max_effects;      /* bytes of one delivery's writes and publishes */
    struct evrt_slice kv_writers; /* kv.writers */
    int64_t steady_ms;            /* what keys expire by is so much ahead of the monotonic clock */
    struct evrt_slice store;      /* folder to keep scripts from */
    uint32_t nice;                /* steps below the host's share of the CPUs, once it serves */
};

/* OFF: spans of scripts are not recorded. SAMPLED: those of events that are sampled. KEEP_ERRORS: also those of
 * other events, sent when the delivery fails. */
enum { EVRT_TRACING_OFF, EVRT_TRACING_SAMPLED, EVRT_TRACING_KEEP_ERRORS };

/* DELIVER: u32 handler, u32 attempt and (in the highest byte) purpose, u64 delivery, i64 timeout_ms, then the
 * event's encoding; a NOTICE has u32 length and info before that. */
struct evrt_frame_deliver {
    uint32_t handler;  /* index in the READY list of this generation, from 0 */
    uint32_t attempt;  /* 1 first; below 2^24 */
    uint8_t purpose;   /* enum evrt_purpose */
    uint64_t delivery; /* names it in DONE and FAILED; unique in this worker's life */
    int64_t timeout_ms;
    struct evrt_slice event; /* core/event.h */
    struct evrt_slice info;  /* of a NOTICE: JSON */
};
#define EVRT_FRAME_DELIVER_FIXED 24

/* DONE: u64 delivery, repeated to the end of the frame. */
#define EVRT_FRAME_DONE_ITEM 8

struct evrt_frame_failed {
    uint64_t delivery;
    struct evrt_slice error_type; /* error | timeout | rejected | memory */
    struct evrt_slice message;    /* "script.lua:12: text" */
    struct evrt_slice traceback;  /* the script's own frames, one a line */
    int64_t retry_ms; /* what the script decided: so long until the next attempt, or as below */
};
enum { EVRT_RETRY_BY_POLICY = -1, EVRT_RETRY_NEVER = -2 };

struct evrt_frame_publish {
    uint64_t token;          /* chosen by the worker, comes back in PUBLISHED */
    uint64_t delivery;       /* the delivery it is made in */
    uint8_t wait;            /* 1: answer when every matching handler's first attempt has settled */
    int64_t timeout_ms;      /* of that wait */
    struct evrt_slice event; /* encoded, hops set, seq 0 */
};

struct evrt_frame_published {
    uint64_t token;
    int32_t status; /* 0, EVRT_DUPLICATE and EVRT_SCHEDULED, or a negative errno */
    uint64_t seq;
    struct evrt_slice id;
    struct evrt_slice message;  /* when status < 0 */
    struct evrt_slice outcomes; /* with wait: JSON array [{"handler","outcome","error"?}] */
};

struct evrt_frame_log {
    uint8_t level;            /* enum evrt_log_level */
    uint64_t delivery;        /* 0: not in a delivery */
    struct evrt_slice caller; /* script:line */
    struct evrt_slice message;
    struct evrt_slice fields; /* the inside of a JSON object, "" for none */
};

struct evrt_frame_log_level {
    uint8_t level; /* enum evrt_log_level */
};

/* Before the delivery's end. Times are of CLOCK_MONOTONIC. */
struct evrt_frame_span {
    uint64_t delivery;
    uint64_t id, parent; /* parent 0: the handling itself */
    int64_t start_ns, end_ns;
    struct evrt_slice name;
    uint8_t failed;
    struct evrt_slice error_type, message; /* of one that failed */
    struct evrt_slice attributes;          /* core/attributes.h */
};

/* Before the delivery's end. It is kept for people, and as many as there is room for. */
struct evrt_frame_note {
    uint64_t delivery;
    struct evrt_slice text; /* "filter: not wanted" */
};

struct evrt_frame_limit {
    struct evrt_slice key; /* "kv.max_value" */
};

struct evrt_frame_metric {
    uint32_t metric; /* chosen by the worker, counting from 0 */
    uint8_t type;    /* enum evrt_metric_type */
    struct evrt_slice name, help;
    struct evrt_slice labels; /* names, comma-separated */
    struct evrt_slice bounds; /* doubles */
};

struct evrt_frame_metric_series {
    uint32_t series; /* chosen by the worker, counting from 0 */
    uint32_t metric;
    uint8_t overflow;         /* 1: for all that has no room; no values */
    struct evrt_slice values; /* of its labels, joined by NUL */
};

/* METRIC_COUNTS: items to the end of the frame: u32 series, u32 what, f64 by how much. */
struct evrt_frame_metric_count {
    uint32_t series;
    uint32_t what; /* as below; from EVRT_METRIC_BUCKET on: so many more in that bucket */
    double v;
};
enum { EVRT_METRIC_ADD, EVRT_METRIC_SET, EVRT_METRIC_BUCKET };

struct evrt_frame_share {
    uint64_t token;   /* chosen by the worker, comes back in SHARED */
    uint64_t version; /* that the key must have; 0: it must not exist */
    int64_t ttl_ms;   /* without a change, after which it may go; 0: never */
    uint8_t remove;   /* 1: the key goes, there is no value */
    struct evrt_slice key, value;
};

struct evrt_frame_shared {
    uint64_t token;   /* 0: told to all, not asked for */
    int32_t status;   /* 0; -EAGAIN: another version, which follows; or a limit's negative errno */
    uint64_t version; /* 0: the key does not exist (any more) */
    struct evrt_slice key, value;
};

struct evrt_frame_effects {
    uint64_t delivery;
    struct evrt_slice ops; /* core/kv.h */
};

struct evrt_frame_read {
    uint64_t token; /* chosen by the worker, comes back in VALUE */
    uint32_t limit; /* 0: the key alone; else at most so many that begin with it, */
    struct evrt_slice ns, key, after; /* ... and come behind this one */
};

struct evrt_frame_query {
    uint64_t token;
    uint64_t after; /* sequences greater than this */
    uint32_t limit;
    struct evrt_slice type, subject; /* a pattern; equal */
};

struct evrt_frame_write {
    uint64_t token;
    uint64_t delivery;    /* the delivery it is made in */
    struct evrt_slice op; /* one, core/kv.h */
};

struct evrt_frame_value {
    uint64_t token;
    int32_t status; /* 0; -ESTALE: the value was not the expected one; or another negative errno */
    uint8_t more;   /* of a prefix: there are more */
    /* Of a key its value (none: absent); of a prefix a SET (core/kv.h) for each; of a query JSON as of GET
     * /api/v1/events; of an error why. */
    struct evrt_slice value;
};

/* REFUSED and READY carry one text: READY the JSON below, REFUSED one "file:line: message" a line.
 * READY: {"handlers":[{"name","file","line","events":[...],"timeout_ms","concurrency","ordered_by",
 *        "priority","start":"new"|"beginning","policies":[...names],"on_retry":"hold"|"skip",
 *        "retry":{"policy","max_retries","initial_delay_ms","max_delay_ms","multiplier","increment_ms",
 *        "jitter"}?}],"memory":bytes} */

void evrt_frame_put_hello(struct evrt_buf *out, const struct evrt_frame_hello *f);
void evrt_frame_put_deliver(struct evrt_buf *out, const struct evrt_frame_deliver *f);
void evrt_frame_put_failed(struct evrt_buf *out, const struct evrt_frame_failed *f);
void evrt_frame_put_publish(struct evrt_buf *out, const struct evrt_frame_publish *f);
void evrt_frame_put_published(struct evrt_buf *out, const struct evrt_frame_published *f);
void evrt_frame_put_log(struct evrt_buf *out, const struct evrt_frame_log *f);
void evrt_frame_put_note(struct evrt_buf *out, const struct evrt_frame_note *f);
void evrt_frame_put_limit(struct evrt_buf *out, const struct evrt_frame_limit *f);
void evrt_frame_put_span(struct evrt_buf *out, const struct evrt_frame_span *f);
void evrt_frame_put_metric(struct evrt_buf *out, const struct evrt_frame_metric *f);
void evrt_frame_put_metric_series(struct evrt_buf *out, const struct evrt_frame_metric_series *f);
void evrt_frame_put_metric_counts(struct evrt_buf *out, const struct evrt_frame_metric_count *items,
                                  size_t n);
void evrt_frame_put_share(struct evrt_buf *out, const struct evrt_frame_share *f);
void evrt_frame_put_log_level(struct evrt_buf *out, const struct evrt_frame_log_level *f);
void evrt_frame_put_shared(struct evrt_buf *out, const struct evrt_frame_shared *f);
void evrt_frame_put_read(struct evrt_buf *out, const struct evrt_frame_read *f);
void evrt_frame_put_query(struct evrt_buf *out, const struct evrt_frame_query *f);
void evrt_frame_put_write(struct evrt_buf *out, const struct evrt_frame_write *f);
void evrt_frame_put_value(struct evrt_buf *out, const struct evrt_frame_value *f);
void evrt_frame_put_effects(struct evrt_buf *out, const struct evrt_frame_effects *f);
void evrt_frame_put_text(struct evrt_buf *out, enum evrt_frame_type type, struct evrt_slice text);
/* Adds one delivery to a DONE frame: opens it when *frame is SIZE_MAX (offset in out otherwise). Set
 * *frame back to SIZE_MAX whenever anything else is put or out is handed over. */
void evrt_frame_put_done(struct evrt_buf *out, size_t *frame, uint64_t delivery);

struct evrt_frame {
    unsigned type;
    struct evrt_slice payload;
};
/* Takes the frame at the start of `in`: returns its whole length, 0 when more bytes are needed, -EBADMSG
 * when it cannot be a frame (length out of bounds, unknown type, `direction` is not its). */
EVRT_MUST_CHECK int64_t evrt_frame_take(struct evrt_slice in, char direction,
                                        struct evrt_frame *out);

/* 0 or -EBADMSG. */
EVRT_MUST_CHECK int evrt_frame_get_hello(struct evrt_slice payload, struct evrt_frame_hello *f);
EVRT_MUST_CHECK int evrt_frame_get_deliver(struct evrt_slice payload, struct evrt_frame_deliver *f);
EVRT_MUST_CHECK int evrt_frame_get_failed(struct evrt_slice payload, struct evrt_frame_failed *f);
EVRT_MUST_CHECK int evrt_frame_get_publish(struct evrt_slice payload, struct evrt_frame_publish *f);
EVRT_MUST_CHECK int evrt_frame_get_published(struct evrt_slice payload,
                                             struct evrt_frame_published *f);
EVRT_MUST_CHECK int evrt_frame_get_log(struct evrt_slice payload, struct evrt_frame_log *f);
EVRT_MUST_CHECK int evrt_frame_get_note(struct evrt_slice payload, struct evrt_frame_note *f);
EVRT_MUST_CHECK int evrt_frame_get_limit(struct evrt_slice payload, struct evrt_frame_limit *f);
EVRT_MUST_CHECK int evrt_frame_get_read(struct evrt_slice payload, struct evrt_frame_read *f);
EVRT_MUST_CHECK int evrt_frame_get_query(struct evrt_slice payload, struct evrt_frame_query *f);
EVRT_MUST_CHECK int evrt_frame_get_write(struct evrt_slice payload, struct evrt_frame_write *f);
EVRT_MUST_CHECK int evrt_frame_get_value(struct evrt_slice payload, struct evrt_frame_value *f);
EVRT_MUST_CHECK int evrt_frame_get_effects(struct evrt_slice payload, struct evrt_frame_effects *f);
EVRT_MUST_CHECK int evrt_frame_get_span(struct evrt_slice payload, struct evrt_frame_span *f);
EVRT_MUST_CHECK int evrt_frame_get_metric(struct evrt_slice payload, struct evrt_frame_metric *f);
EVRT_MUST_CHECK int evrt_frame_get_metric_series(struct evrt_slice payload,
                                                 struct evrt_frame_metric_series *f);
EVRT_MUST_CHECK int evrt_frame_get_share(struct evrt_slice payload, struct evrt_frame_share *f);
EVRT_MUST_CHECK int evrt_frame_get_log_level(struct evrt_slice payload,
                                             struct evrt_frame_log_level *f);
EVRT_MUST_CHECK int evrt_frame_get_shared(struct evrt_slice payload, struct evrt_frame_shared *f);

#endif

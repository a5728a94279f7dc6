/* evrt: events that must not be lost, handled by Lua scripts in worker processes.
 *
 * This is the whole C API: create a runtime from a configuration, start it on your uv loop, publish
 * events, drain, destroy. The `evrt` command line is built on nothing else.
 *
 * Thread: every function is called on the thread that runs the loop given to evrt_start(), unless
 * its comment says otherwise. Strings and slices passed in are copied before the call returns.
 * Functions that can fail return 0 or a negative errno; where a person needs the reason it is in
 * the last parameter, a `struct evrt_error *` (may be NULL).
 *
 *     struct evrt_error err;
 *     struct evrt *rt;
 *     if (evrt_create(&rt, "conf/evrt.yaml", NULL, &err) < 0) die(err.message);
 *     if (evrt_start(rt, uv_default_loop(), &err) < 0) die(err.message);
 *     evrt_publish(rt, &(struct evrt_event){ .type = EVRT_STR("user.registered"),
 *                                            .data = EVRT_STR("{\"user_id\":1}") },
 *                  on_durable, arg, &err);
 *     uv_run(uv_default_loop(), UV_RUN_DEFAULT);
 */
#ifndef EVRT_H
#define EVRT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define EVRT_MUST_CHECK __attribute__((warn_unused_result))
#define EVRT_EXPORT __attribute__((visibility("default")))
#else
#define EVRT_MUST_CHECK
#define EVRT_EXPORT
#endif

struct uv_loop_s;
struct evrt;

/* Bytes that someone else owns; not NUL-terminated. {NULL, 0} means absent. */
struct evrt_slice {
    const char *p;
    size_t n;
};

#define EVRT_STR(literal) ((struct evrt_slice){(literal), sizeof(literal) - 1})

/* Why something failed, for a person: one line, no trailing newline. `code` is the negative errno
 * that the function returned. `file` and `line` are set ("" and 0 otherwise) when the reason is a
 * place in a configuration or script file; `message` then does not repeat them. */
struct evrt_error {
    int code;
    int line;
    char file[256];
    char message[768];
};

/* One CloudEvents 1.0 event. Absent attributes are {NULL, 0}.
 * On publish: `type` is required; `id` defaults to a UUIDv7, `time` to now, `source` to the
 * service's name; `seq` is ignored. `extensions` is the encoding described in runtime/core/event.h.
 * `data` is passed on as the bytes given; with no datacontenttype it must be JSON. */
struct evrt_event {
    struct evrt_slice id;
    struct evrt_slice type;
    struct evrt_slice source;
    struct evrt_slice time; /* RFC 3339 */
    struct evrt_slice subject;
    struct evrt_slice datacontenttype;
    struct evrt_slice dataschema;
    struct evrt_slice extensions;
    struct evrt_slice data;
    uint64_t seq;      /* dense number of the event in the journal, from 1 */
    int64_t stored_ms; /* wall clock, milliseconds since the epoch, when it was journaled */
    uint32_t flags;    /* EVRT_EVENT_* */
    uint8_t hops;      /* how many publishes by handlers led to this one */
    /* The delivery that published it; set by evrt, ignored on publish: the event's seq (0: none) and the
     * number of its handler. */
    uint64_t cause_seq;
    uint32_t cause_handler;
};

enum {
    EVRT_EVENT_JSON = 1,     /* data was validated as one JSON document */
    EVRT_EVENT_BASE64 = 2,   /* data arrived as data_base64; it is stored decoded */
    EVRT_EVENT_HAS_DATA = 4, /* tells empty data from absent data */
    EVRT_EVENT_OWN_ID = 8,   /* evrt made the id */
};

/* What evrt_create() may be told besides the configuration file. Zero-initialise. */
struct evrt_options {
    const char *const *overrides; /* "key.sub=value", NULL-terminated; beat file and environment */
    const char *worker_path;      /* program that runs workers; default: this executable */
};

/* Loads and checks the configuration at `config_path` (NULL: the defaults). Nothing is opened yet.
 * On success the caller owns *out and ends it with evrt_destroy(). -EINVAL: bad configuration. */
EVRT_EXPORT EVRT_MUST_CHECK int evrt_create(struct evrt **out, const char *config_path,
                                            const struct evrt_options *options,
                                            struct evrt_error *err);

/* Opens and recovers the store, starts workers, which load the handlers, and the listeners on `loop`.
 * Returns once all of that is done; events are handled as the loop runs, whose thread asks the kernel for short turns
 * until evrt_destroy(), then for usual ones. -EINVAL: a bad script or value;
 * -EBUSY: store locked or port taken; any other: see err. On error only evrt_destroy() may follow. */
EVRT_EXPORT EVRT_MUST_CHECK int evrt_start(struct evrt *rt, struct uv_loop_s *loop,
                                           struct evrt_error *err);

/* Called on the loop thread when the event is durable (status 0 or bits as below, its seq and the slice
 * `id`, valid during the call). A runtime that loses its store ends the process instead of calling. */
enum {
    EVRT_DUPLICATE =
        1, /* its source and id were published before (dedup.window): seq is that one's */
    EVRT_SCHEDULED =
        2, /* it is for later (deliverat): seq is its number among such, not a sequence */
};
typedef void (*evrt_publish_cb)(void *arg, int status, uint64_t seq, struct evrt_slice id);

/* Publishes one event. 0: accepted, `cb` (may be NULL) will be called exactly once.
 * -EINVAL: bad event (or a type of evrt's own, "evrt.x"), see err; -EMSGSIZE: over http.max_event_size;
 * -ENOSPC: the store is full; -EAGAIN: too much is waiting for the disk, try later; -ESHUTDOWN: draining.
 * Not called then. */
EVRT_EXPORT EVRT_MUST_CHECK int evrt_publish(struct evrt *rt, const struct evrt_event *event,
                                             evrt_publish_cb cb, void *arg, struct evrt_error *err);

/* Publishes one event and waits until the first attempt of every handler it matches has settled, or until
 * `timeout_ms` after it became durable. `cb` is called once, on the loop thread: `pending` handlers had
 * not settled (UINT_MAX: it is not known which there are); `outcomes` is a JSON array [{"handler",
 * "outcome":"success|retrying|dead|discarded|pending","error"?}], valid during the call.
 * Errors as for evrt_publish(). */
typedef void (*evrt_handled_cb)(void *arg, uint64_t seq, unsigned pending,
                                struct evrt_slice outcomes);
EVRT_EXPORT EVRT_MUST_CHECK int evrt_publish_wait(struct evrt *rt, const struct evrt_event *event,
                                                  int64_t timeout_ms, evrt_handled_cb cb, void *arg,
                                                  struct evrt_error *err);

/* Reads the configuration file and the scripts anew, as SIGHUP does to a node. What is good takes over at
 * once, as a whole: workers of the new scripts are started beside the old ones, get every delivery from then
 * on, and the old ones finish what they have (up to workers.drain_timeout). What is bad changes nothing.
 * `cb` (may be NULL) is called once, on the loop thread: status 0 and what changed, or -EINVAL and the
 * errors, or -ESHUTDOWN; `json` is what POST /api/v1/reload answers, valid during the call. */
typedef void (*evrt_reload_cb)(void *arg, int status, struct evrt_slice json);
EVRT_EXPORT void evrt_reload(struct evrt *rt, evrt_reload_cb cb, void *arg);

/* Has `cb` called whenever a reload begins, whatever asked for it (status 1, no json), and when it is decided
 * (as above). One at a time; NULL ends it. */
typedef void (*evrt_reload_watch_cb)(void *arg, int status, struct evrt_slice json);
EVRT_EXPORT void evrt_watch_reloads(struct evrt *rt, evrt_reload_watch_cb cb, void *arg);

/* Stops intake, lets deliveries in flight finish (up to workers.drain_timeout), commits, closes the
 * store and every handle on the loop, then calls `cb`. Called again: stops waiting, still
 * consistent. The runtime may be destroyed from `cb` or after it. */
typedef void (*evrt_drain_cb)(void *arg);
EVRT_EXPORT void evrt_drain(struct evrt *rt, evrt_drain_cb cb, void *arg);

/* Frees the runtime. After a successful evrt_start() it must have drained. NULL is allowed. */
EVRT_EXPORT void evrt_destroy(struct evrt *rt);

/* Loads the scripts exactly as evrt_start() would, in a worker of its own, and ends it again; the store
 * and the ports are not touched. Runs a loop of its own and blocks until decided. `each` is called for
 * every error found. 0 and *handlers, or -EINVAL when there was one. Instead of evrt_start(). */
EVRT_EXPORT EVRT_MUST_CHECK int evrt_check(struct evrt *rt,
                                           void (*each)(void *arg, const struct evrt_error *err),
                                           void *arg, unsigned *handlers);

/* Whether events are taken in and every worker has loaded its scripts. *why (may be NULL) says what is
 * missing: static text. */
EVRT_EXPORT int evrt_ready(const struct evrt *rt, const char **why);

/* Counts since the store was made, over all handlers; for tools that wait for work to end. */
struct evrt_totals {
    uint64_t events;                /* durable */
    uint64_t matched;               /* (event, handler) pairs that had to be delivered */
    uint64_t done, dead, discarded; /* how they ended */
    uint64_t retrying;              /* of those that did not: failed, and wait to be tried again */
};
EVRT_EXPORT void evrt_totals(const struct evrt *rt, struct evrt_totals *out);

/* Everything counted, as GET /metrics answers: Prometheus' text format 0.0.4, or OpenMetrics 1.0. `cb` is called
 * before this returns; the text is valid during the call. -ENOTSUP: metrics.enabled is false. */
typedef void (*evrt_text_cb)(void *arg, struct evrt_slice text);
EVRT_EXPORT EVRT_MUST_CHECK int evrt_metrics(struct evrt *rt, int openmetrics, evrt_text_cb cb,
                                             void *arg);

/* Each span that is recorded, as one JSON object without a line's end, as tracing.exporter: stdout writes it;
 * borrowed for the call, which comes on the loop's thread. */
typedef void (*evrt_span_cb)(void *arg, struct evrt_slice json);
/* To be called before evrt_start(). Spans come with tracing.exporter: none, too; what is recorded is as
 * tracing.sample_rate and the rest of the section say. */
EVRT_EXPORT void evrt_watch_spans(struct evrt *rt, evrt_span_cb cb, void *arg);

/* "fsync", "os" or "memory": what durable means for this runtime. Static. */
EVRT_EXPORT const char *evrt_durability(const struct evrt *rt);

/* Opens log files anew, after they were rotated. */
EVRT_EXPORT void evrt_reopen_logs(struct evrt *rt);

/* "0.1.0"; static. Any thread. */
EVRT_EXPORT const char *evrt_version(void);

#ifdef __cplusplus
}
#endif
#endif

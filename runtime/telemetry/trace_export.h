/* The exporter: a thread that takes chunks of records from a bounded queue and gets rid of them. Private to
 * tracing; made and ended by the tracer.
 *
 *     tracer: put ─▶ queue ─▶ thread ─▶ records as OTLP ─▶ gzip ─▶ POST, tried again as the protocol says
 *                                    └▶ records as lines ─▶ log's writer, or standard output
 */
#ifndef EVRT_TELEMETRY_TRACE_EXPORT_H
#define EVRT_TELEMETRY_TRACE_EXPORT_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/random.h"
#include "telemetry/trace.h"
#include "telemetry/trace_options.h"

struct evrt_trace_sender;
struct evrt_otlp;

enum {
    EVRT_TRACE_CHUNK_BYTES = 256 << 10, /* a chunk of so many is full */
    EVRT_TRACE_QUEUE_BYTES = 16 << 20,  /* more do not wait, however few spans they are */
};

struct evrt_trace_chunk {
    struct evrt_trace_chunk *next;
    size_t spans;
    int64_t first_ns; /* when its first was put, monotonic */
    struct evrt_buf records;
};

struct evrt_trace_exporter_state {
    const struct evrt_trace_options *options;
    struct evrt_log *log;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct evrt_trace_chunk *first, *last; /* the queue; under lock, as are: */
    struct evrt_trace_chunk *spare;        /* one or two, so that memory goes round */
    unsigned spares;
    bool idle, closing;
    int64_t until_ns; /* closing: when to give up */

    _Atomic uint64_t bytes; /* of those that wait */
    _Atomic uint64_t waiting, exported, dropped, failed, rejected, requests, retries;

    /* The thread's. */
    struct evrt_otlp *otlp;
    struct evrt_trace_sender *sender; /* under lock as far as it is woken; NULL: not made yet */
    struct evrt_random random;
    struct evrt_buf lines, zipped;
    struct evrt_error trouble; /* the last one */
    uint64_t told;             /* of all losses, so many are in the log */
    int64_t told_ns;
    bool own_stdout; /* lines go there directly: the log does not write to it */
};

EVRT_MUST_CHECK int evrt_trace_exporter_start(struct evrt_trace_exporter_state *x,
                                              const struct evrt_trace_options *options,
                                              struct evrt_log *log, struct evrt_error *err);
/* Ends the thread when the queue is empty, or after `ms`. */
void evrt_trace_exporter_stop(struct evrt_trace_exporter_state *x, int64_t ms);
/* Takes the chunk over, and gives an empty one back. What finds no room is counted and forgotten. */
struct evrt_trace_chunk *evrt_trace_exporter_put(struct evrt_trace_exporter_state *x,
                                                 struct evrt_trace_chunk *chunk);
struct evrt_trace_chunk *evrt_trace_chunk_create(void);
void evrt_trace_chunk_destroy(struct evrt_trace_chunk *c);

#endif

/* The ring of finished lines and the thread that writes them out. Owned by the log. Lines are put under
 * `lock` by any thread; the writer thread takes the lock only between writes. */
#ifndef EVRT_TELEMETRY_LOG_WRITER_H
#define EVRT_TELEMETRY_LOG_WRITER_H

#include <pthread.h>
#include <stdbool.h>

#include "evrt.h"
#include "telemetry/log_output.h"

/* What the thread is doing. Who wants it awake sets it to busy and signals. */
enum evrt_log_writer_state { EVRT_LOG_BUSY, EVRT_LOG_NAPPING, EVRT_LOG_IDLE };

struct evrt_log_writer {
    pthread_mutex_t lock;
    pthread_cond_t wake;    /* the writer waits here */
    pthread_cond_t written; /* who flushes waits here */
    pthread_t thread;

    /* Positions only grow; bytes [tail, head) are to be written. A line is never split by the ring's end:
     * [pad, pad_end) is what such a line skipped. */
    char *ring;
    size_t size;
    uint64_t head, tail, pad, pad_end;
    uint64_t origin; /* the position at ring[0] */

    enum evrt_log_writer_state state;
    unsigned reopen; /* so often asked for, and not done */
    bool closing;
    bool failed;    /* no output took the last batch */
    bool said_last; /* closing: what was lost has been said */
    int64_t say_after_ns, nap_ns;
    unsigned flushers;
    int64_t closing_ns;       /* when closing began */
    uint64_t dropped, unsaid; /* lines lost in all; since the last time it was said */
    int drop_error;           /* why, when an output failed; 0: the ring was full */

    /* Called on the writer thread without the lock: lines were lost and there is room to say so. */
    void (*on_dropped)(void *arg, uint64_t lines, int error);
    /* ... a file was opened anew, or not. */
    void (*on_reopened)(void *arg, const char *path, int error);
    void *arg;

    struct evrt_log_output *outputs;
    size_t output_count;
};

/* The caller has filled in on_dropped, on_reopened, arg and zeroed the rest. */
EVRT_MUST_CHECK int evrt_log_writer_start(struct evrt_log_writer *w, const char *const *outputs,
                                          size_t size, struct evrt_error *err);
/* Writes what there is (a second at most for an output that does not take it) and ends the thread. */
void evrt_log_writer_stop(struct evrt_log_writer *w);

/* With the lock held: puts a line, or counts it as dropped (false). Releases the lock. An eighth of the ring is for
 * urgent lines: those of a flood do not crowd them out. */
bool evrt_log_writer_put(struct evrt_log_writer *w, const char *line, size_t n, bool urgent);
void evrt_log_writer_flush(struct evrt_log_writer *w, int64_t ms);
void evrt_log_writer_reopen(struct evrt_log_writer *w);

#endif

/* Inside of `evrt bench`: the load on a running node, phase by phase. One thread, one loop. */
#ifndef EVRT_CLI_BENCH_H
#define EVRT_CLI_BENCH_H

#include <stdbool.h>
#include <uv.h>

#include "core/buf.h"

/* Durations in nanoseconds, collected and then sorted. */
struct bench_samples {
    int64_t *v;
    size_t n, cap;
};
void bench_samples_add(struct bench_samples *s, int64_t ns);
/* The value below which the fraction q of the samples lies; 0 when there are none. Sorts. */
int64_t bench_samples_at(struct bench_samples *s, double q);

struct bench {
    struct evrt *rt;
    uv_loop_t loop;
    double seconds;
    uint64_t rate, in_flight, tick_us;
    struct evrt_slice data;
    bool ids; /* events come with ids, which the node remembers (dedup) */
    uint64_t made;
    char id[32];
    double tick_cores;     /* what bench_tick_cost() said; negative: not asked yet */
    struct evrt_error err; /* of a publish that was refused for good */

    /* Filled by the phases. */
    uint64_t published, handled;
    int64_t elapsed_ns;
    double cpu_host, cpu_workers; /* seconds of CPU during the phase */
    struct bench_samples durable, done;
};

/* As many events as the pipeline takes, `in_flight` at most unhandled. */
void bench_flat_out(struct bench *b);
/* One event at a time: the next is published when the last is handled. */
void bench_single(struct bench *b);
/* `rate` events a second: each `tick_us` as many as are due by then. */
void bench_steady(struct bench *b);
/* The cores that this loop needs to wake each `tick_us` and do nothing. */
double bench_tick_cost(struct bench *b);

/* The bare disk: n bytes by pwrite + fdatasync into a preallocated file in `dir`, one at a time. 0 or
 * -errno. */
EVRT_MUST_CHECK int bench_bare(const char *dir, size_t n, double seconds,
                               struct bench_samples *out);

/* Turns as lines of standard input ask for them: "PHASE MILLISECONDS". */
struct bench_turns {
    uv_loop_t *loop;
    uv_poll_t poll;
    struct evrt_buf in;
    size_t at;
    bool ended, closed;
};
struct bench_turn {
    char phase[16];
    double seconds;
};
/* A negative errno: standard input is no pipe or terminal. End it all the same when it was polled. */
EVRT_MUST_CHECK int bench_turns_begin(struct bench_turns *t, uv_loop_t *loop);
/* 1 and the next one; 0: there are no more; -EINVAL: the line is not one. Turns the loop meanwhile. */
EVRT_MUST_CHECK int bench_turns_next(struct bench_turns *t, struct bench_turn *out);
void bench_turns_end(struct bench_turns *t);

/* CPU seconds used so far by this process, and by its live children. */
void bench_cpu(double *own, double *children);

#endif

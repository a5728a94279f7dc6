/* See trace.h. The loop's part: what is recorded, how much of it, and in which chunk it waits. A span's own end
 * serves as the clock of the limit, so that putting one reads none. */
#include "telemetry/trace.h"

#include <stdlib.h>

#include "core/random.h"
#include "telemetry/trace_export.h"
#include "telemetry/trace_options.h"
#include "telemetry/trace_record.h"

enum { SECOND = 1000000000, RESERVE = SECOND / 4, MS = 1000000 };

struct evrt_tracer {
    struct evrt_trace_options options; /* taken over */
    struct evrt_trace_chunk *chunk;    /* NULL: nothing is exported */
    uint64_t threshold;
    /* The limit is a bucket of time: it gains what passes, at most a second, and each span takes its share. No
     * trace is begun with the last quarter, which is for those that are. */
    int64_t credit_ns, cost_ns, credited_ns;
    _Atomic uint64_t limited;
    struct evrt_trace_exporter_state exporter;
};

void evrt_tracer_set(struct evrt_tracer *t, double ratio, uint64_t max_spans_per_second) {
    if (t == NULL) return;
    t->threshold = evrt_trace_threshold(ratio);
    t->cost_ns = SECOND / (int64_t)max_spans_per_second;
}

int evrt_tracer_create(struct evrt_tracer **out, const struct evrt_trace_options *options,
                       struct evrt_log *log, struct evrt_error *err) {
    *out = NULL;
    bool exports = options->exporter != EVRT_TRACE_NONE;
    if (!exports && options->hook.cb == NULL) return 0;
    struct evrt_tracer *t = evrt_zalloc(sizeof *t);
    t->options = *options;
    t->credit_ns = SECOND;
    evrt_tracer_set(t, options->ratio, options->max_spans_per_second);
    int rc = exports ? evrt_trace_exporter_start(&t->exporter, &t->options, log, err) : 0;
    if (rc < 0) {
        free(t);
        return rc;
    }
    if (exports) t->chunk = evrt_trace_chunk_create();
    *out = t;
    return 0;
}

static void hand_over(struct evrt_tracer *t) {
    t->chunk = evrt_trace_exporter_put(&t->exporter, t->chunk);
}

void evrt_tracer_destroy(struct evrt_tracer *t, int64_t ms) {
    if (t == NULL) return;
    if (t->chunk != NULL) {
        if (t->chunk->spans != 0) hand_over(t);
        evrt_trace_exporter_stop(&t->exporter, ms);
        evrt_trace_chunk_destroy(t->chunk);
    }
    free(t);
}

/* ---- Sampling ---- */

static void gain(struct evrt_tracer *t, int64_t now_ns) {
    if (now_ns <= t->credited_ns) return;
    t->credit_ns += t->credited_ns == 0 ? 0 : now_ns - t->credited_ns;
    if (t->credit_ns > SECOND) t->credit_ns = SECOND;
    t->credited_ns = now_ns;
}

static bool has_room(struct evrt_tracer *t, int64_t now_ns) {
    gain(t, now_ns);
    int64_t least = t->cost_ns + RESERVE < SECOND ? t->cost_ns + RESERVE : SECOND;
    if (t->credit_ns >= least) return true;
    atomic_fetch_add_explicit(&t->limited, 1, memory_order_relaxed);
    return false;
}

bool evrt_tracer_begin(struct evrt_tracer *t, struct evrt_random *random, int64_t now_ns,
                       struct evrt_trace_context *c) {
    uint64_t low = evrt_random_u64(random);
    *c = (struct evrt_trace_context){0};
    if (!evrt_trace_in_share(low, t->threshold) || !has_room(t, now_ns)) return false;
    c->high = evrt_random_u64(random);
    c->low = low == 0 ? 1 : low;
    c->flags = EVRT_TRACE_SAMPLED | EVRT_TRACE_RANDOM;
    return true;
}

bool evrt_tracer_join(struct evrt_tracer *t, const struct evrt_trace_context *c) {
    bool wanted = t->options.parent_based ? evrt_trace_is_sampled(c)
                                          : evrt_trace_in_share(c->low, t->threshold);
    return wanted && t->credit_ns >= t->cost_ns;
}

uint64_t evrt_tracer_threshold(const struct evrt_tracer *t) {
    return t == NULL ? 0 : t->threshold;
}

bool evrt_tracer_keeps_errors(const struct evrt_tracer *t) {
    return t != NULL && t->options.keep_errors;
}

/* ---- Spans ---- */

/* As long as the limit takes all of them. */
static bool take_share(struct evrt_tracer *t, int64_t now_ns, unsigned spans) {
    gain(t, now_ns);
    if (t->credit_ns < t->cost_ns * spans) return false;
    t->credit_ns -= t->cost_ns * spans;
    return true;
}

static void put(struct evrt_tracer *t, const struct evrt_span *s, unsigned spans) {
    struct evrt_trace_chunk *c = t->chunk;
    if (c->spans == 0) c->first_ns = s->end_ns;
    evrt_span_put(&c->records, s);
    c->spans += spans;
    if (c->spans >= t->options.batch_size || c->records.n >= EVRT_TRACE_CHUNK_BYTES) hand_over(t);
}

static void put_one(struct evrt_tracer *t, const struct evrt_span *s) {
    if (!take_share(t, s->end_ns, 1)) {
        atomic_fetch_add_explicit(&t->limited, 1, memory_order_relaxed);
        return;
    }
    if (t->options.hook.cb != NULL) t->options.hook.cb(t->options.hook.arg, s);
    if (t->chunk != NULL) put(t, s, 1);
}

/* Where both find room at once: in the limit, in the batch; and nobody looks at each. */
static bool put_both(struct evrt_tracer *t, const struct evrt_span *s) {
    if (t->chunk == NULL || t->options.hook.cb != NULL) return false;
    if (t->chunk->spans + 2 > t->options.batch_size || !take_share(t, s->end_ns, 2)) return false;
    put(t, s, 2);
    return true;
}

void evrt_tracer_put(struct evrt_tracer *t, const struct evrt_span *s) {
    if (!s->stores) {
        put_one(t, s);
    } else if (!put_both(t, s)) {
        struct evrt_span publish = *s, store = evrt_span_store(s);
        publish.stores = false;
        put_one(t, &publish);
        put_one(t, &store);
    }
}

int64_t evrt_tracer_turn(struct evrt_tracer *t, int64_t now_ns) {
    if (t == NULL || t->chunk == NULL || t->chunk->spans == 0) return -1;
    int64_t left = t->options.batch_delay_ms - (now_ns - t->chunk->first_ns) / MS;
    if (left > 0) return left;
    hand_over(t);
    return -1;
}

void evrt_tracer_counts(struct evrt_tracer *t, struct evrt_tracer_counts *out) {
    *out = (struct evrt_tracer_counts){0};
    if (t == NULL) return;
    struct evrt_trace_exporter_state *x = &t->exporter;
#define READ(from) atomic_load_explicit(&(from), memory_order_relaxed)
    out->exported = READ(x->exported);
    out->limited = READ(t->limited);
    out->queue = READ(x->dropped);
    out->failed = READ(x->failed);
    out->rejected = READ(x->rejected);
    out->requests = READ(x->requests);
    out->retries = READ(x->retries);
    out->waiting = READ(x->waiting);
#undef READ
}

/* See trace_export.h. Memory goes round: a chunk that was exported is the next one's room. What is lost is said
 * in the log, all of it together and at most once in ten seconds. */
#include "telemetry/trace_export.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/attributes.h"
#include "core/clock.h"
#include "core/cpu.h"
#include "core/error.h"
#include "telemetry/gzip.h"
#include "telemetry/log_events.h"
#include "telemetry/trace_json.h"
#include "telemetry/trace_otlp.h"
#include "telemetry/trace_record.h"
#include "telemetry/trace_send.h"

enum {
    SPARES_MAX = 2,
    BACKOFF_MS = 1000, /* before the second try, then half as long again, */
    BACKOFF_MAX_MS = 5000,
    TRIES_MAX = 5,
    MS = 1000000,
};
#define SAY_NS INT64_C(10000000000)

/* ---- Chunks ---- */

struct evrt_trace_chunk *evrt_trace_chunk_create(void) {
    return evrt_zalloc(sizeof(struct evrt_trace_chunk));
}

void evrt_trace_chunk_destroy(struct evrt_trace_chunk *c) {
    evrt_buf_finish(&c->records);
    free(c);
}

static void empty(struct evrt_trace_chunk *c) {
    c->next = NULL;
    c->spans = 0;
    evrt_buf_clear(&c->records);
}

/* The lock is held. */
static struct evrt_trace_chunk *take_spare(struct evrt_trace_exporter_state *x) {
    struct evrt_trace_chunk *c = x->spare;
    if (c == NULL) return NULL;
    x->spare = c->next;
    x->spares--;
    c->next = NULL;
    return c;
}

struct evrt_trace_chunk *evrt_trace_exporter_put(struct evrt_trace_exporter_state *x,
                                                 struct evrt_trace_chunk *chunk) {
    if (atomic_load(&x->waiting) + chunk->spans > x->options->queue_size ||
        atomic_load(&x->bytes) + chunk->records.n > EVRT_TRACE_QUEUE_BYTES) {
        atomic_fetch_add(&x->dropped, chunk->spans);
        empty(chunk);
        return chunk;
    }
    pthread_mutex_lock(&x->lock);
    size_t waiting = atomic_fetch_add(&x->waiting, chunk->spans) + chunk->spans;
    bool wake = x->idle || waiting > x->options->queue_size / 2;
    x->idle = false;
    atomic_fetch_add(&x->bytes, chunk->records.n);
    *(x->first == NULL ? &x->first : &x->last->next) = chunk;
    x->last = chunk;
    struct evrt_trace_chunk *next = take_spare(x);
    pthread_mutex_unlock(&x->lock);
    if (wake) pthread_cond_signal(&x->wake);
    return next == NULL ? evrt_trace_chunk_create() : next;
}

/* Waits for one. NULL: the thread is to end. */
static struct evrt_trace_chunk *take(struct evrt_trace_exporter_state *x) {
    pthread_mutex_lock(&x->lock);
    while (x->first == NULL && !x->closing) {
        x->idle = true;
        pthread_cond_wait(&x->wake, &x->lock);
    }
    x->idle = false;
    struct evrt_trace_chunk *c = x->first;
    if (c != NULL) x->first = c->next;
    pthread_mutex_unlock(&x->lock);
    return c;
}

static void give_back(struct evrt_trace_exporter_state *x, struct evrt_trace_chunk *c) {
    atomic_fetch_sub(&x->waiting, c->spans);
    atomic_fetch_sub(&x->bytes, c->records.n);
    empty(c);
    pthread_mutex_lock(&x->lock);
    bool keep = x->spares < SPARES_MAX;
    if (keep) {
        c->next = x->spare;
        x->spare = c;
        x->spares++;
    }
    pthread_mutex_unlock(&x->lock);
    if (!keep) evrt_trace_chunk_destroy(c);
}

/* ---- Time ---- */

static bool is_over(void *arg) {
    struct evrt_trace_exporter_state *x = arg;
    pthread_mutex_lock(&x->lock);
    bool over = x->closing && evrt_mono_ns() >= x->until_ns;
    pthread_mutex_unlock(&x->lock);
    return over;
}

/* Less when more than `most` spans come to wait, or the node stops. Whether it goes on. */
static bool pause_for(struct evrt_trace_exporter_state *x, int64_t ms, size_t most) {
    int64_t until = evrt_mono_ns() + ms * MS;
    struct timespec at = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    int rc = 0;
    pthread_mutex_lock(&x->lock);
    while (!x->closing && atomic_load(&x->waiting) <= most && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&x->wake, &x->lock, &at);
    bool closing = x->closing;
    pthread_mutex_unlock(&x->lock);
    return !closing;
}

/* Between two chunks: to be woken for each one costs its waker more than many spans do. */
static void nap(struct evrt_trace_exporter_state *x) {
    enum { NAP_MS = 100 };
    if (atomic_load(&x->waiting) == 0) (void)pause_for(x, NAP_MS, x->options->queue_size / 2);
}

/* ---- Telling ---- */

static uint64_t lost(const struct evrt_trace_exporter_state *x) {
    return atomic_load(&x->dropped) + atomic_load(&x->failed) + atomic_load(&x->rejected);
}

static void tell(struct evrt_trace_exporter_state *x, bool last) {
    uint64_t all = lost(x);
    int64_t now = evrt_mono_ns();
    if (all == x->told || (!last && x->told_ns != 0 && now - x->told_ns < SAY_NS)) return;
    const char *why = x->trouble.message[0] != '\0' ? x->trouble.message
                                                    : "spans came faster than they were taken";
    evrt_log_event(x->log, SPANS_LOST, EVRT_F_U64("count", all - x->told),
                   EVRT_F_U64("queue", atomic_load(&x->dropped)),
                   EVRT_F_U64("failed", atomic_load(&x->failed)),
                   EVRT_F_U64("rejected", atomic_load(&x->rejected)), EVRT_F_CSTR("error", why));
    x->told = all;
    x->told_ns = now;
    x->trouble.message[0] = '\0';
}

/* ---- OTLP ---- */

static int64_t backoff(struct evrt_trace_exporter_state *x, unsigned tries, int64_t asked_ms) {
    if (asked_ms >= 0) return asked_ms;
    int64_t ms = BACKOFF_MS;
    for (unsigned i = 1; i < tries && ms < BACKOFF_MAX_MS; i++)
        ms += ms / 2;
    if (ms > BACKOFF_MAX_MS) ms = BACKOFF_MAX_MS;
    return ms / 2 + (int64_t)(evrt_random_u64(&x->random) % (uint64_t)(ms / 2 + 1));
}

static void take_answer(struct evrt_trace_exporter_state *x, size_t spans,
                        const struct evrt_trace_answer *a) {
    struct evrt_buf why;
    evrt_buf_init(&why);
    uint64_t rejected = evrt_otlp_rejected(a->body, &why);
    if (rejected > spans) rejected = spans;
    atomic_fetch_add(&x->exported, spans - rejected);
    atomic_fetch_add(&x->rejected, rejected);
    if (rejected != 0)
        evrt_error_set(&x->trouble, -EIO, "the collector rejected spans: %.*s",
                       (int)(why.n < 500 ? why.n : 500), why.n != 0 ? why.p : "");
    evrt_buf_finish(&why);
}

static int make_sender(struct evrt_trace_exporter_state *x) {
    struct evrt_trace_sender *sender;
    int rc = evrt_trace_sender_create(&sender, x->options, &x->trouble);
    if (rc < 0) return rc;
    pthread_mutex_lock(&x->lock);
    x->sender = sender;
    pthread_mutex_unlock(&x->lock);
    x->otlp = evrt_otlp_create(evrt_buf_slice(&x->options->resource));
    return 0;
}

static bool deliver(struct evrt_trace_exporter_state *x, size_t spans, struct evrt_slice body) {
    for (unsigned tries = 1;; tries++) {
        atomic_fetch_add(&x->requests, 1);
        struct evrt_trace_answer a = evrt_trace_send(x->sender, body, is_over, x, &x->trouble);
        if (a.verdict == EVRT_TRACE_SENT) {
            take_answer(x, spans, &a);
            return true;
        }
        if (a.verdict == EVRT_TRACE_REFUSED || tries == TRIES_MAX) return false;
        /* There is no other try when the node stops; what waits meanwhile changes nothing. */
        if (!pause_for(x, backoff(x, tries, a.retry_after_ms), SIZE_MAX)) return false;
        atomic_fetch_add(&x->retries, 1);
    }
}

static void export_otlp(struct evrt_trace_exporter_state *x, const struct evrt_trace_chunk *c) {
    bool sent = false;
    if (!is_over(x) && (x->sender != NULL || make_sender(x) == 0)) {
        struct evrt_slice body =
            evrt_otlp_encode(x->otlp, evrt_buf_slice(&c->records), evrt_unix_ns());
        if (evrt_trace_sender_zips(x->sender)) {
            evrt_buf_clear(&x->zipped);
            evrt_gzip(body, &x->zipped);
            body = evrt_buf_slice(&x->zipped);
        }
        sent = deliver(x, c->spans, body);
    }
    if (!sent) atomic_fetch_add(&x->failed, c->spans);
}

/* ---- Lines ---- */

/* A pipe that can be written to takes PIPE_BUF bytes at once: so this never stands for long. */
static bool write_all(struct evrt_trace_exporter_state *x, struct evrt_slice s) {
    enum { LOOK_MS = 200 };
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    while (s.n > 0) {
        int ready = poll(&out, 1, LOOK_MS);
        if ((ready < 0 && errno != EINTR) || (ready == 0 && is_over(x))) return false;
        if (ready <= 0) continue;
        ssize_t n = write(STDOUT_FILENO, s.p, s.n < PIPE_BUF ? s.n : PIPE_BUF);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n <= 0) return false;
        s.p += n;
        s.n -= (size_t)n;
    }
    return true;
}

static struct evrt_slice service_of(const struct evrt_trace_options *o) {
    struct evrt_attribute a;
    for (size_t at = 0; evrt_attributes_next(evrt_buf_slice(&o->resource), &at, &a);)
        if (evrt_slice_eq(a.name, EVRT_STR("service.name"))) return a.text;
    return (struct evrt_slice){NULL, 0};
}

/* One line at a time to the log, which takes no part of one. */
static void put_line(struct evrt_trace_exporter_state *x, const struct evrt_span *s,
                     struct evrt_slice service, int64_t ahead) {
    evrt_span_json(&x->lines, s, service, ahead);
    if (x->own_stdout) return;
    bool kept = evrt_log_line(x->log, evrt_buf_slice(&x->lines));
    atomic_fetch_add(kept ? &x->exported : &x->failed, 1);
    evrt_buf_clear(&x->lines);
}

static void export_lines(struct evrt_trace_exporter_state *x, const struct evrt_trace_chunk *c) {
    struct evrt_slice service = service_of(x->options);
    struct evrt_span s;
    int64_t ahead = evrt_unix_ns();
    evrt_buf_clear(&x->lines);
    for (size_t at = 0; evrt_span_next(evrt_buf_slice(&c->records), &at, &s);) {
        put_line(x, &s, service, ahead);
        if (!s.stores) continue;
        struct evrt_span store = evrt_span_store(&s);
        put_line(x, &store, service, ahead);
    }
    if (!x->own_stdout) return;
    bool written = write_all(x, evrt_buf_slice(&x->lines));
    if (!written) evrt_error_set(&x->trouble, -errno, "standard output: %s", strerror(errno));
    atomic_fetch_add(written ? &x->exported : &x->failed, c->spans);
}

/* ---- The thread ---- */

static void *run(void *arg) {
    struct evrt_trace_exporter_state *x = arg;
    evrt_cpu_give_way();
    for (struct evrt_trace_chunk *c; (c = take(x)) != NULL;) {
        if (x->options->exporter == EVRT_TRACE_OTLP)
            export_otlp(x, c);
        else
            export_lines(x, c);
        give_back(x, c);
        tell(x, false);
        nap(x);
    }
    tell(x, true);
    return NULL;
}

/* No signal is for this thread. */
static int start_thread(struct evrt_trace_exporter_state *x) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&x->thread, NULL, run, x);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) pthread_setname_np(x->thread, "evrt-spans");
    return -rc;
}

int evrt_trace_exporter_start(struct evrt_trace_exporter_state *x,
                              const struct evrt_trace_options *options, struct evrt_log *log,
                              struct evrt_error *err) {
    pthread_condattr_t monotonic;
    *x = (struct evrt_trace_exporter_state){.options = options, .log = log};
    x->own_stdout = !evrt_log_writes_to(log, "stdout");
    evrt_random_init(&x->random);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int rc = start_thread(x);
    if (rc == 0) return 0;
    pthread_cond_destroy(&x->wake);
    pthread_mutex_destroy(&x->lock);
    return evrt_error_set(err, rc, "cannot start the thread that exports spans: %s", strerror(-rc));
}

void evrt_trace_exporter_stop(struct evrt_trace_exporter_state *x, int64_t ms) {
    pthread_mutex_lock(&x->lock);
    x->until_ns = evrt_mono_ns() + ms * MS;
    x->closing = true;
    if (x->sender != NULL) evrt_trace_sender_wake(x->sender);
    pthread_mutex_unlock(&x->lock);
    pthread_cond_signal(&x->wake);
    pthread_join(x->thread, NULL);
    evrt_trace_sender_destroy(x->sender);
    evrt_otlp_destroy(x->otlp);
    evrt_buf_finish(&x->lines);
    evrt_buf_finish(&x->zipped);
    for (struct evrt_trace_chunk *c; (c = take_spare(x)) != NULL;)
        evrt_trace_chunk_destroy(c);
    pthread_cond_destroy(&x->wake);
    pthread_mutex_destroy(&x->lock);
}

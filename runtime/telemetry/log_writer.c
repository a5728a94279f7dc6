/* See log_writer.h. Waking a thread costs the waker more than making a line does, so it is done for the
 * first line after silence only; then the writer naps between batches, for longer as lines keep coming, and is
 * woken early when the ring is half full, or by a flush. */
#include "telemetry/log_writer.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/error.h"

#define NAP_NS 20000000 /* the first after silence; each doubles */
#define NAP_MAX_NS 100000000
#define CLOSING_NS 1000000000
#define SAY_NS 1000000000
#define RESERVE 8 /* one part in so many is for urgent lines */

bool evrt_log_writer_put(struct evrt_log_writer *w, const char *line, size_t n, bool urgent) {
    size_t at = (size_t)((w->head - w->origin) % w->size);
    size_t skip = w->size - at < n ? w->size - at : 0;
    size_t most = urgent ? w->size : w->size - w->size / RESERVE;
    bool wake = false, room = n <= w->size / 2 && w->head - w->tail + skip + n <= most;
    if (room) {
        if (skip > 0) {
            w->pad = w->head;
            w->pad_end = w->head += skip;
            at = 0;
        }
        memcpy(w->ring + at, line, n);
        w->head += n;
        wake = w->state == EVRT_LOG_IDLE ||
               (w->state == EVRT_LOG_NAPPING && w->head - w->tail > w->size / 2);
        if (wake) w->state = EVRT_LOG_BUSY; /* the next line need not wake it again */
    } else {
        w->dropped++;
        w->unsaid++;
    }
    pthread_mutex_unlock(&w->lock);
    if (wake) pthread_cond_signal(&w->wake);
    return room;
}

/* Whether to go on waiting for an output: not while others wait for the ring, nor for long at the end. */
static bool patient(void *arg) {
    struct evrt_log_writer *w = arg;
    pthread_mutex_lock(&w->lock);
    bool yes = w->closing ? evrt_mono_ns() - w->closing_ns < CLOSING_NS
                          : w->head - w->tail < w->size / 4 * 3;
    pthread_mutex_unlock(&w->lock);
    return yes;
}

/* The next bytes that stand together: up to a pad, the ring's end or the head. Lock held. */
static size_t next_batch(struct evrt_log_writer *w, const char **p) {
    if (w->pad_end > w->tail && w->tail == w->pad) w->tail = w->pad_end;
    uint64_t to = w->pad_end > w->tail ? w->pad : w->head;
    size_t at = (size_t)((w->tail - w->origin) % w->size), n = (size_t)(to - w->tail);
    *p = w->ring + at;
    return n < w->size - at ? n : w->size - at;
}

/* The lock is held, and released while writing: the bytes are nobody else's until tail moves. */
static void write_batch(struct evrt_log_writer *w) {
    const char *p;
    size_t n = next_batch(w, &p), failed = 0;
    uint64_t lost = 0;
    pthread_mutex_unlock(&w->lock);
    int error = 0;
    for (size_t i = 0; i < w->output_count; i++) {
        uint64_t lines = evrt_log_output_write(&w->outputs[i], p, n, patient, w);
        if (lines > 0) {
            error = w->outputs[i].error;
            failed++;
        }
        lost += lines;
    }
    pthread_mutex_lock(&w->lock);
    w->tail += n;
    w->dropped += lost;
    w->unsaid += lost;
    w->failed = failed > 0 && failed == w->output_count;
    if (error != 0) w->drop_error = error;
}

/* The lock is held, and released meanwhile. */
static void reopen(struct evrt_log_writer *w) {
    unsigned asked = w->reopen;
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < w->output_count; i++)
        if (w->outputs[i].file)
            w->on_reopened(w->arg, w->outputs[i].path, evrt_log_output_reopen(&w->outputs[i]));
    pthread_mutex_lock(&w->lock);
    w->reopen -= asked; /* who flushes waited for it until now */
}

static bool some_output_takes_again(const struct evrt_log_writer *w) {
    for (size_t i = 0; i < w->output_count; i++)
        if (evrt_log_output_takes_again(&w->outputs[i])) return true;
    return false;
}

/* Once a second at most: saying it may be lost as well, and must not go round in circles. `wrote`: there were other
 * lines just now; else an output that is stuck would only lose what is said of it. */
static bool should_say(const struct evrt_log_writer *w, bool wrote) {
    if (w->unsaid == 0 || w->head - w->tail > w->size / 2) return false;
    bool stuck = w->failed || (w->drop_error == -EAGAIN && !wrote && !w->closing);
    if (stuck && !some_output_takes_again(w)) return false;
    return w->closing ? !w->said_last : evrt_mono_ns() >= w->say_after_ns;
}

static void say_dropped(struct evrt_log_writer *w) {
    uint64_t lines = w->unsaid;
    int error = w->drop_error;
    w->unsaid = 0;
    w->drop_error = 0;
    w->said_last = w->closing;
    w->say_after_ns = evrt_mono_ns() + SAY_NS;
    pthread_mutex_unlock(&w->lock);
    w->on_dropped(w->arg, lines, error);
    pthread_mutex_lock(&w->lock);
}

/* Until someone sets the state to busy, or the time has come (0: it never does). */
static void wait_in(struct evrt_log_writer *w, enum evrt_log_writer_state state, int64_t until_ns) {
    struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
    int rc = 0;
    w->state = state;
    while (w->state == state && rc != ETIMEDOUT)
        rc = until_ns == 0 ? pthread_cond_wait(&w->wake, &w->lock)
                           : pthread_cond_timedwait(&w->wake, &w->lock, &until);
    w->state = EVRT_LOG_BUSY;
}

/* When to look whether lines that were lost can be said, should no other line follow; 0: never. What an output that
 * is stuck lost is said once it takes lines again; one that fails in other ways is not tried without a line. */
static int64_t look_again_ns(const struct evrt_log_writer *w) {
    if (w->unsaid == 0) return 0;
    if (w->drop_error == 0) return w->say_after_ns;
    return w->drop_error == -EAGAIN ? evrt_mono_ns() + SAY_NS : 0;
}

/* Nothing is left. The ring starts over at its first byte, so that a quiet log touches few pages. */
static void idle(struct evrt_log_writer *w) {
    w->nap_ns = NAP_NS;
    w->origin = w->head;
    w->pad = w->pad_end = 0;
    wait_in(w, EVRT_LOG_IDLE, look_again_ns(w));
}

static void nap(struct evrt_log_writer *w) {
    int64_t ns = w->nap_ns;
    w->nap_ns = ns * 2 < NAP_MAX_NS ? ns * 2 : NAP_MAX_NS;
    wait_in(w, EVRT_LOG_NAPPING, evrt_mono_ns() + ns);
}

static void *run(void *arg) {
    struct evrt_log_writer *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        bool some = w->head != w->tail;
        if (w->reopen > 0) reopen(w);
        if (some) write_batch(w);
        if (w->flushers > 0) pthread_cond_broadcast(&w->written);
        size_t left = (size_t)(w->head - w->tail);
        bool hurry = w->reopen > 0 || w->closing || w->flushers > 0 || left > w->size / 2;
        if (should_say(w, some))
            say_dropped(w);
        else if (left == 0 && w->closing)
            break;
        else if (left == 0 && !some && w->reopen == 0)
            idle(w);
        else if (left == 0 || !hurry)
            nap(w);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static int open_outputs(struct evrt_log_writer *w, const char *const *outputs,
                        struct evrt_error *err) {
    size_t n = 0;
    while (outputs != NULL && outputs[n] != NULL)
        n++;
    w->outputs = evrt_zalloc((n + 1) * sizeof *w->outputs);
    for (; w->output_count < n; w->output_count++) {
        int rc = evrt_log_output_open(&w->outputs[w->output_count], outputs[w->output_count], err);
        if (rc < 0) return rc;
    }
    return 0;
}

static void close_outputs(struct evrt_log_writer *w) {
    while (w->output_count > 0)
        evrt_log_output_close(&w->outputs[--w->output_count]);
    free(w->outputs);
}

/* No signal is for this thread, and SIGPIPE stays an error of write(). */
static int start_thread(struct evrt_log_writer *w) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) pthread_setname_np(w->thread, "evrt-log");
    return -rc;
}

int evrt_log_writer_start(struct evrt_log_writer *w, const char *const *outputs, size_t size,
                          struct evrt_error *err) {
    int rc = open_outputs(w, outputs, err);
    if (rc < 0) {
        close_outputs(w);
        return rc;
    }
    w->ring = evrt_alloc(size);
    w->size = size;
    w->nap_ns = NAP_NS;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_cond_init(&w->written, &monotonic);
    pthread_condattr_destroy(&monotonic);
    rc = start_thread(w);
    if (rc == 0) return 0;
    evrt_error_set(err, rc, "cannot start the log's thread: %s", strerror(-rc));
    pthread_cond_destroy(&w->written);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w->ring);
    close_outputs(w);
    return rc;
}

void evrt_log_writer_stop(struct evrt_log_writer *w) {
    pthread_mutex_lock(&w->lock);
    w->closing_ns = evrt_mono_ns();
    w->closing = true;
    w->state = EVRT_LOG_BUSY;
    pthread_mutex_unlock(&w->lock);
    pthread_cond_signal(&w->wake);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->written);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w->ring);
    close_outputs(w);
}

void evrt_log_writer_flush(struct evrt_log_writer *w, int64_t ms) {
    int64_t until_ns = evrt_mono_ns() + ms * 1000000;
    struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
    pthread_mutex_lock(&w->lock);
    uint64_t target = w->head;
    int rc = 0;
    w->flushers++;
    while ((w->tail < target || w->reopen > 0) && rc != ETIMEDOUT) {
        w->state = EVRT_LOG_BUSY;
        pthread_cond_signal(&w->wake);
        rc = pthread_cond_timedwait(&w->written, &w->lock, &until);
    }
    w->flushers--;
    pthread_mutex_unlock(&w->lock);
}

void evrt_log_writer_reopen(struct evrt_log_writer *w) {
    pthread_mutex_lock(&w->lock);
    w->reopen++;
    w->state = EVRT_LOG_BUSY;
    pthread_mutex_unlock(&w->lock);
    pthread_cond_signal(&w->wake);
}

/* See log.h. Sampling needs no lock and comes first, since most lines of a busy node end there; the clock is
 * read before the lock is taken; the line is made in the encoder's buffer under the lock and copied into the
 * ring whole, so that the ring never holds a part. */
#include "telemetry/log.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"
#include "telemetry/log_encode.h"
#include "telemetry/log_events.h"
#include "telemetry/log_sample.h"
#include "telemetry/log_writer.h"

#define DEFAULT_RING (512u << 10)
#define SMALLEST_RING 4096u

struct evrt_log {
    _Atomic int level;
    struct evrt_log_encoder encoder; /* under writer.lock */
    struct evrt_log_writer writer;
    struct evrt_log_sampler sampler;
};

static void on_dropped(void *arg, uint64_t lines, int error) {
    const struct evrt_log_field fields[] = {
        EVRT_F_U64("count", lines),
        EVRT_F_CSTR("error", error == 0 ? NULL : strerror(-error)),
    };
    evrt_log_write_event(arg, EVRT_MSG_LOG_DROPPED, __FILE__ ":" EVRT_LOG_LINE(__LINE__), fields,
                         2);
}

static void on_reopened(void *arg, const char *path, int error) {
    struct evrt_log *log = arg;
    if (error == 0)
        evrt_log_event(log, LOG_REOPENED, EVRT_F_CSTR("path", path));
    else
        evrt_log_event(log, LOG_REOPEN_FAILED, EVRT_F_CSTR("path", path),
                       EVRT_F_CSTR("error", strerror(-error)));
}

static bool all_terminals(const struct evrt_log_writer *w) {
    for (size_t i = 0; i < w->output_count; i++)
        if (!evrt_log_output_is_terminal(&w->outputs[i])) return false;
    return true;
}

int evrt_log_create(struct evrt_log **out, const struct evrt_log_options *options,
                    struct evrt_error *err) {
    struct evrt_log *log = evrt_zalloc(sizeof *log);
    size_t ring = options->buffer == 0 ? DEFAULT_RING : options->buffer;
    atomic_init(&log->level, (int)options->level);
    evrt_log_sampler_set(&log->sampler, options->sample_first, options->sample_then);
    log->writer.on_dropped = on_dropped;
    log->writer.on_reopened = on_reopened;
    log->writer.arg = log;
    /* Before the thread, which may log; whether to colour is known only after. */
    evrt_log_encoder_init(&log->encoder, options, false);
    int rc = evrt_log_writer_start(&log->writer, options->outputs,
                                   ring < SMALLEST_RING ? SMALLEST_RING : ring, err);
    if (rc < 0) {
        evrt_log_encoder_finish(&log->encoder);
        free(log);
        return rc;
    }
    log->encoder.colour =
        options->console && getenv("NO_COLOR") == NULL && all_terminals(&log->writer);
    *out = log;
    return 0;
}

void evrt_log_destroy(struct evrt_log *log) {
    if (log == NULL) return;
    evrt_log_writer_stop(&log->writer);
    evrt_log_encoder_finish(&log->encoder);
    free(log);
}

void evrt_log_flush(struct evrt_log *log, int64_t ms) {
    if (log != NULL) evrt_log_writer_flush(&log->writer, ms);
}

void evrt_log_reopen(struct evrt_log *log) {
    if (log != NULL) evrt_log_writer_reopen(&log->writer);
}

void evrt_log_set(struct evrt_log *log, const struct evrt_log_options *options) {
    if (log == NULL) return;
    pthread_mutex_lock(&log->writer.lock);
    log->encoder.caller = options->caller;
    log->encoder.stacktrace = options->stacktrace;
    pthread_mutex_unlock(&log->writer.lock);
    evrt_log_sampler_set(&log->sampler, options->sample_first, options->sample_then);
}

void evrt_log_set_level(struct evrt_log *log, enum evrt_log_level level) {
    if (log != NULL) atomic_store_explicit(&log->level, (int)level, memory_order_relaxed);
}

enum evrt_log_level evrt_log_level(const struct evrt_log *log) {
    if (log == NULL) return EVRT_LOG_ERROR;
    return (enum evrt_log_level)atomic_load_explicit(&log->level, memory_order_relaxed);
}

bool evrt_log_enabled(const struct evrt_log *log, enum evrt_log_level level) {
    return log != NULL && (int)level >= atomic_load_explicit(&log->level, memory_order_relaxed);
}

void evrt_log_counts(const struct evrt_log *log, uint64_t *dropped, uint64_t *sampled) {
    *dropped = *sampled = 0;
    if (log == NULL) return;
    pthread_mutex_t *lock = (pthread_mutex_t *)&log->writer.lock;
    pthread_mutex_lock(lock);
    *dropped = log->writer.dropped;
    pthread_mutex_unlock(lock);
    *sampled = evrt_log_sample_left_out(&log->sampler);
}

bool evrt_log_line(struct evrt_log *log, struct evrt_slice line) {
    if (log == NULL) return false;
    pthread_mutex_lock(&log->writer.lock);
    return evrt_log_writer_put(&log->writer, line.p, line.n, false);
}

bool evrt_log_writes_to(const struct evrt_log *log, const char *output) {
    for (size_t i = 0; log != NULL && i < log->writer.output_count; i++)
        if (strcmp(log->writer.outputs[i].path, output) == 0) return true;
    return false;
}

static const char *const level_names[] = {"debug", "info", "warn", "error"};

int evrt_log_level_parse(struct evrt_slice name) {
    for (int i = 0; i < 4; i++)
        if (evrt_slice_eq(name, evrt_slice_of(level_names[i]))) return i;
    return -1;
}

const char *evrt_log_level_name(enum evrt_log_level level) {
    return level_names[level & 3];
}

static void put(struct evrt_log *log, enum evrt_log_level level, const char *caller,
                struct evrt_slice msg, const struct evrt_log_field *fields, size_t count) {
    int64_t ms = evrt_wall_ms();
    pthread_mutex_lock(&log->writer.lock);
    struct evrt_log_encoder *e = &log->encoder;
    evrt_log_encode(e, ms, level, caller, msg, fields, count);
    evrt_log_writer_put(&log->writer, e->line.p, e->line.n, level >= EVRT_LOG_WARN);
}

/* Cheap (5 ns), and the turn of the second may be 4 ms late. */
static int64_t coarse_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void evrt_log_write(struct evrt_log *log, enum evrt_log_level level, const char *caller,
                    struct evrt_slice msg, const struct evrt_log_field *fields, size_t count) {
    if (evrt_log_enabled(log, level) &&
        evrt_log_sample_text(&log->sampler, level, msg, coarse_ns()))
        put(log, level, caller, msg, fields, count);
}

bool evrt_log_event_admit(struct evrt_log *log, enum evrt_log_message_id id, int64_t now_ns) {
    return evrt_log_enabled(log, evrt_log_message(id)->level) &&
           evrt_log_sample_event(&log->sampler, id, now_ns != 0 ? now_ns : coarse_ns());
}

void evrt_log_write_event(struct evrt_log *log, enum evrt_log_message_id id, const char *caller,
                          const struct evrt_log_field *fields, size_t count) {
    const struct evrt_log_message *m = evrt_log_message(id);
    if (evrt_log_enabled(log, m->level))
        put(log, m->level, caller, evrt_slice_of(m->text), fields, count);
}

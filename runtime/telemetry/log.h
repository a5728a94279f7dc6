/* Structured logging: one JSON object (or one console line) per call, written by a thread off the hot
 * path. Messages that the runtime itself logs are one table (telemetry/log_events.h).
 *
 * Any thread may log. The line is made on the calling thread and put into a bounded ring; that never
 * blocks: when the ring is full the line is dropped and counted, and the count is logged when there is room
 * again. A NULL log takes everything and writes nothing.
 *
 *     caller ──sample──▶ encode ──▶ ring ──▶ writer thread ──▶ outputs */
#ifndef EVRT_TELEMETRY_LOG_H
#define EVRT_TELEMETRY_LOG_H

#include <stdbool.h>

#include "core/buf.h"

struct evrt_log;

enum evrt_log_level { EVRT_LOG_DEBUG, EVRT_LOG_INFO, EVRT_LOG_WARN, EVRT_LOG_ERROR };

struct evrt_log_options {
    enum evrt_log_level level;
    bool console;    /* console encoding instead of JSON; colours when all outputs are terminals */
    bool caller;     /* add "caller" */
    bool stacktrace; /* add a script's traceback where there is one */
    const char *const *outputs; /* "stdout", "stderr" or a file's path; NULL-terminated */
    uint32_t sample_first;      /* per second and message: log the first n, 0: no sampling */
    uint32_t sample_then;       /* ... and then every n-th; 0: none */
    size_t buffer;              /* bytes of the ring; 0: default */
};

EVRT_MUST_CHECK int evrt_log_create(struct evrt_log **out, const struct evrt_log_options *options,
                                    struct evrt_error *err);
/* Writes what is buffered, then frees. */
void evrt_log_destroy(struct evrt_log *log);
/* Waits until everything logged before the call is written (or `ms` have passed). */
void evrt_log_flush(struct evrt_log *log, int64_t ms);
/* Opens file outputs anew (SIGUSR1, after logrotate). */
void evrt_log_reopen(struct evrt_log *log);
void evrt_log_set_level(struct evrt_log *log, enum evrt_log_level level);
/* What a reload changes: caller, stacktrace and sampling. */
void evrt_log_set(struct evrt_log *log, const struct evrt_log_options *options);
enum evrt_log_level evrt_log_level(const struct evrt_log *log); /* a NULL log: error */
bool evrt_log_enabled(const struct evrt_log *log, enum evrt_log_level level);
/* Lines lost to a full ring or a failed write, and lines left out by sampling, since creation. */
void evrt_log_counts(const struct evrt_log *log, uint64_t *dropped, uint64_t *sampled);
/* A line that was made elsewhere, with its newline: goes where lines go, whole. false: it was dropped. */
bool evrt_log_line(struct evrt_log *log, struct evrt_slice line);
/* Whether "stdout", "stderr" or this file is one of its outputs. */
bool evrt_log_writes_to(const struct evrt_log *log, const char *output);
/* -1 when the name is not a level. */
int evrt_log_level_parse(struct evrt_slice name);
const char *evrt_log_level_name(enum evrt_log_level level);

/* A field of a line. Made by the macros below; values are borrowed for the call. */
struct evrt_log_field {
    const char *key;
    enum {
        EVRT_LF_STR,
        EVRT_LF_U64,
        EVRT_LF_I64,
        EVRT_LF_DOUBLE,
        EVRT_LF_BOOL,
        EVRT_LF_DURATION, /* nanoseconds, shown as "0.023s" */
        EVRT_LF_TIME,     /* milliseconds since the epoch, shown as RFC 3339 */
        EVRT_LF_JSON,     /* text that is JSON already */
        EVRT_LF_MEMBERS,  /* text that is the inside of a JSON object: key ignored */
    } kind;
    uint32_t
        own_n; /* length of a key that the runtime itself gives: a literal, once; 0: anyone's */
    union {
        struct evrt_slice s;
        uint64_t u;
        int64_t i;
        double d;
    } v;
};
#define EVRT_F(k, kind, ...) \
    ((struct evrt_log_field){(k), (kind), (uint32_t)__builtin_strlen(k), {__VA_ARGS__}})
#define EVRT_F_STR(k, slice) EVRT_F(k, EVRT_LF_STR, .s = (slice))
#define EVRT_F_CSTR(k, text) EVRT_F_STR(k, evrt_slice_of(text))
#define EVRT_F_U64(k, x) EVRT_F(k, EVRT_LF_U64, .u = (x))
#define EVRT_F_I64(k, x) EVRT_F(k, EVRT_LF_I64, .i = (x))
#define EVRT_F_DOUBLE(k, x) EVRT_F(k, EVRT_LF_DOUBLE, .d = (x))
#define EVRT_F_BOOL(k, x) EVRT_F(k, EVRT_LF_BOOL, .u = (x))
#define EVRT_F_DURATION(k, ns) EVRT_F(k, EVRT_LF_DURATION, .i = (ns))
#define EVRT_F_TIME(k, ms) EVRT_F(k, EVRT_LF_TIME, .i = (ms))
#define EVRT_F_JSON(k, slice) EVRT_F(k, EVRT_LF_JSON, .s = (slice))
#define EVRT_F_MEMBERS(slice) EVRT_F("", EVRT_LF_MEMBERS, .s = (slice))

/* Fields keep the order given; a key given twice is written once (the first), and one whose text is
 * {NULL, 0} not at all. The fields level, timestamp, caller and msg come first and are the logger's own: a
 * field of that name is written with a trailing '_'. "stacktrace" is written when the option says so.
 * `caller` is "file:line", or NULL. One line comes out whatever the bytes; text that is not the JSON it is
 * said to be becomes a string, and a value over 16 KiB is cut and says so. */
void evrt_log_write(struct evrt_log *log, enum evrt_log_level level, const char *caller,
                    struct evrt_slice msg, const struct evrt_log_field *fields, size_t count);

#define EVRT_LOG_STRINGIFY(x) #x
#define EVRT_LOG_LINE(x) EVRT_LOG_STRINGIFY(x)
/* evrt_log(log, EVRT_LOG_INFO, "Event published", EVRT_F_U64("seq", 7), ...): at least one field. */
#define evrt_log(log, level, message, ...)                                            \
    do {                                                                              \
        if (evrt_log_enabled((log), (level))) {                                       \
            const struct evrt_log_field evrt_fields_[] = {__VA_ARGS__};               \
            evrt_log_write((log), (level), EVRT_LOG_FILE ":" EVRT_LOG_LINE(__LINE__), \
                           evrt_slice_of(message), evrt_fields_,                      \
                           sizeof evrt_fields_ / sizeof evrt_fields_[0]);             \
        }                                                                             \
    } while (0)
/* __FILE__ relative to runtime/: the build passes -fmacro-prefix-map so that it is. */
#define EVRT_LOG_FILE __FILE__

#endif

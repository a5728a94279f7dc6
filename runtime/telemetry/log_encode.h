/* One log line from level, message and fields: JSON or for the console. Owned by the log and used under
 * its lock. */
#ifndef EVRT_TELEMETRY_LOG_ENCODE_H
#define EVRT_TELEMETRY_LOG_ENCODE_H

#include "core/clock.h"
#include "telemetry/log.h"

/* A value longer than this is cut, and the line says so and how long it was. */
#define EVRT_LOG_VALUE_MAX 16384

struct evrt_log_encoder {
    bool console, colour, caller, stacktrace;
    struct evrt_buf line;    /* the line being made, with its newline at the end */
    struct evrt_buf keys;    /* struct key_place of every key in `line` */
    uint64_t key_bits;       /* a bit for each of them: one that is clear says a key is new */
    struct evrt_buf scratch; /* a string of foreign JSON, unescaped */
    int64_t second;          /* that `stamp` was formatted for */
    char stamp[EVRT_RFC3339_SIZE];
};

void evrt_log_encoder_init(struct evrt_log_encoder *e, const struct evrt_log_options *options,
                           bool colour);
void evrt_log_encoder_finish(struct evrt_log_encoder *e);

/* Makes e->line. `caller` NULL: none. */
void evrt_log_encode(struct evrt_log_encoder *e, int64_t wall_ms, enum evrt_log_level level,
                     const char *caller, struct evrt_slice msg, const struct evrt_log_field *fields,
                     size_t count);

#endif

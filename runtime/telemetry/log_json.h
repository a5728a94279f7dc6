/* JSON that others made (a script's fields, outcomes) on its way into a log line: checked and copied
 * compactly, so that a line stays one line and one object whatever it was given. Any thread. */
#ifndef EVRT_TELEMETRY_LOG_JSON_H
#define EVRT_TELEMETRY_LOG_JSON_H

#include <stdbool.h>

#include "core/buf.h"

#define EVRT_LOG_JSON_DEPTH 64

/* Reads of one text. `scratch` is the caller's and holds the string read last, unescaped. */
struct evrt_log_json {
    const char *p, *end;
    struct evrt_buf *scratch;
    int depth;
};

/* Appends the value at r->p (a string longer than `max` bytes is cut with a mark) and moves past it and the
 * space behind it. 0, or -EINVAL and out may hold a part. */
int evrt_log_json_value(struct evrt_log_json *r, struct evrt_buf *out, size_t max);

/* For members, the inside of an object: reads `"key":` into scratch. 1: the value is next; 0: there are no
 * more; -EINVAL. `first` is true for the first. */
int evrt_log_json_key(struct evrt_log_json *r, bool first);

/* A JSON string of s, cut with a mark after `max` bytes. */
void evrt_log_json_quote(struct evrt_buf *out, struct evrt_slice s, size_t max);

#endif

/* Writing JSON text into a buffer: for log lines, the admin API and --json. Any thread.
 *
 *     struct evrt_jsonout o = evrt_jsonout_start(&buf);
 *     evrt_jsonout_object(&o);
 *     evrt_jsonout_put_u64(&o, "seq", 7);
 *     evrt_jsonout_end(&o);
 *
 * Commas are placed by the writer; nesting goes to EVRT_JSONOUT_DEPTH (asserted). */
#ifndef EVRT_CORE_JSONOUT_H
#define EVRT_CORE_JSONOUT_H

#include <stdbool.h>

#include "core/buf.h"

#define EVRT_JSONOUT_DEPTH 32

struct evrt_jsonout {
    struct evrt_buf *out;
    int depth;
    bool comma;                       /* the next value or key follows another */
    char closing[EVRT_JSONOUT_DEPTH]; /* what ends each open level */
};

struct evrt_jsonout evrt_jsonout_start(struct evrt_buf *out);
void evrt_jsonout_object(struct evrt_jsonout *o);
void evrt_jsonout_array(struct evrt_jsonout *o);
/* Ends the innermost object or array. */
void evrt_jsonout_end(struct evrt_jsonout *o);
void evrt_jsonout_key(struct evrt_jsonout *o, const char *key);
void evrt_jsonout_str(struct evrt_jsonout *o, struct evrt_slice s);
void evrt_jsonout_cstr(struct evrt_jsonout *o, const char *s); /* NULL: null */
void evrt_jsonout_u64(struct evrt_jsonout *o, uint64_t v);
void evrt_jsonout_i64(struct evrt_jsonout *o, int64_t v);
void evrt_jsonout_double(struct evrt_jsonout *o, double v); /* not finite: null */
void evrt_jsonout_bool(struct evrt_jsonout *o, bool v);
void evrt_jsonout_null(struct evrt_jsonout *o);
/* Text that is JSON already. */
void evrt_jsonout_raw(struct evrt_jsonout *o, struct evrt_slice json);

/* A key with its value. */
void evrt_jsonout_put_str(struct evrt_jsonout *o, const char *key, struct evrt_slice s);
void evrt_jsonout_put_cstr(struct evrt_jsonout *o, const char *key, const char *s); /* NULL: null */
void evrt_jsonout_put_u64(struct evrt_jsonout *o, const char *key, uint64_t v);
void evrt_jsonout_put_i64(struct evrt_jsonout *o, const char *key, int64_t v);
void evrt_jsonout_put_double(struct evrt_jsonout *o, const char *key, double v);
void evrt_jsonout_put_bool(struct evrt_jsonout *o, const char *key, bool v);
void evrt_jsonout_put_null(struct evrt_jsonout *o, const char *key);
void evrt_jsonout_put_raw(struct evrt_jsonout *o, const char *key, struct evrt_slice json);
/* Milliseconds of the epoch as RFC 3339 has them. */
void evrt_jsonout_put_time(struct evrt_jsonout *o, const char *key, int64_t ms);
/* The same of what may be left out: nothing at all when it is empty or 0. */
void evrt_jsonout_put_given_str(struct evrt_jsonout *o, const char *key, struct evrt_slice s);
void evrt_jsonout_put_given_u64(struct evrt_jsonout *o, const char *key, uint64_t v);

/* Appends s with quotes. Whatever the bytes, the result is one valid JSON string on one line that does
 * nothing to a terminal: control characters (C1 too) and U+2028/9 are escaped, bytes that are not UTF-8
 * become U+FFFD. */
void evrt_json_quote(struct evrt_buf *out, struct evrt_slice s);

#endif

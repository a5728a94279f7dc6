/* See jsonout.h. */
#include "core/jsonout.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/jsonplain.h"
#include "core/utf8.h"

struct evrt_jsonout evrt_jsonout_start(struct evrt_buf *out) {
    return (struct evrt_jsonout){.out = out};
}

static void before_value(struct evrt_jsonout *o) {
    if (o->comma) evrt_buf_putc(o->out, ',');
    o->comma = true;
}

static void open_level(struct evrt_jsonout *o, char open, char close) {
    assert(o->depth < EVRT_JSONOUT_DEPTH);
    before_value(o);
    evrt_buf_putc(o->out, open);
    o->closing[o->depth++] = close;
    o->comma = false;
}

void evrt_jsonout_object(struct evrt_jsonout *o) {
    open_level(o, '{', '}');
}

void evrt_jsonout_array(struct evrt_jsonout *o) {
    open_level(o, '[', ']');
}

void evrt_jsonout_end(struct evrt_jsonout *o) {
    assert(o->depth > 0);
    evrt_buf_putc(o->out, o->closing[--o->depth]);
    o->comma = true;
}

void evrt_jsonout_key(struct evrt_jsonout *o, const char *key) {
    before_value(o);
    evrt_json_quote(o->out, evrt_slice_of(key));
    evrt_buf_putc(o->out, ':');
    o->comma = false;
}

void evrt_jsonout_str(struct evrt_jsonout *o, struct evrt_slice s) {
    before_value(o);
    evrt_json_quote(o->out, s);
}

void evrt_jsonout_cstr(struct evrt_jsonout *o, const char *s) {
    if (s == NULL)
        evrt_jsonout_null(o);
    else
        evrt_jsonout_str(o, evrt_slice_of(s));
}

void evrt_jsonout_u64(struct evrt_jsonout *o, uint64_t v) {
    before_value(o);
    evrt_buf_put_u64(o->out, v);
}

void evrt_jsonout_i64(struct evrt_jsonout *o, int64_t v) {
    before_value(o);
    evrt_buf_put_i64(o->out, v);
}

void evrt_jsonout_double(struct evrt_jsonout *o, double v) {
    if (!isfinite(v)) {
        evrt_jsonout_null(o);
        return;
    }
    before_value(o);
    char text[32];
    snprintf(text, sizeof text, "%.15g", v);
    if (strtod(text, NULL) != v) snprintf(text, sizeof text, "%.17g", v);
    evrt_buf_puts(o->out, text);
}

void evrt_jsonout_bool(struct evrt_jsonout *o, bool v) {
    evrt_jsonout_raw(o, evrt_slice_of(v ? "true" : "false"));
}

void evrt_jsonout_null(struct evrt_jsonout *o) {
    evrt_jsonout_raw(o, EVRT_STR("null"));
}

void evrt_jsonout_raw(struct evrt_jsonout *o, struct evrt_slice json) {
    before_value(o);
    evrt_buf_put(o->out, json.p, json.n);
}

/* ---- Members ---- */

void evrt_jsonout_put_str(struct evrt_jsonout *o, const char *key, struct evrt_slice s) {
    evrt_jsonout_key(o, key);
    evrt_jsonout_str(o, s);
}

void evrt_jsonout_put_cstr(struct evrt_jsonout *o, const char *key, const char *s) {
    evrt_jsonout_key(o, key);
    evrt_jsonout_cstr(o, s);
}

void evrt_jsonout_put_u64(struct evrt_jsonout *o, const char *key, uint64_t v) {
    evrt_jsonout_key(o, key);
    evrt_jsonout_u64(o, v);
}

void evrt_jsonout_put_i64(struct evrt_jsonout *o, const char *key, int64_t v) {
    evrt_jsonout_key(o, key);
    evrt_jsonout_i64(o, v);
}

void evrt_jsonout_put_double(struct evrt_jsonout *o, const char *key, double v) {
    evrt_jsonout_key(o, key);
    evrt_jsonout_double(o, v);
}

void evrt_jsonout_put_bool(struct evrt_jsonout *o, const char *key, bool v) {
    evrt_jsonout_key(o, key);
    evrt_jsonout_bool(o, v);
}

void evrt_jsonout_put_null(struct evrt_jsonout *o, const char *key) {
    evrt_jsonout_key(o, key);
    evrt_jsonout_null(o);
}

void evrt_jsonout_put_raw(struct evrt_jsonout *o, const char *key, struct evrt_slice json) {
    evrt_jsonout_key(o, key);
    evrt_jsonout_raw(o, json);
}

void evrt_jsonout_put_time(struct evrt_jsonout *o, const char *key, int64_t ms) {
    char text[EVRT_RFC3339_SIZE];
    evrt_jsonout_put_cstr(o, key, evrt_rfc3339_format(ms, text));
}

void evrt_jsonout_put_given_str(struct evrt_jsonout *o, const char *key, struct evrt_slice s) {
    if (s.n != 0) evrt_jsonout_put_str(o, key, s);
}

void evrt_jsonout_put_given_u64(struct evrt_jsonout *o, const char *key, uint64_t v) {
    if (v != 0) evrt_jsonout_put_u64(o, key, v);
}

/* ---- Strings ---- */

static void put_escape(struct evrt_buf *out, unsigned code) {
    switch (code) {
    case '"': evrt_buf_puts(out, "\\\""); return;
    case '\\': evrt_buf_puts(out, "\\\\"); return;
    case '\n': evrt_buf_puts(out, "\\n"); return;
    case '\r': evrt_buf_puts(out, "\\r"); return;
    case '\t': evrt_buf_puts(out, "\\t"); return;
    default: evrt_buf_printf(out, "\\u%04x", code);
    }
}

void evrt_json_quote(struct evrt_buf *out, struct evrt_slice s) {
    size_t from = 0, at = 0;
    evrt_buf_putc(out, '"');
    while (at < s.n) {
        at += evrt_json_plain(s.p + at, s.n - at);
        if (at == s.n) break;
        unsigned char c = (unsigned char)s.p[at];
        uint32_t code = c;
        size_t n = c < 0x80 ? 1 : evrt_utf8_next(s.p + at, s.n - at, &code);
        if (n > 1 && code >= 0xa0 && code != 0x2028 && code != 0x2029) {
            at += n;
            continue;
        }
        evrt_buf_put(out, s.p + from, at - from);
        put_escape(out, n == 0 ? 0xfffd : code);
        at += n == 0 ? 1 : n;
        from = at;
    }
    evrt_buf_put(out, s.p + from, s.n - from);
    evrt_buf_putc(out, '"');
}

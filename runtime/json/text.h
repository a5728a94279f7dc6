/* Stepping over JSON text: what the scanner, evrt_json_at() and the Lua binding share. Any thread.
 * Everything but the scanner works on checked text; it still never reads past `end`. */
#ifndef EVRT_JSON_TEXT_H
#define EVRT_JSON_TEXT_H

#include <stdbool.h>

#include "core/buf.h"
#include "core/jsonplain.h"

static inline const char *evrt_json_space(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* p is after the opening quote of a checked string. Returns where its closing quote stands (end when
 * there is none); *escaped: a backslash came before it. */
static inline const char *evrt_json_string_end(const char *p, const char *end, bool *escaped) {
    *escaped = false;
    for (;;) {
        p += evrt_json_plain(p, (size_t)(end - p));
        if (p == end || *p == '"') return p;
        if (*p == '\\') {
            *escaped = true;
            if (++p == end) return p;
        }
        p++;
    }
}

/* Unescapes the inside of a checked string; out has room for n bytes. Returns the length written. */
size_t evrt_json_unescape(const char *p, size_t n, char *out);

/* p is at the first byte of a checked value. Returns the byte after the value, or end. */
const char *evrt_json_skip(const char *p, const char *end);

#endif

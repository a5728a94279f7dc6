/* Reading checked JSON text without building anything; see text.h and json.h. */
#include "json/text.h"

#include <stdlib.h>

#include "core/utf8.h"
#include "json/json.h"

static unsigned hex_digit(char c) {
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
}

/* The four digits of a \u escape. */
static uint32_t hex4(const char *p) {
    return hex_digit(p[0]) << 12 | hex_digit(p[1]) << 8 | hex_digit(p[2]) << 4 | hex_digit(p[3]);
}

/* p is after the 'u' of a \u escape. Appends the character, and returns where it ends. The text is
 * checked, so a high surrogate has its low one; too short a rest ends the string. */
static const char *put_unicode(const char *p, const char *end, char **out) {
    if (end - p < 4) return end;
    uint32_t code = hex4(p) & 0xffff;
    p += 4;
    if (code >= 0xd800 && code < 0xdc00) {
        if (end - p < 6) return end;
        code = 0x10000 + ((code & 0x3ff) << 10 | (hex4(p + 2) & 0x3ff));
        p += 6;
    }
    *out += evrt_utf8_put(*out, code);
    return p;
}

size_t evrt_json_unescape(const char *p, size_t n, char *out) {
    static const char plain[256] = {
        ['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
        ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t',
    };
    const char *end = p + n;
    char *at = out;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        size_t run = (size_t)((slash == NULL ? end : slash) - p);
        memcpy(at, p, run);
        at += run;
        p += run;
        if (end - p < 2) break;
        if (p[1] == 'u') {
            p = put_unicode(p + 2, end, &at);
        } else {
            *at++ = plain[(unsigned char)p[1]];
            p += 2;
        }
    }
    return (size_t)(at - out);
}

void evrt_json_unquote(struct evrt_slice value, struct evrt_buf *out) {
    if (value.n <= 2) return;
    char *room = evrt_buf_room(out, value.n - 2);
    out->n += evrt_json_unescape(value.p + 1, value.n - 2, room);
}

static const char *skip_string(const char *p, const char *end) {
    bool escaped;
    p = evrt_json_string_end(p + 1, end, &escaped);
    return p == end ? end : p + 1;
}

const char *evrt_json_skip(const char *p, const char *end) {
    size_t depth = 0;
    while (p < end) {
        char c = *p;
        if (c == '"') {
            p = skip_string(p, end);
            if (depth == 0) return p;
            continue;
        }
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') {
            if (depth == 0) return p; /* a number or word ended before it */
            if (--depth == 0) return p + 1;
        }
        if (depth == 0 && (c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t')) return p;
        p++;
    }
    return p;
}

/* Whether the key between the quotes, maybe escaped, is `name`. */
static bool key_is(const char *p, size_t n, bool escaped, struct evrt_slice name) {
    if (!escaped) return evrt_slice_eq((struct evrt_slice){p, n}, name);
    if (n < name.n) return false;
    char *plain = evrt_alloc(n);
    size_t len = evrt_json_unescape(p, n, plain);
    bool same = evrt_slice_eq((struct evrt_slice){plain, len}, name);
    free(plain);
    return same;
}

/* The value of one member of the object at p, or NULL. */
static const char *find_member(const char *p, const char *end, struct evrt_slice name) {
    p = evrt_json_space(p, end);
    if (p == end || *p != '{') return NULL;
    p = evrt_json_space(p + 1, end);
    while (p < end && *p == '"') {
        bool escaped;
        const char *key = p + 1;
        const char *quote = evrt_json_string_end(key, end, &escaped);
        if (quote == end) return NULL;
        p = evrt_json_space(quote + 1, end);              /* the colon */
        p = p == end ? end : evrt_json_space(p + 1, end); /* the value */
        if (key_is(key, (size_t)(quote - key), escaped, name)) return p;
        p = evrt_json_space(evrt_json_skip(p, end), end); /* the comma or brace */
        p = p == end ? end : evrt_json_space(p + 1, end);
    }
    return NULL;
}

struct evrt_slice evrt_json_at(struct evrt_slice text, struct evrt_slice path) {
    const char *p = text.p, *end = text.p + text.n;
    for (;;) {
        const char *dot = path.n == 0 ? NULL : memchr(path.p, '.', path.n);
        size_t n = dot == NULL ? path.n : (size_t)(dot - path.p);
        p = find_member(p, end, (struct evrt_slice){path.p, n});
        if (p == NULL) return (struct evrt_slice){NULL, 0};
        if (dot == NULL) break;
        path = (struct evrt_slice){dot + 1, path.n - n - 1};
    }
    return (struct evrt_slice){p, (size_t)(evrt_json_skip(p, end) - p)};
}

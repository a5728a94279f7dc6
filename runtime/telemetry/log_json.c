/* See log_json.h. Strings are always unescaped and quoted anew: that makes one canonical text of equal
 * keys, and puts every string through the one place that knows what a line may hold. */
#include "telemetry/log_json.h"

#include <errno.h>
#include <stdio.h>

#include "core/jsonout.h"
#include "core/jsonplain.h"
#include "core/utf8.h"

static void skip_space(struct evrt_log_json *r) {
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
        r->p++;
}

static bool take(struct evrt_log_json *r, char c) {
    if (r->p == r->end || *r->p != c) return false;
    r->p++;
    return true;
}

/* Where to cut s to at most max bytes without splitting a character. */
static size_t cut_at(struct evrt_slice s, size_t max) {
    size_t at = max;
    while (at > 0 && max - at < 4 && ((unsigned char)s.p[at] & 0xc0) == 0x80)
        at--;
    return at;
}

void evrt_log_json_quote(struct evrt_buf *out, struct evrt_slice s, size_t max) {
    if (s.n <= max) {
        evrt_json_quote(out, s);
        return;
    }
    evrt_json_quote(out, (struct evrt_slice){s.p, cut_at(s, max)});
    out->n--; /* the quote */
    evrt_buf_printf(out, "... (cut, %zu bytes)\"", s.n);
}

static int hex4(struct evrt_log_json *r, uint32_t *code) {
    if (r->end - r->p < 4) return -EINVAL;
    *code = 0;
    for (int i = 0; i < 4; i++) {
        char c = *r->p++;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -EINVAL;
        *code = *code << 4 | (uint32_t)digit;
    }
    return 0;
}

static bool low_surrogate(const struct evrt_log_json *r) {
    return r->end - r->p >= 6 && r->p[0] == '\\' && r->p[1] == 'u' &&
           (r->p[2] == 'd' || r->p[2] == 'D') && strchr("cdefCDEF", r->p[3]) != NULL;
}

/* After "\u". A surrogate without its partner becomes U+FFFD. */
static int take_unicode(struct evrt_log_json *r) {
    uint32_t code, low;
    if (hex4(r, &code) < 0) return -EINVAL;
    if (code >= 0xd800 && code < 0xdc00 && low_surrogate(r)) {
        r->p += 2;
        if (hex4(r, &low) < 0) return -EINVAL;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    if (code >= 0xd800 && code < 0xe000) code = 0xfffd;
    char text[4];
    evrt_buf_put(r->scratch, text, evrt_utf8_put(text, code));
    return 0;
}

static int take_escape(struct evrt_log_json *r) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->p == r->end) return -EINVAL;
    char c = *r->p++;
    if (c == 'u') return take_unicode(r);
    const char *at = memchr(from, c, sizeof from - 1);
    if (at == NULL) return -EINVAL;
    evrt_buf_putc(r->scratch, to[at - from]);
    return 0;
}

/* A string, unescaped, into scratch. Raw control characters are let pass: quoting escapes them. */
static int take_string(struct evrt_log_json *r) {
    if (!take(r, '"')) return -EINVAL;
    evrt_buf_clear(r->scratch);
    while (r->p < r->end) {
        size_t plain = evrt_json_plain(r->p, (size_t)(r->end - r->p));
        evrt_buf_put(r->scratch, r->p, plain);
        r->p += plain;
        if (r->p == r->end) break;
        char c = *r->p++;
        if (c == '"') return 0;
        if (c != '\\')
            evrt_buf_putc(r->scratch, c);
        else if (take_escape(r) < 0)
            return -EINVAL;
    }
    return -EINVAL;
}

static bool take_digits(struct evrt_log_json *r) {
    const char *from = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
        r->p++;
    return r->p > from;
}

static int take_number(struct evrt_log_json *r, struct evrt_buf *out) {
    const char *from = r->p;
    take(r, '-');
    if (!take(r, '0') && !take_digits(r)) return -EINVAL;
    if (take(r, '.') && !take_digits(r)) return -EINVAL;
    if (take(r, 'e') || take(r, 'E')) {
        if (!take(r, '+')) take(r, '-');
        if (!take_digits(r)) return -EINVAL;
    }
    evrt_buf_put(out, from, (size_t)(r->p - from));
    return 0;
}

static int take_word(struct evrt_log_json *r, struct evrt_buf *out) {
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(r->end - r->p) < n || memcmp(r->p, words[i], n) != 0) continue;
        r->p += n;
        evrt_buf_put(out, words[i], n);
        return 0;
    }
    return -EINVAL;
}

int evrt_log_json_key(struct evrt_log_json *r, bool first) {
    skip_space(r);
    if (r->p == r->end || *r->p == '}') return 0;
    if (!first && !take(r, ',')) return -EINVAL;
    skip_space(r);
    if (take_string(r) < 0) return -EINVAL;
    skip_space(r);
    if (!take(r, ':')) return -EINVAL;
    return 1;
}

static int take_members(struct evrt_log_json *r, struct evrt_buf *out, size_t max) {
    int rc;
    for (bool first = true; (rc = evrt_log_json_key(r, first)) > 0; first = false) {
        if (!first) evrt_buf_putc(out, ',');
        evrt_log_json_quote(out, evrt_buf_slice(r->scratch), max);
        evrt_buf_putc(out, ':');
        if (evrt_log_json_value(r, out, max) < 0) return -EINVAL;
    }
    return rc;
}

static int take_elements(struct evrt_log_json *r, struct evrt_buf *out, size_t max) {
    skip_space(r);
    if (r->p < r->end && *r->p == ']') return 0;
    for (;;) {
        if (evrt_log_json_value(r, out, max) < 0) return -EINVAL;
        if (!take(r, ',')) return 0;
        evrt_buf_putc(out, ',');
    }
}

static int take_nested(struct evrt_log_json *r, struct evrt_buf *out, size_t max) {
    char open = *r->p++, close = open == '{' ? '}' : ']';
    if (r->depth == EVRT_LOG_JSON_DEPTH) return -EINVAL;
    r->depth++;
    evrt_buf_putc(out, open);
    int rc = open == '{' ? take_members(r, out, max) : take_elements(r, out, max);
    r->depth--;
    if (rc < 0 || !take(r, close)) return -EINVAL;
    evrt_buf_putc(out, close);
    return 0;
}

int evrt_log_json_value(struct evrt_log_json *r, struct evrt_buf *out, size_t max) {
    int rc;
    skip_space(r);
    if (r->p == r->end) return -EINVAL;
    switch (*r->p) {
    case '{':
    case '[': rc = take_nested(r, out, max); break;
    case '"':
        rc = take_string(r);
        if (rc == 0) evrt_log_json_quote(out, evrt_buf_slice(r->scratch), max);
        break;
    case 't':
    case 'f':
    case 'n': rc = take_word(r, out); break;
    default: rc = take_number(r, out);
    }
    skip_space(r);
    return rc;
}

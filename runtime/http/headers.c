/* See headers.h. libmicrohttpd reads leniently: a bare LF ends a line, folded lines are joined, unknown
 * transfer codings wait for ever. Its parser cuts lines in place, so where the pieces lie still tells
 * what stood between them: that is what evrt_headers_contiguous() looks at. */
#include "http/headers.h"

#include <errno.h>

#include "core/error.h"

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool evrt_caseless_eq(struct evrt_slice s, const char *text) {
    size_t i = 0;
    for (; i < s.n && text[i] != '\0'; i++)
        if (lower(s.p[i]) != text[i]) return false;
    return i == s.n && text[i] == '\0';
}

static bool same_name(struct evrt_slice a, struct evrt_slice b) {
    if (a.n != b.n) return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i])) return false;
    return true;
}

struct evrt_slice evrt_headers_get(const struct evrt_header *h, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (evrt_caseless_eq(h[i].name, name)) return h[i].value;
    return (struct evrt_slice){NULL, 0};
}

bool evrt_headers_contiguous(const struct evrt_header *h, size_t n, const char *from,
                             const char *to) {
    const char *line = from;
    for (size_t i = 0; i < n; i++) {
        if (h[i].name.p != line || h[i].value.p <= line + h[i].name.n) return false;
        line = h[i].value.p + h[i].value.n + 2;
    }
    return line + 2 == to;
}

static bool token_byte(char c) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr(others, c) != NULL);
}

static int check_field(struct evrt_header *h, struct evrt_error *err) {
    if (h->name.n == 0) return evrt_error_set(err, -EINVAL, "a header field has no name");
    for (size_t i = 0; i < h->name.n; i++)
        if (!token_byte(h->name.p[i]))
            return evrt_error_set(
                err, -EINVAL,
                "a header field's name has a character that is not allowed there, "
                "at byte %zu of it",
                i + 1);
    struct evrt_slice *v = &h->value;
    while (v->n > 0 && (v->p[0] == ' ' || v->p[0] == '\t'))
        v->p++, v->n--;
    while (v->n > 0 && (v->p[v->n - 1] == ' ' || v->p[v->n - 1] == '\t'))
        v->n--;
    for (size_t i = 0; i < v->n; i++)
        if (((unsigned char)v->p[i] < 0x20 && v->p[i] != '\t') || v->p[i] == 0x7f)
            return evrt_error_set(err, -EINVAL, "%.*s: control character at byte %zu",
                                  (int)h->name.n, h->name.p, i + 1);
    return 0;
}

/* Fields of which a second one would make the request mean two things. */
static bool single(struct evrt_slice name) {
    static const char *const names[] = {"host", "content-length", "transfer-encoding",
                                        "content-type", "authorization"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (evrt_caseless_eq(name, names[i])) return true;
    return name.n > 3 && lower(name.p[0]) == 'c' && lower(name.p[1]) == 'e' && name.p[2] == '-';
}

static int check_length(struct evrt_slice length, struct evrt_error *err) {
    if (length.n == 0) return evrt_error_set(err, -EINVAL, "Content-Length: empty");
    for (size_t i = 0; i < length.n; i++)
        if (length.p[i] < '0' || length.p[i] > '9')
            return evrt_error_set(err, -EINVAL, "Content-Length: expected digits");
    return 0;
}

static int check_framing(const struct evrt_header *h, size_t n, bool http10,
                         struct evrt_error *err) {
    struct evrt_slice length = evrt_headers_get(h, n, "content-length");
    struct evrt_slice coding = evrt_headers_get(h, n, "transfer-encoding");
    if (length.p != NULL && coding.p != NULL)
        return evrt_error_set(err, -EINVAL, "Content-Length together with Transfer-Encoding");
    if (coding.p != NULL && http10)
        return evrt_error_set(err, -EINVAL, "Transfer-Encoding in an HTTP/1.0 request");
    if (coding.p != NULL && !evrt_caseless_eq(coding, "chunked"))
        return evrt_error_set(err, -EINVAL,
                              "Transfer-Encoding: only a single chunked is understood");
    return length.p == NULL ? 0 : check_length(length, err);
}

int evrt_headers_check(struct evrt_header *h, size_t n, bool http10, struct evrt_error *err) {
    for (size_t i = 0; i < n; i++) {
        int rc = check_field(&h[i], err);
        if (rc < 0) return rc;
        if (!single(h[i].name)) continue;
        for (size_t j = 0; j < i; j++)
            if (same_name(h[i].name, h[j].name))
                return evrt_error_set(err, -EINVAL, "%.*s: given twice", (int)h[i].name.n,
                                      h[i].name.p);
    }
    return check_framing(h, n, http10, err);
}

static struct evrt_slice trimmed(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (p < end && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return (struct evrt_slice){p, (size_t)(end - p)};
}

struct evrt_media evrt_media_parse(struct evrt_slice value) {
    struct evrt_media media = {{NULL, 0}, {NULL, 0}};
    if (value.p == NULL) return media;
    const char *p = value.p, *end = p + value.n;
    const char *semicolon = memchr(p, ';', value.n);
    media.type = trimmed(p, semicolon == NULL ? end : semicolon);
    while (semicolon != NULL) {
        p = semicolon + 1;
        semicolon = memchr(p, ';', (size_t)(end - p));
        struct evrt_slice part = trimmed(p, semicolon == NULL ? end : semicolon);
        const char *equals = part.n == 0 ? NULL : memchr(part.p, '=', part.n);
        if (equals == NULL || !evrt_caseless_eq(trimmed(part.p, equals), "charset")) continue;
        struct evrt_slice v = trimmed(equals + 1, part.p + part.n);
        if (v.n >= 2 && v.p[0] == '"' && v.p[v.n - 1] == '"')
            v = (struct evrt_slice){v.p + 1, v.n - 2};
        media.charset = v;
    }
    return media;
}

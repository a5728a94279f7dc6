/* See uri.h. */
#include "http/uri.h"

#include <errno.h>

void evrt_uri_split(struct evrt_slice uri, struct evrt_slice *path, struct evrt_slice *query) {
    const char *mark = uri.n == 0 ? NULL : memchr(uri.p, '?', uri.n);
    *query = (struct evrt_slice){NULL, 0};
    *path = uri;
    if (mark == NULL) return;
    path->n = (size_t)(mark - uri.p);
    *query = (struct evrt_slice){mark + 1, uri.n - path->n - 1};
}

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static int decode(struct evrt_slice s, bool plus, struct evrt_buf *out, size_t *bad) {
    char *to = evrt_buf_room(out, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            int high = i + 1 < s.n ? hex(s.p[i + 1]) : -1, low = i + 2 < s.n ? hex(s.p[i + 2]) : -1;
            if (high < 0 || low < 0) {
                *bad = i;
                return -EINVAL;
            }
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        to[n++] = c;
    }
    out->n += n;
    return 0;
}

int evrt_percent_decode(struct evrt_slice s, struct evrt_buf *out, size_t *bad) {
    return decode(s, false, out, bad);
}

int evrt_query_decode(struct evrt_slice s, struct evrt_buf *out, size_t *bad) {
    return decode(s, true, out, bad);
}

bool evrt_query_next(struct evrt_slice query, size_t *at, struct evrt_slice *name,
                     struct evrt_slice *value) {
    while (*at < query.n && query.p[*at] == '&')
        ++*at;
    if (*at >= query.n) return false;
    const char *from = query.p + *at, *end = query.p + query.n;
    const char *stop = memchr(from, '&', (size_t)(end - from));
    if (stop == NULL) stop = end;
    const char *equals = memchr(from, '=', (size_t)(stop - from));
    *name = (struct evrt_slice){from, (size_t)((equals == NULL ? stop : equals) - from)};
    *value = equals == NULL ? (struct evrt_slice){stop, 0}
                            : (struct evrt_slice){equals + 1, (size_t)(stop - equals - 1)};
    *at = (size_t)(stop - query.p);
    return true;
}

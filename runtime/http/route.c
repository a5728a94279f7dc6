/* See route.h. A dozen routes: a linear scan costs less than anything cleverer. */
#include "http/route.h"

#include <errno.h>

static size_t segment(const char *p, const char *end) {
    const char *slash = memchr(p, '/', (size_t)(end - p));
    return (size_t)((slash == NULL ? end : slash) - p);
}

static bool matches(const char *pattern, struct evrt_slice path, struct evrt_slice *params) {
    const char *p = path.p, *end = p + path.n, *pattern_end = pattern + strlen(pattern);
    size_t count = 0;
    while (p < end && pattern < pattern_end && *p == '/' && *pattern == '/') {
        p++, pattern++;
        size_t n = segment(p, end), want = segment(pattern, pattern_end);
        if (*pattern == '{') {
            if (n == 0 || count == EVRT_ROUTE_PARAMS) return false;
            params[count++] = (struct evrt_slice){p, n};
        } else if (n != want || memcmp(p, pattern, n) != 0) {
            return false;
        }
        p += n, pattern += want;
    }
    return p == end && pattern == pattern_end;
}

static bool answers(const struct evrt_route *route, struct evrt_slice method) {
    if (evrt_slice_eq(evrt_slice_of(route->method), method)) return true;
    return evrt_slice_eq(method, EVRT_STR("HEAD")) && strcmp(route->method, "GET") == 0;
}

int evrt_route_find(const struct evrt_route *routes, size_t n, struct evrt_slice method,
                    struct evrt_slice path, struct evrt_route_match *out, struct evrt_buf *allow) {
    int rc = -ENOENT;
    size_t allow_n = allow->n;
    for (size_t i = 0; i < n; i++) {
        if (!matches(routes[i].pattern, path, out->params)) continue;
        if (answers(&routes[i], method)) {
            if (strchr(routes[i].pattern, '{') == NULL) /* what another pattern, or request, left */
                memset(out->params, 0, sizeof out->params);
            out->route = &routes[i];
            allow->n = allow_n;
            return 0;
        }
        if (rc == -ENOTSUP) evrt_buf_puts(allow, ", ");
        evrt_buf_puts(allow, routes[i].method);
        if (strcmp(routes[i].method, "GET") == 0) evrt_buf_puts(allow, ", HEAD");
        rc = -ENOTSUP;
    }
    return rc;
}

bool evrt_route_takes(const char *list, struct evrt_slice name) {
    while (*list != '\0') {
        size_t n = strcspn(list, ",");
        if (n == name.n && memcmp(list, name.p, n) == 0) return true;
        list += n + (list[n] == ',');
    }
    return false;
}

/* See accept.h. */
#include "http/accept.h"

#include "http/headers.h"

static struct evrt_slice trimmed(struct evrt_slice s) {
    while (s.n > 0 && (*s.p == ' ' || *s.p == '\t'))
        s.p++, s.n--;
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* The part before `mark`, taken off the front. */
static struct evrt_slice next_part(struct evrt_slice *rest, char mark) {
    const char *end = memchr(rest->p, mark, rest->n);
    struct evrt_slice part = {rest->p, end == NULL ? rest->n : (size_t)(end - rest->p)};
    size_t taken = part.n + (end != NULL);
    rest->p += taken;
    rest->n -= taken;
    return trimmed(part);
}

/* "0.75" as 750; what is no weight counts as 1. */
static int weight_of(struct evrt_slice s) {
    int w = 0, unit = 1000;
    for (size_t i = 0; i < s.n && unit > 0; i++) {
        if (i == 1 && s.p[i] == '.') continue;
        if (s.p[i] < '0' || s.p[i] > '9') return 1000;
        w += (s.p[i] - '0') * unit;
        unit /= 10;
    }
    return s.n == 0 || w > 1000 ? 1000 : w;
}

/* How specific a range is that covers `what`: 0 not at all, 1 everything, 2 "text/ *", 3 itself. */
static int covers(struct evrt_slice range, const char *what) {
    if (evrt_caseless_eq(range, what)) return 3;
    if (evrt_slice_eq(range, EVRT_STR("*/*")) || evrt_slice_eq(range, EVRT_STR("*"))) return 1;
    const char *slash = strchr(what, '/');
    if (slash == NULL) return 0;
    size_t n = (size_t)(slash - what) + 1;
    bool all = range.n == n + 1 && range.p[n] == '*' && memcmp(range.p, what, n) == 0;
    return all ? 2 : 0;
}

int evrt_accept_weight(struct evrt_slice header, const char *what, const char *version) {
    int best = -1, how = 0;
    while (header.n > 0) {
        struct evrt_slice one = next_part(&header, ',');
        int specific = covers(next_part(&one, ';'), what), weight = 1000;
        while (one.n > 0) {
            struct evrt_slice value = next_part(&one, ';'), name = next_part(&value, '=');
            if (evrt_caseless_eq(name, "q")) weight = weight_of(value);
            if (version != NULL && specific == 3 && evrt_caseless_eq(name, "version")) {
                if (evrt_slice_eq(value, evrt_slice_of(version)))
                    specific = 4;
                else
                    specific = 0;
            }
        }
        if (specific > how) best = weight, how = specific;
    }
    return best;
}

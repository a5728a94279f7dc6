/* See pattern.h. Matching walks the texts; there is nothing to compile, because a type seen before is
 * one hash hit in the bus (bus/route.c) and a new one is rare. */
#include "core/pattern.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "core/buf.h"
#include "core/event.h"

struct evrt_pattern_set {
    atomic_uint refs;
    char *text;
    size_t n;
};

static struct evrt_slice segment(struct evrt_slice s, size_t at) {
    const char *dot = memchr(s.p + at, '.', s.n - at);
    return (struct evrt_slice){s.p + at, (dot == NULL ? s.p + s.n : dot) - (s.p + at)};
}

static bool is(struct evrt_slice s, const char *text) {
    return evrt_slice_eq(s, evrt_slice_of(text));
}

size_t evrt_pattern_check(struct evrt_slice pattern) {
    size_t at = 0;
    if (pattern.n == 0) return 0;
    for (;;) {
        struct evrt_slice s = segment(pattern, at);
        if (!is(s, "*") && !is(s, "**")) {
            size_t bad = evrt_type_check(s);
            if (s.n == 0 || bad != s.n) return at + bad;
        }
        at += s.n;
        if (at == pattern.n) return pattern.n;
        if (++at == pattern.n) return at - 1; /* a dot at the end */
    }
}

/* From segment offsets p and t on; an offset beyond the end means no segments are left. '**' tries every
 * split by recursion on the rest of the pattern, whose depth is bounded by the pattern's segments. */
static bool match(struct evrt_slice pattern, size_t p, struct evrt_slice type, size_t t) {
    while (p <= pattern.n) {
        struct evrt_slice s = segment(pattern, p);
        size_t next = p + s.n + 1;
        if (is(s, "**")) {
            if (next > pattern.n) return true;
            for (; t <= type.n; t += segment(type, t).n + 1)
                if (match(pattern, next, type, t)) return true;
            return match(pattern, next, type, t);
        }
        if (t > type.n) return false;
        struct evrt_slice u = segment(type, t);
        if (!is(s, "*") && !evrt_slice_eq(s, u)) return false;
        t += u.n + 1;
        p = next;
    }
    return t > type.n;
}

bool evrt_pattern_match(struct evrt_slice pattern, struct evrt_slice type) {
    if (evrt_type_own(type) && !evrt_type_own(pattern)) return false;
    return match(pattern, 0, type, 0);
}

struct evrt_pattern_set *evrt_pattern_set_create(struct evrt_slice joined) {
    for (size_t at = 0; at < joined.n;) {
        const char *end = memchr(joined.p + at, '\n', joined.n - at);
        size_t n = end == NULL ? joined.n - at : (size_t)(end - (joined.p + at));
        if (n == 0 || evrt_pattern_check((struct evrt_slice){joined.p + at, n}) != n) return NULL;
        at += n + 1;
    }
    struct evrt_pattern_set *set = evrt_zalloc(sizeof *set);
    set->refs = 1;
    set->text = evrt_strndup(joined.n == 0 ? "" : joined.p, joined.n);
    set->n = joined.n;
    return set;
}

struct evrt_pattern_set *evrt_pattern_set_ref(struct evrt_pattern_set *set) {
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void evrt_pattern_set_unref(struct evrt_pattern_set *set) {
    if (set == NULL || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1) return;
    free(set->text);
    free(set);
}

bool evrt_pattern_set_match(const struct evrt_pattern_set *set, struct evrt_slice type) {
    for (size_t at = 0; at < set->n;) {
        const char *end = memchr(set->text + at, '\n', set->n - at);
        size_t n = end == NULL ? set->n - at : (size_t)(end - (set->text + at));
        if (evrt_pattern_match((struct evrt_slice){set->text + at, n}, type)) return true;
        at += n + 1;
    }
    return false;
}

struct evrt_slice evrt_pattern_set_text(const struct evrt_pattern_set *set) {
    return (struct evrt_slice){set->text, set->n};
}

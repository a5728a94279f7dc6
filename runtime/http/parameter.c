/* See parameter.h. */
#include "http/parameter.h"

#include "core/clock.h"
#include "core/units.h"

const char evrt_parameter_time_form[] =
    "a time as in 2025-01-07T10:30:45Z, or how long ago as in 1h";

bool evrt_parameter_u64(struct evrt_slice s, uint64_t *out) {
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        if (__builtin_mul_overflow(v, 10, &v)) return false;
        if (__builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v)) return false;
    }
    *out = v;
    return s.n > 0;
}

bool evrt_parameter_pair(struct evrt_slice s, uint64_t *first, uint64_t *second) {
    const char *dash = s.n == 0 ? NULL : memchr(s.p, '-', s.n);
    if (dash == NULL) return false;
    size_t n = (size_t)(dash - s.p);
    return evrt_parameter_u64((struct evrt_slice){s.p, n}, first) &&
           evrt_parameter_u64((struct evrt_slice){dash + 1, s.n - n - 1}, second);
}

bool evrt_parameter_time(struct evrt_slice s, int64_t *ms) {
    size_t bad;
    int64_t ago;
    if (evrt_rfc3339_parse(s, ms, &bad) == 0) return true;
    if (evrt_duration_parse(s, &ago) < 0) return false;
    *ms = evrt_wall_ms() - ago;
    return true;
}

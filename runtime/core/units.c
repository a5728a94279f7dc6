/* See units.h. Parsing is by hand: strtod would follow the locale and take hex and "inf". */
#include "core/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit durations[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
};

static const struct unit sizes[] = {
    {"B", 1},
    {"KiB", 1ull << 10},
    {"MiB", 1ull << 20},
    {"GiB", 1ull << 30},
    {"TiB", 1ull << 40},
    {"KB", 1000ull},
    {"MB", 1000000ull},
    {"GB", 1000000000ull},
    {"TB", 1000000000000ull},
};

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static const struct unit *find_unit(const struct unit *units, size_t count, struct evrt_slice s) {
    for (size_t i = 0; i < count; i++)
        if (strlen(units[i].name) == s.n && memcmp(units[i].name, s.p, s.n) == 0) return &units[i];
    return NULL;
}

/* number = whole + part / scale, times the unit's factor, within int64. */
static int parse(struct evrt_slice s, const struct unit *units, size_t count, int bare,
                 uint64_t *out) {
    uint64_t whole = 0, part = 0, scale = 1;
    size_t at = 0;
    for (; at < s.n && s.p[at] >= '0' && s.p[at] <= '9'; at++) {
        if (__builtin_mul_overflow(whole, 10, &whole)) return -ERANGE;
        if (__builtin_add_overflow(whole, (uint64_t)(s.p[at] - '0'), &whole)) return -ERANGE;
    }
    if (at == 0) return -EINVAL;
    if (at < s.n && s.p[at] == '.') {
        size_t from = ++at;
        for (; at < s.n && s.p[at] >= '0' && s.p[at] <= '9'; at++)
            if (scale < 1000000) part = part * 10 + (uint64_t)(s.p[at] - '0'), scale *= 10;
        if (at == from) return -EINVAL;
    }
    struct evrt_slice name = {s.p + at, s.n - at};
    const struct unit *unit = find_unit(units, count, name);
    if (unit == NULL && !(name.n == 0 && part == 0 && (bare || whole == 0))) return -EINVAL;
    uint64_t factor = unit == NULL ? 1 : unit->factor, total;
    if (__builtin_mul_overflow(whole, factor, &total) || total > INT64_MAX) return -ERANGE;
    if (__builtin_add_overflow(total, part * factor / scale, &total) || total > INT64_MAX)
        return -ERANGE;
    *out = total;
    return 0;
}

int evrt_duration_parse(struct evrt_slice s, int64_t *ms) {
    uint64_t v;
    int rc = parse(s, durations, COUNT(durations), 0, &v);
    if (rc == 0) *ms = (int64_t)v;
    return rc;
}

int evrt_size_parse(struct evrt_slice s, uint64_t *bytes) {
    return parse(s, sizes, COUNT(sizes), 1, bytes);
}

/* The largest of the first `count` units that divides v. */
static char *format(uint64_t v, const struct unit *units, size_t count, char *buf) {
    size_t best = 0;
    for (size_t i = 0; v != 0 && i < count; i++)
        if (v % units[i].factor == 0) best = i;
    snprintf(buf, EVRT_UNITS_SIZE, "%" PRIu64 "%s", v / units[best].factor, units[best].name);
    return buf;
}

char *evrt_duration_format(int64_t ms, char buf[EVRT_UNITS_SIZE]) {
    return format((uint64_t)ms, durations, COUNT(durations), buf);
}

char *evrt_size_format(uint64_t bytes, char buf[EVRT_UNITS_SIZE]) {
    return format(bytes, sizes, 5, buf);
}

/* See clock.h. Calendar arithmetic is done here rather than by libc's: timegm and strptime depend on
 * the locale and the time zone database, and are slow for something every event needs. */
#include "core/clock.h"

#include <errno.h>
#include <time.h>

int64_t evrt_mono_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t evrt_unix_ns(void) {
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    return (int64_t)wall.tv_sec * 1000000000 + wall.tv_nsec - evrt_mono_ns();
}

int64_t evrt_wall_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Days since 1970-01-01 of a proleptic Gregorian date, counting years from March so that the leap
 * day is the last of its year. */
static int64_t days_from_civil(int64_t y, int m, int d) {
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void civil_from_days(int64_t z, int64_t *y, int *m, int *d) {
    z += 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = yoe + era * 400 + (*m <= 2);
}

static void put_digits(char *at, int width, int64_t v) {
    while (width-- > 0) {
        at[width] = (char)('0' + v % 10);
        v /= 10;
    }
}

char *evrt_rfc3339_format(int64_t ms, char buf[EVRT_RFC3339_SIZE]) {
    int64_t days = ms / 86400000, rest = ms % 86400000, y;
    int m, d;
    if (rest < 0) rest += 86400000, days--;
    civil_from_days(days, &y, &m, &d);
    __builtin_memcpy(buf, "0000-00-00T00:00:00.000Z", EVRT_RFC3339_SIZE);
    put_digits(buf, 4, y);
    put_digits(buf + 5, 2, m);
    put_digits(buf + 8, 2, d);
    put_digits(buf + 11, 2, rest / 3600000);
    put_digits(buf + 14, 2, rest / 60000 % 60);
    put_digits(buf + 17, 2, rest / 1000 % 60);
    put_digits(buf + 20, 3, rest % 1000);
    return buf;
}

/* Exactly `width` digits at s[*at]; advances. Negative: not digits. */
static int digits(struct evrt_slice s, size_t *at, int width) {
    int v = 0;
    for (int i = 0; i < width; i++, (*at)++) {
        if (*at >= s.n || s.p[*at] < '0' || s.p[*at] > '9') return -1;
        v = v * 10 + (s.p[*at] - '0');
    }
    return v;
}

static int one_of(struct evrt_slice s, size_t *at, char a, char b) {
    if (*at >= s.n || (s.p[*at] != a && s.p[*at] != b)) return -1;
    (*at)++;
    return 0;
}

/* ".123456": milliseconds; absent is 0. */
static int fraction(struct evrt_slice s, size_t *at) {
    if (*at >= s.n || s.p[*at] != '.') return 0;
    (*at)++;
    int ms = 0, scale = 100;
    size_t from = *at;
    for (; *at < s.n && s.p[*at] >= '0' && s.p[*at] <= '9'; (*at)++, scale /= 10)
        ms += (s.p[*at] - '0') * scale;
    return *at == from ? -1 : ms;
}

/* "Z" or "+hh:mm": minutes east. */
static int offset(struct evrt_slice s, size_t *at, int *minutes) {
    *minutes = 0;
    if (one_of(s, at, 'Z', 'z') == 0) return 0;
    if (*at >= s.n || (s.p[*at] != '+' && s.p[*at] != '-')) return -1;
    int sign = s.p[(*at)++] == '-' ? -1 : 1;
    int h = digits(s, at, 2);
    if (h < 0 || h > 23 || one_of(s, at, ':', ':') < 0) return -1;
    int m = digits(s, at, 2);
    if (m < 0 || m > 59) return -1;
    *minutes = sign * (h * 60 + m);
    return 0;
}

static int days_in_month(int y, int m) {
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return m == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0) ? 29 : days[m - 1];
}

int evrt_rfc3339_parse(struct evrt_slice s, int64_t *ms, size_t *bad) {
    size_t at = 0;
    int y, mo, d, h, mi, sec, frac, off;
    if ((y = digits(s, &at, 4)) < 0 || one_of(s, &at, '-', '-') < 0) goto wrong;
    if ((mo = digits(s, &at, 2)) < 1 || mo > 12 || one_of(s, &at, '-', '-') < 0) goto wrong;
    if ((d = digits(s, &at, 2)) < 1 || d > days_in_month(y, mo)) goto wrong;
    if (one_of(s, &at, 'T', 't') < 0) goto wrong;
    if ((h = digits(s, &at, 2)) < 0 || h > 23 || one_of(s, &at, ':', ':') < 0) goto wrong;
    if ((mi = digits(s, &at, 2)) < 0 || mi > 59 || one_of(s, &at, ':', ':') < 0) goto wrong;
    if ((sec = digits(s, &at, 2)) < 0 || sec > 60) goto wrong;
    if ((frac = fraction(s, &at)) < 0 || offset(s, &at, &off) < 0 || at != s.n) goto wrong;
    if (sec == 60) sec = 59, frac = 999;
    *ms = ((days_from_civil(y, mo, d) * 24 + h) * 60 + mi - off) * 60000 + sec * 1000 + frac;
    return 0;
wrong:
    if (bad != NULL) *bad = at;
    return -EINVAL;
}

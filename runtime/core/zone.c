/* See zone.h. A file has a table of changes, and for the time after it a rule in the form of POSIX's TZ
 * variable ("CET-1CEST,M3.5.0,M10.5.0/3"), which is followed year by year. */
#include "core/zone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/error.h"

#define FOLDER "/usr/share/zoneinfo/"
enum { HEADER = 44, FILE_MAX = 1 << 20, NAME_MAX_BYTES = 128, DAY = 86400 };

/* When within a year: day `day` of month (Mm.w.d), the n-th day, or that without February 29. */
struct rule {
    char kind; /* 'M', 'J' or '0' */
    int month, week, day;
    int32_t at; /* seconds of the day, may be negative or beyond */
};

struct evrt_zone {
    int64_t *changes;
    int32_t *offsets; /* from each change on */
    size_t count;
    int32_t first; /* before them */
    bool has_rule; /* after them */
    int32_t standard, summer;
    bool has_summer;
    struct rule start, end;
};

/* ---- Dates ---- */

/* Years begin in March, so that the odd day is the last: Howard Hinnant's way of counting. */
int64_t evrt_days_of(int64_t year, int month, int day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void evrt_date_of(int64_t days, int64_t *year, int *month, int *day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * years + years / 4 - years / 100);
    int64_t march = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * march + 2) / 5 + 1);
    *month = (int)(march < 10 ? march + 3 : march - 9);
    *year = years + era * 400 + (*month <= 2);
}

static bool is_leap(int64_t year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* ---- The rule ---- */

/* What is left of the text; bad: it is no rule. */
struct text {
    const char *p, *end;
    bool bad;
};

static bool take(struct text *t, char c) {
    bool is = t->p < t->end && *t->p == c;
    t->p += is;
    return is;
}

static int number(struct text *t) {
    int v = 0;
    const char *from = t->p;
    while (t->p < t->end && *t->p >= '0' && *t->p <= '9' && v < 10000)
        v = v * 10 + (*t->p++ - '0');
    t->bad = t->bad || t->p == from;
    return v;
}

/* [+-]hh[:mm[:ss]] */
static int32_t clock_time(struct text *t) {
    int sign = take(t, '-') ? -1 : 1;
    if (sign == 1) take(t, '+');
    int v = number(t) * 3600;
    if (take(t, ':')) v += number(t) * 60;
    if (take(t, ':')) v += number(t);
    return sign * v;
}

static void skip_name(struct text *t) {
    const char *from = t->p;
    if (take(t, '<')) {
        while (t->p < t->end && *t->p != '>')
            t->p++;
        t->bad = t->bad || !take(t, '>');
        return;
    }
    while (t->p < t->end && ((*t->p >= 'a' && *t->p <= 'z') || (*t->p >= 'A' && *t->p <= 'Z')))
        t->p++;
    t->bad = t->bad || t->p == from;
}

static struct rule day_rule(struct text *t) {
    struct rule r = {'0', 0, 0, 0, 2 * 3600};
    t->bad = t->bad || !take(t, ',');
    if (take(t, 'M')) {
        r.kind = 'M';
        r.month = number(t);
        t->bad = t->bad || !take(t, '.');
        r.week = number(t);
        t->bad = t->bad || !take(t, '.');
        r.day = number(t);
        t->bad = t->bad || r.month < 1 || r.month > 12 || r.week < 1 || r.week > 5 || r.day > 6;
    } else {
        if (take(t, 'J')) r.kind = 'J';
        r.day = number(t);
        t->bad = t->bad || r.day > 366;
    }
    if (take(t, '/')) r.at = clock_time(t);
    return r;
}

static bool parse_rule(struct evrt_zone *z, struct evrt_slice s) {
    struct text t = {s.p, s.p + s.n, false};
    skip_name(&t);
    z->standard = -clock_time(&t);
    if (!t.bad && t.p < t.end) {
        skip_name(&t);
        z->has_summer = true;
        z->summer = z->standard + 3600;
        if (t.p < t.end && *t.p != ',') z->summer = -clock_time(&t);
        z->start = day_rule(&t);
        z->end = day_rule(&t);
    }
    z->has_rule = true;
    return !t.bad && t.p == t.end;
}

/* Local seconds since the epoch at which the rule strikes in that year. */
static int64_t strikes(const struct rule *r, int64_t year) {
    int64_t day = evrt_days_of(year, 1, 1);
    if (r->kind == 'J') {
        day += r->day - 1 + (is_leap(year) && r->day >= 60);
    } else if (r->kind == '0') {
        day += r->day;
    } else {
        static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        int length = lengths[r->month - 1] + (r->month == 2 && is_leap(year));
        int64_t first = evrt_days_of(year, r->month, 1);
        int weekday = (int)(((first + 4) % 7 + 7) % 7); /* the epoch was a Thursday */
        int in = (r->day - weekday + 7) % 7 + 7 * (r->week - 1);
        while (in >= length)
            in -= 7;
        day = first + in;
    }
    return day * DAY + r->at;
}

/* Spans of the rule around a time; each year has two changes. */
static struct evrt_zone_span by_rule(const struct evrt_zone *z, int64_t seconds) {
    struct evrt_zone_span span = {INT64_MIN, INT64_MAX, z->standard};
    int64_t year;
    int month, day;
    if (!z->has_summer) return span;
    evrt_date_of((seconds + z->standard) / DAY, &year, &month, &day);
    for (int64_t y = year - 1; y <= year + 1; y++) {
        int64_t start = strikes(&z->start, y) - z->standard;
        int64_t end = strikes(&z->end, y) - z->summer;
        const struct {
            int64_t at;
            int32_t offset;
        } both[] = {{start, z->summer}, {end, z->standard}};
        for (int i = 0; i < 2; i++) {
            if (both[i].at <= seconds && both[i].at >= span.from) {
                span.from = both[i].at;
                span.offset = both[i].offset;
            }
            if (both[i].at > seconds && both[i].at < span.until) span.until = both[i].at;
        }
    }
    return span;
}

/* ---- The file ---- */

static uint32_t be32(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t be64(const unsigned char *p) {
    return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

struct counts {
    uint32_t utc, std, leap, time, type, chars;
};

static bool header(const unsigned char *p, size_t n, struct counts *c) {
    if (n < HEADER || memcmp(p, "TZif", 4) != 0) return false;
    *c = (struct counts){be32(p + 20), be32(p + 24), be32(p + 28),
                         be32(p + 32), be32(p + 36), be32(p + 40)};
    return c->utc < 1000 && c->std < 1000 && c->leap < 1000 && c->time < 100000 && c->type > 0 &&
           c->type < 1000 && c->chars < 10000;
}

static size_t body(const struct counts *c, size_t time_bytes) {
    return c->time * time_bytes + c->time + (size_t)c->type * 6 + c->chars +
           c->leap * (time_bytes + 4) + c->std + c->utc;
}

static bool parse_table(struct evrt_zone *z, const unsigned char *p, const struct counts *c) {
    const unsigned char *which = p + (size_t)c->time * 8, *types = which + c->time;
    z->changes = evrt_alloc((c->time + 1) * sizeof *z->changes);
    z->offsets = evrt_alloc((c->time + 1) * sizeof *z->offsets);
    z->first = (int32_t)be32(types);
    for (uint32_t i = 0; i < c->time; i++) {
        if (which[i] >= c->type) return false;
        z->changes[i] = be64(p + (size_t)i * 8);
        z->offsets[i] = (int32_t)be32(types + (size_t)which[i] * 6);
        if (i > 0 && z->changes[i] <= z->changes[i - 1]) return false;
        z->count++;
    }
    return true;
}

static bool parse(struct evrt_zone *z, const unsigned char *p, size_t n) {
    struct counts c;
    if (!header(p, n, &c) || p[4] < '2') return false;
    size_t skip = HEADER + body(&c, 4);
    if (skip > n || !header(p + skip, n - skip, &c)) return false;
    p += skip + HEADER;
    n -= skip + HEADER;
    if (body(&c, 8) + 2 > n || !parse_table(z, p, &c)) return false;
    const char *rule = (const char *)p + body(&c, 8) + 1;
    n -= body(&c, 8) + 1;
    const char *end = memchr(rule, '\n', n);
    if (rule[-1] != '\n' || end == NULL) return false;
    return end == rule || parse_rule(z, (struct evrt_slice){rule, (size_t)(end - rule)});
}

static bool is_name(struct evrt_slice name) {
    if (name.n == 0 || name.n > NAME_MAX_BYTES || name.p[0] == '/') return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && c != '_' && c != '-' && c != '+' && c != '/') return false;
    }
    return true;
}

static int read_file(const char *path, struct evrt_buf *out) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    ssize_t n = -1;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= FILE_MAX) {
        n = read(fd, evrt_buf_room(out, (size_t)st.st_size + 1), (size_t)st.st_size);
        out->n = n > 0 ? (size_t)n : 0;
    }
    close(fd);
    return n < 0 ? -EINVAL : 0;
}

int evrt_zone_load(struct evrt_zone **out, struct evrt_slice name, struct evrt_error *err) {
    char path[sizeof FOLDER + NAME_MAX_BYTES];
    struct evrt_zone *z = evrt_zalloc(sizeof *z);
    struct evrt_buf bytes = {0};
    *out = z;
    if (name.n == 0 || evrt_slice_eq(name, EVRT_STR("UTC"))) return 0;
    int rc = -ENOENT;
    if (is_name(name)) {
        memcpy(path, FOLDER, sizeof FOLDER - 1);
        memcpy(path + sizeof FOLDER - 1, name.p, name.n);
        path[sizeof FOLDER - 1 + name.n] = '\0';
        rc = read_file(path, &bytes);
    }
    if (rc == 0 && !parse(z, (const unsigned char *)bytes.p, bytes.n)) rc = -EINVAL;
    evrt_buf_finish(&bytes);
    if (rc == 0) return 0;
    evrt_zone_destroy(z);
    *out = NULL;
    return evrt_error_set(err, -EINVAL,
                          "\"%.*s\" is no time zone of this system (" FOLDER
                          "); one is named like Europe/Berlin",
                          (int)(name.n < NAME_MAX_BYTES ? name.n : NAME_MAX_BYTES), name.p);
}

void evrt_zone_destroy(struct evrt_zone *z) {
    if (z == NULL) return;
    free(z->changes);
    free(z->offsets);
    free(z);
}

struct evrt_zone_span evrt_zone_span_at(const struct evrt_zone *z, int64_t seconds) {
    size_t low = 0, high = z->count; /* the first change after it */
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (z->changes[mid] <= seconds)
            low = mid + 1;
        else
            high = mid;
    }
    int64_t from = low == 0 ? INT64_MIN : z->changes[low - 1];
    if (low < z->count)
        return (struct evrt_zone_span){from, z->changes[low],
                                       low == 0 ? z->first : z->offsets[low - 1]};
    struct evrt_zone_span span = {from, INT64_MAX, low == 0 ? z->first : z->offsets[low - 1]};
    if (!z->has_rule) return span;
    span = by_rule(z, seconds);
    if (span.from < from) span.from = from;
    return span;
}

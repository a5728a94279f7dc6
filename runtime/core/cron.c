/* See cron.h. The next time is looked for span by span of the zone's offsets, in local time:
 *
 *       offset +1h              +2h                  +1h
 *     ───────────────┤├────────────────────┤├──────────────▶ UTC
 *        01:00..02:00  03:00 ...      03:00  02:00..03:00     local: an hour that is not there, one that is twice
 */
#include "core/cron.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "core/buf.h"
#include "core/error.h"

enum { DAY = 86400, YEARS = 41 }; /* February 29 on a Sunday may be forty years off */

/* ---- Parsing ---- */

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                          "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const struct field {
    const char *name;
    int min, max;
    const char *const *names;
    const char *expected;
} fields[] = {
    {"second", 0, 59, NULL, "0-59"},
    {"minute", 0, 59, NULL, "0-59"},
    {"hour", 0, 23, NULL, "0-23"},
    {"day of month", 1, 31, NULL, "1-31"},
    {"month", 1, 12, month_names, "1-12 or jan-dec"},
    {"day of week", 0, 7, day_names, "0-7 or sun-sat"},
};
enum { FIELDS = 6 };

struct input {
    const char *text, *p, *end;
    struct evrt_error *err;
};

static int bad(const struct input *in, const struct field *f) {
    return evrt_error_set(
        in->err, -EINVAL,
        "byte %d: %s: expected %s, a range as 1-5, a step as */5, a list of these, "
        "or *",
        (int)(in->p - in->text) + 1, f->name, f->expected);
}

static bool take(struct input *in, char c) {
    bool is = in->p < in->end && *in->p == c;
    in->p += is;
    return is;
}

/* A number or a name; -1. */
static int value(struct input *in, const struct field *f) {
    for (int i = 0; f->names != NULL && f->names[i] != NULL; i++)
        if (in->end - in->p >= 3 && strncasecmp(in->p, f->names[i], 3) == 0) {
            in->p += 3;
            return i + f->min;
        }
    int v = 0;
    const char *from = in->p;
    while (in->p < in->end && *in->p >= '0' && *in->p <= '9' && v < 1000)
        v = v * 10 + (*in->p++ - '0');
    if (in->p > from && v >= f->min && v <= f->max) return v;
    in->p = from;
    return -1;
}

/* One of a list: [*|a|a-b][/n] */
static int item(struct input *in, const struct field *f, uint64_t *bits, bool *any) {
    int low = f->min, high = f->max, step = 1;
    bool star = take(in, '*') || take(in, '?'), range = star;
    if (!star) {
        low = high = value(in, f);
        if (low < 0) return bad(in, f);
        if (take(in, '-')) {
            range = true;
            high = value(in, f);
            if (high < low) return bad(in, f);
        }
    }
    if (take(in, '/')) {
        static const struct field steps = {"step", 1, 999, NULL, "a number from 1"};
        step = value(in, &steps);
        if (step < 1) return bad(in, &steps);
        if (!range) high = f->max;
    }
    for (int i = low; i <= high; i += step)
        *bits |= UINT64_C(1) << i;
    *any = *any || star;
    return 0;
}

static int parse_field(struct input *in, const struct field *f, uint64_t *bits, bool *any) {
    *bits = 0;
    *any = false;
    do {
        int rc = item(in, f, bits, any);
        if (rc < 0) return rc;
    } while (take(in, ','));
    if (in->p < in->end && *in->p != ' ' && *in->p != '\t') return bad(in, f);
    return 0;
}

static void skip_spaces(struct input *in) {
    while (in->p < in->end && (*in->p == ' ' || *in->p == '\t'))
        in->p++;
}

static int count_fields(struct evrt_slice s) {
    int count = 0;
    bool in_space = true;
    for (size_t i = 0; i < s.n; i++) {
        bool space = s.p[i] == ' ' || s.p[i] == '\t';
        count += in_space && !space;
        in_space = space;
    }
    return count;
}

static struct evrt_slice spelt_out(struct evrt_slice s) {
    static const struct {
        struct evrt_slice name, means;
    } macros[] = {
        {EVRT_STR("@yearly"), EVRT_STR("0 0 1 1 *")},
        {EVRT_STR("@annually"), EVRT_STR("0 0 1 1 *")},
        {EVRT_STR("@monthly"), EVRT_STR("0 0 1 * *")},
        {EVRT_STR("@weekly"), EVRT_STR("0 0 * * 0")},
        {EVRT_STR("@daily"), EVRT_STR("0 0 * * *")},
        {EVRT_STR("@midnight"), EVRT_STR("0 0 * * *")},
        {EVRT_STR("@hourly"), EVRT_STR("0 * * * *")},
    };
    for (size_t i = 0; i < sizeof macros / sizeof macros[0]; i++)
        if (evrt_slice_eq(s, macros[i].name)) return macros[i].means;
    return s;
}

int evrt_cron_parse(struct evrt_slice text, struct evrt_cron *out, struct evrt_error *err) {
    uint64_t bits[FIELDS] = {1}; /* second 0 */
    bool any[FIELDS] = {false};
    text = spelt_out(text);
    int count = count_fields(text);
    if (text.n > 0 && text.p[0] == '@')
        return evrt_error_set(err, -EINVAL,
                              "byte 1: expected @hourly, @daily, @weekly, @monthly or @yearly");
    if (count != 5 && count != 6)
        return evrt_error_set(
            err, -EINVAL,
            "expected 5 fields (minute, hour, day of month, month, day of week), or "
            "6 with the second first, got %d",
            count);
    struct input in = {text.p, text.p, text.p + text.n, err};
    for (int i = FIELDS - count; i < FIELDS; i++) {
        skip_spaces(&in);
        int rc = parse_field(&in, &fields[i], &bits[i], &any[i]);
        if (rc < 0) return rc;
    }
    if (bits[5] >> 7 & 1) bits[5] |= 1; /* Sunday */
    *out = (struct evrt_cron){
        .seconds = bits[0],
        .minutes = bits[1],
        .hours = (uint32_t)bits[2],
        .days = (uint32_t)bits[3],
        .months = (uint32_t)bits[4],
        .weekdays = (uint32_t)bits[5] & 0x7f,
        .any_day = any[3],
        .any_weekday = any[5],
        .any_hour = bits[2] == 0xffffff,
    };
    struct evrt_zone *utc;
    if (evrt_zone_load(&utc, EVRT_STR("UTC"), err) < 0) return -EINVAL;
    bool never = evrt_cron_next(out, utc, 0) == INT64_MAX;
    evrt_zone_destroy(utc);
    return never ? evrt_error_set(err, -EINVAL, "there is no such day of the month in those months")
                 : 0;
}

/* ---- Looking ---- */

static bool is_day(const struct evrt_cron *c, int64_t day) {
    int64_t year;
    int month, date;
    evrt_date_of(day, &year, &month, &date);
    if ((c->months >> month & 1) == 0) return false;
    bool of_month = c->days >> date & 1;
    bool of_week = c->weekdays >> (((day + 4) % 7 + 7) % 7) & 1;
    if (c->any_day || c->any_weekday) return of_month && of_week;
    return of_month || of_week;
}

/* The first second of a day at or after `from`, or -1. */
static int in_day(const struct evrt_cron *c, int from) {
    int hour = from / 3600, minute = from / 60 % 60, second = from % 60;
    for (; hour < 24; hour++, minute = second = 0) {
        if ((c->hours >> hour & 1) == 0) continue;
        for (; minute < 60; minute++, second = 0) {
            if ((c->minutes >> minute & 1) == 0) continue;
            for (; second < 60; second++)
                if (c->seconds >> second & 1) return hour * 3600 + minute * 60 + second;
        }
    }
    return -1;
}

/* The first local time in [from, until), or INT64_MAX. */
static int64_t in_local(const struct evrt_cron *c, int64_t from, int64_t until) {
    int64_t day = from / DAY - (from % DAY < 0);
    int start = (int)(from - day * DAY);
    for (; day * DAY < until; day++, start = 0) {
        int at = is_day(c, day) ? in_day(c, start) : -1;
        if (at >= 0) return day * DAY + at < until ? day * DAY + at : INT64_MAX;
    }
    return INT64_MAX;
}

int64_t evrt_cron_next(const struct evrt_cron *c, const struct evrt_zone *z, int64_t after) {
    int64_t end = after + (int64_t)YEARS * 366 * DAY;
    for (int64_t t = after + 1; t < end;) {
        struct evrt_zone_span span = evrt_zone_span_at(z, t);
        int64_t until = span.until < end ? span.until : end, from = t + span.offset;
        int32_t before =
            span.from == INT64_MIN ? span.offset : evrt_zone_span_at(z, span.from - 1).offset;
        if (!c->any_hour && span.offset > before && t == span.from &&
            in_local(c, t + before, t + span.offset) != INT64_MAX)
            return t;
        if (!c->any_hour && span.offset < before && from < span.from + before)
            from = span.from + before;
        int64_t at = in_local(c, from, until + span.offset);
        if (at != INT64_MAX) return at - span.offset;
        t = until;
    }
    return INT64_MAX;
}

/* See schedule.h. A SCHEDULE is u64 number, i64 due, i64 delay, i64 at, u32 kind, then the event to the end; an
 * UNSCHEDULE is u64 number, i64 due, i64 at, u32 cancelled. */
#include "core/schedule.h"

#include <errno.h>

#include "core/bytes.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/units.h"

enum { SCHEDULE_FIXED = 36 };

static int parse_at(const struct evrt_extension *x, int64_t now_ms, struct evrt_deliver *out,
                    struct evrt_error *err) {
    size_t bad = 0;
    if (x->kind != 's' || evrt_rfc3339_parse(x->value, &out->due_ms, &bad) < 0)
        return evrt_error_set(err, -EINVAL,
                              EVRT_DELIVER_AT ": byte %zu: expected RFC 3339, as in "
                                              "2025-01-07T10:30:45.123Z",
                              bad + 1);
    out->delay_ms = out->due_ms - now_ms;
    out->kind = out->delay_ms > 0 ? EVRT_SCHEDULE_AT : EVRT_SCHEDULE_NONE;
    return 0;
}

static int parse_after(const struct evrt_extension *x, int64_t now_ms, struct evrt_deliver *out,
                       struct evrt_error *err) {
    if (x->kind != 's' || evrt_duration_parse(x->value, &out->delay_ms) < 0)
        return evrt_error_set(err, -EINVAL,
                              EVRT_DELIVER_AFTER ": expected a duration, as in 90s or 2h");
    if (out->delay_ms > INT64_MAX / 2 - now_ms) out->delay_ms = INT64_MAX / 2 - now_ms;
    out->due_ms = now_ms + out->delay_ms;
    out->kind = out->delay_ms > 0 ? EVRT_SCHEDULE_AFTER : EVRT_SCHEDULE_NONE;
    return 0;
}

int evrt_deliver_parse(struct evrt_slice extensions, int64_t now_ms, struct evrt_deliver *out,
                       struct evrt_error *err) {
    struct evrt_extension x;
    bool given = false;
    *out = (struct evrt_deliver){EVRT_SCHEDULE_NONE, 0, 0};
    for (size_t at = 0; evrt_extensions_next(extensions, &at, &x);) {
        bool is_at = evrt_slice_eq(x.name, EVRT_STR(EVRT_DELIVER_AT));
        if (!is_at && !evrt_slice_eq(x.name, EVRT_STR(EVRT_DELIVER_AFTER))) continue;
        if (given)
            return evrt_error_set(err, -EINVAL,
                                  EVRT_DELIVER_AT " and " EVRT_DELIVER_AFTER
                                                  ": only one of them says when");
        int rc = is_at ? parse_at(&x, now_ms, out, err) : parse_after(&x, now_ms, out, err);
        if (rc < 0) return rc;
        given = true;
    }
    return 0;
}

void evrt_deliver_extensions(struct evrt_slice extensions, int64_t due_ms, struct evrt_buf *out) {
    struct evrt_extension x;
    char time[EVRT_RFC3339_SIZE];
    int rc = 0;
    for (size_t at = 0; rc == 0 && evrt_extensions_next(extensions, &at, &x);)
        if (!evrt_slice_eq(x.name, EVRT_STR(EVRT_DELIVER_AT)) &&
            !evrt_slice_eq(x.name, EVRT_STR(EVRT_DELIVER_AFTER)))
            rc = evrt_extensions_add(out, x.name, x.kind, x.value);
    if (rc == 0)
        rc = evrt_extensions_add(out, EVRT_STR(EVRT_DELIVER_AT), 's',
                                 evrt_slice_of(evrt_rfc3339_format(due_ms, time)));
    (void)rc; /* each was there before, or is good */
}

void evrt_record_put_schedule(struct evrt_buf *out, const struct evrt_record_schedule *r) {
    char *p = evrt_buf_room(out, SCHEDULE_FIXED);
    evrt_set_u64(p, r->number);
    evrt_set_u64(p + 8, (uint64_t)r->due_ms);
    evrt_set_u64(p + 16, (uint64_t)r->delay_ms);
    evrt_set_u64(p + 24, (uint64_t)r->at_ms);
    evrt_set_u32(p + 32, r->kind);
    out->n += SCHEDULE_FIXED;
    evrt_buf_put(out, r->event.p, r->event.n);
}

int evrt_record_get_schedule(struct evrt_slice s, struct evrt_record_schedule *r) {
    if (s.n < SCHEDULE_FIXED + EVRT_EVENT_HEADER) return -EBADMSG;
    *r = (struct evrt_record_schedule){
        .number = evrt_get_u64(s.p),
        .due_ms = (int64_t)evrt_get_u64(s.p + 8),
        .delay_ms = (int64_t)evrt_get_u64(s.p + 16),
        .at_ms = (int64_t)evrt_get_u64(s.p + 24),
        .kind = evrt_get_u32(s.p + 32),
        .event = {s.p + SCHEDULE_FIXED, s.n - SCHEDULE_FIXED},
    };
    struct evrt_event e;
    return evrt_event_decode(r->event.p, r->event.n, &e);
}

void evrt_record_put_unschedule(struct evrt_buf *out, const struct evrt_record_unschedule *r) {
    char *p = evrt_buf_room(out, EVRT_UNSCHEDULE_BYTES);
    evrt_set_u64(p, r->number);
    evrt_set_u64(p + 8, (uint64_t)r->due_ms);
    evrt_set_u64(p + 16, (uint64_t)r->at_ms);
    evrt_set_u32(p + 24, r->cancelled);
    out->n += EVRT_UNSCHEDULE_BYTES;
}

int evrt_record_get_unschedule(struct evrt_slice s, struct evrt_record_unschedule *r) {
    if (s.n != EVRT_UNSCHEDULE_BYTES) return -EBADMSG;
    *r = (struct evrt_record_unschedule){
        .number = evrt_get_u64(s.p),
        .due_ms = (int64_t)evrt_get_u64(s.p + 8),
        .at_ms = (int64_t)evrt_get_u64(s.p + 16),
        .cancelled = evrt_get_u32(s.p + 24),
    };
    return 0;
}

/* Events for later: what asks for it, and the two journal records.
 *
 * An event with the extension `deliverat` (RFC 3339) or `deliverafter` (a duration, "90s") is journaled as a
 * SCHEDULE; when its time has come it becomes an EVENT in the same group as the UNSCHEDULE that ends it.
 * Any thread; decoded slices point into the payload. */
#ifndef EVRT_CORE_SCHEDULE_H
#define EVRT_CORE_SCHEDULE_H

#include <stdbool.h>

#include "core/buf.h"

#define EVRT_DELIVER_AT "deliverat"
#define EVRT_DELIVER_AFTER "deliverafter"

enum evrt_schedule_kind {
    EVRT_SCHEDULE_NONE,
    EVRT_SCHEDULE_AT,    /* when the wall clock says so */
    EVRT_SCHEDULE_AFTER, /* when so much time has passed, whatever clocks say */
    EVRT_SCHEDULE_TIMER, /* a handler's own: `event` says which handler and by what schedule */
};

struct evrt_deliver {
    enum evrt_schedule_kind kind; /* NONE: now */
    int64_t due_ms;               /* wall clock */
    int64_t delay_ms;             /* from now */
};
/* What the extensions of an event ask for at this time. -EINVAL: they make no sense. */
EVRT_MUST_CHECK int evrt_deliver_parse(struct evrt_slice extensions, int64_t now_ms,
                                       struct evrt_deliver *out, struct evrt_error *err);
/* The same extensions, but for one `deliverat` that says when. */
void evrt_deliver_extensions(struct evrt_slice extensions, int64_t due_ms, struct evrt_buf *out);

/* SCHEDULE. */
struct evrt_record_schedule {
    uint64_t number; /* from 1, for ever */
    int64_t due_ms;  /* wall clock */
    int64_t delay_ms;
    int64_t at_ms; /* when it was accepted */
    uint32_t kind;
    struct evrt_slice event; /* encoded, without a seq */
};
/* UNSCHEDULE: the one of that number and time is no more. */
struct evrt_record_unschedule {
    uint64_t number;
    int64_t due_ms, at_ms;
    uint32_t
        cancelled; /* 1: an operator did; 0: it became the event that follows, or was replaced */
};

enum { EVRT_UNSCHEDULE_BYTES = 28 };
void evrt_record_put_schedule(struct evrt_buf *out, const struct evrt_record_schedule *r);
void evrt_record_put_unschedule(struct evrt_buf *out, const struct evrt_record_unschedule *r);
/* -EBADMSG: malformed. */
EVRT_MUST_CHECK int evrt_record_get_schedule(struct evrt_slice s, struct evrt_record_schedule *r);
EVRT_MUST_CHECK int evrt_record_get_unschedule(struct evrt_slice s,
                                               struct evrt_record_unschedule *r);

#endif

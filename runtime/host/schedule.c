/* Events for later.
 *
 *     publish with deliverat ─▶ SCHEDULE ─▶ committed ─▶ row of state.db, 24 bytes in a heap
 *                                                              │ due
 *     UNSCHEDULE + EVENT, one group ◀── its bytes, read from state.db (a batch at a time)
 *
 * So an event is published once, whatever is killed when: the row is gone exactly when the event is there.
 * What waits for so much time (deliverafter) counts on the monotonic clock while the node runs, and after a
 * start waits for what the wall clock says is left, never longer than it was to; what waits for a time of day
 * (deliverat) follows the wall clock, which is looked at each second. The loop's thread. */
#include <errno.h>
#include <stdlib.h>

#include "host/node.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/schedule.h"
#include "core/units.h"
#include "host/due.h"
#include "loop/timer.h"

enum {
    BATCH = 256,            /* that are read and published at once, */
    BATCH_BYTES = 8 << 20,  /* and their bytes, the last one's beyond it */
    LOOK_MS = 1000,         /* the wall clock may be set */
    AGAIN_MS = 1000,        /* after the journal had no room */
    CANCELLED_MAX = 100000, /* numbers that are remembered */
    MS = 1000000,
};

/* One that is due, and its bytes. */
struct firing {
    struct host_due due;
    bool after;   /* of which heap it is */
    bool is_read; /* it is there */
    int rc;       /* of reading it */
    size_t at, n; /* its record in `bytes` */
};

struct host_schedule {
    struct host_due_heap at, after; /* by the wall clock; by time that passes */
    uint64_t last_number;
    uint64_t pending; /* in the heaps, being fired, or not committed yet */
    uint64_t fired, cancelled_count;
    uint64_t *cancelled; /* the last ones */
    size_t cancelled_n;
    struct firing batch[BATCH];
    size_t batch_n;
    bool busy;      /* the batch is being read, */
    size_t reading; /* this one of it, then how many were; the state thread's */
    struct evrt_buf bytes;
};

static int64_t mono_ms(void) {
    return evrt_mono_ns() / MS;
}

void host_schedule_create(struct evrt_host *h) {
    h->schedule = evrt_zalloc(sizeof *h->schedule);
}

void host_schedule_destroy(struct evrt_host *h) {
    struct host_schedule *s = h->schedule;
    if (s == NULL) return;
    host_due_finish(&s->at);
    host_due_finish(&s->after);
    evrt_buf_finish(&s->bytes);
    free(s->cancelled);
    free(s);
}

/* ---- Accepting ---- */

int host_schedule_check(const struct evrt_host *h, const struct evrt_deliver *d,
                        struct evrt_error *err) {
    char max[EVRT_UNITS_SIZE];
    if (d->delay_ms > h->config->schedule.max_delay) {
        host_limit(h, EVRT_LIMIT_SCHEDULE_DELAY);
        return evrt_error_set(err, -EINVAL, "%s: further ahead than %s (schedule.max_delay)",
                              d->kind == EVRT_SCHEDULE_AT ? EVRT_DELIVER_AT : EVRT_DELIVER_AFTER,
                              evrt_duration_format(h->config->schedule.max_delay, max));
    }
    if (h->schedule->pending >= h->config->schedule.max) {
        host_limit(h, EVRT_LIMIT_SCHEDULE);
        return evrt_error_set(err, -EAGAIN,
                              "%llu events are scheduled, and that is the limit (schedule.max)",
                              (unsigned long long)h->schedule->pending);
    }
    return 0;
}

/* Unique also after a start that finds none: time goes on. */
uint64_t host_schedule_number(struct evrt_host *h) {
    uint64_t now = (uint64_t)evrt_wall_ms() * 1000;
    h->schedule->last_number = now > h->schedule->last_number ? now : h->schedule->last_number + 1;
    return h->schedule->last_number;
}

void host_schedule_prepare(struct evrt_host *h, const struct evrt_event *e,
                           const struct evrt_deliver *d, uint64_t *number, struct evrt_buf *out) {
    struct evrt_buf extensions = {0}, encoded = {0};
    struct evrt_event later = *e;
    evrt_deliver_extensions(e->extensions, d->due_ms, &extensions);
    later.extensions = evrt_buf_slice(&extensions);
    size_t n = evrt_event_size(&later);
    evrt_event_encode(&later, evrt_buf_room(&encoded, n));
    encoded.n = n;
    *number = host_schedule_number(h);
    evrt_record_put_schedule(out, &(struct evrt_record_schedule){
                                      .number = *number,
                                      .due_ms = d->due_ms,
                                      .delay_ms = d->delay_ms,
                                      .at_ms = evrt_wall_ms(),
                                      .kind = d->kind,
                                      .event = evrt_buf_slice(&encoded),
                                  });
    evrt_buf_finish(&extensions);
    evrt_buf_finish(&encoded);
    h->schedule->pending++;
}

void host_schedule_unprepare(struct evrt_host *h) {
    h->schedule->pending--;
}

/* ---- Waiting ---- */

static void push(struct evrt_host *h, const struct evrt_record_schedule *r) {
    struct host_schedule *s = h->schedule;
    if (r->kind == EVRT_SCHEDULE_AT) {
        host_due_push(&s->at, (struct host_due){r->due_ms, r->due_ms, r->number});
    } else if (r->kind == EVRT_SCHEDULE_AFTER) {
        int64_t left = r->due_ms - evrt_wall_ms();
        if (left > r->delay_ms) left = r->delay_ms;
        if (left > h->config->schedule.max_delay) left = h->config->schedule.max_delay;
        if (left < 0) left = 0;
        host_due_push(&s->after, (struct host_due){mono_ms() + left, r->due_ms, r->number});
    }
}

void host_schedule_committed(struct evrt_host *h, struct evrt_slice payload) {
    struct evrt_record_schedule r;
    if (evrt_record_get_schedule(payload, &r) < 0) return; /* not reached: it was put here */
    push(h, &r);
    h->schedule_changed = true;
}

/* On the state thread, while the owner waits. */
void host_schedule_restore(struct evrt_host *h, const struct evrt_record_schedule *r) {
    struct host_schedule *s = h->schedule;
    if (r->number > s->last_number) s->last_number = r->number;
    if (r->kind == EVRT_SCHEDULE_TIMER) {
        host_timers_restore(h, r);
        return;
    }
    push(h, r);
    s->pending++;
}

/* ---- Publishing what is due ---- */

static void look(struct evrt_host *h);

static void on_timer(uv_timer_t *timer) {
    look(timer->data);
}

static void arm(struct evrt_host *h) {
    const struct host_schedule *s = h->schedule;
    int64_t left = INT64_MAX;
    if (s->after.n > 0) left = s->after.all[0].when - mono_ms();
    if (s->at.n > 0) {
        int64_t wall = s->at.all[0].when - evrt_wall_ms();
        if (wall > LOOK_MS) wall = LOOK_MS;
        if (wall < left) left = wall;
    }
    if (left == INT64_MAX)
        uv_timer_stop(&h->schedule_timer);
    else
        evrt_timer_start(&h->schedule_timer, on_timer, evrt_mono_ns() + (left > 0 ? left * MS : 0));
}

static void later(struct evrt_host *h, const struct firing *f) {
    struct host_due due = f->due;
    due.when = (f->after ? mono_ms() : evrt_wall_ms()) + AGAIN_MS;
    host_due_push(f->after ? &h->schedule->after : &h->schedule->at, due);
}

static void end_row(struct evrt_host *h, const struct host_due *due, bool cancelled) {
    evrt_buf_clear(&h->scratch);
    evrt_record_put_unschedule(&h->scratch, &(struct evrt_record_unschedule){
                                                .number = due->number,
                                                .due_ms = due->due_ms,
                                                .at_ms = evrt_wall_ms(),
                                                .cancelled = cancelled,
                                            });
    host_append(h, EVRT_RECORD_UNSCHEDULE, evrt_buf_slice(&h->scratch));
}

/* Both records in one group, or neither and it is tried again. */
static void fire(struct evrt_host *h, const struct firing *f) {
    struct host_schedule *s = h->schedule;
    struct evrt_record_schedule r;
    struct evrt_event e;
    struct evrt_slice record = {s->bytes.p + f->at, f->n};
    if (evrt_record_get_schedule(record, &r) < 0) return; /* not reached: its sum was right */
    if (evrt_event_decode(r.event.p, r.event.n, &e) < 0) return;
    size_t bytes =
        evrt_journal_record_bytes(EVRT_UNSCHEDULE_BYTES) + evrt_journal_record_bytes(r.event.n);
    if (evrt_journal_refuses(h->journal, bytes) < 0 ||
        evrt_journal_hold(h->journal, bytes, 2) < 0) {
        later(h, f);
        return;
    }
    end_row(h, &f->due, false);
    host_emit(h, &e);
    s->fired++;
    s->pending--;
}

static void on_read(void *arg) {
    struct evrt_host *h = arg;
    struct host_schedule *s = h->schedule;
    s->busy = false;
    if (h->phase != HOST_SERVING) return;            /* the rows are there */
    for (size_t i = s->reading; i < s->batch_n; i++) /* those that were left */
        host_due_push(s->batch[i].after ? &s->after : &s->at, s->batch[i].due);
    for (size_t i = 0; i < s->reading; i++) {
        if (s->batch[i].is_read)
            fire(h, &s->batch[i]);
        else if (s->batch[i].rc < 0)
            later(h, &s->batch[i]);
        else
            s->pending--; /* not reached: it has its row for as long as it is in a heap */
    }
    s->batch_n = 0;
    evrt_buf_clear(&s->bytes);
    look(h);
}

/* On the state thread. */
static void note(void *arg, const struct evrt_record_schedule *r) {
    struct host_schedule *s = arg;
    struct firing *f = &s->batch[s->reading];
    f->at = s->bytes.n;
    evrt_record_put_schedule(&s->bytes, r);
    f->n = s->bytes.n - f->at;
    f->is_read = true;
}

static void read_job(struct evrt_state_view *view, void *arg) {
    struct host_schedule *s = arg;
    for (s->reading = 0; s->reading < s->batch_n && s->bytes.n < BATCH_BYTES; s->reading++) {
        struct firing *f = &s->batch[s->reading];
        f->rc = evrt_state_scheduled(view, f->due.due_ms, f->due.number, note, s);
    }
}

static void read_batch(struct evrt_state_view *view, void *arg) {
    const struct evrt_host *h = arg;
    read_job(view, h->schedule);
}

static void look(struct evrt_host *h) {
    struct host_schedule *s = h->schedule;
    struct host_due due;
    if (s->busy || h->phase != HOST_SERVING) return;
    while (s->batch_n < BATCH && host_due_pop(&s->after, mono_ms(), &due))
        s->batch[s->batch_n++] = (struct firing){.due = due, .after = true};
    while (s->batch_n < BATCH && host_due_pop(&s->at, evrt_wall_ms(), &due))
        s->batch[s->batch_n++] = (struct firing){.due = due};
    if (s->batch_n > 0) {
        s->busy = true;
        host_ask_state(h, read_batch, on_read, h);
    } else {
        arm(h);
    }
}

void host_schedule_turn(struct evrt_host *h) {
    if (!h->schedule_changed || h->phase != HOST_SERVING) return;
    h->schedule_changed = false;
    look(h);
}

/* ---- Cancelling ---- */

void host_schedule_note_cancelled(struct evrt_host *h, uint64_t number) {
    struct host_schedule *s = h->schedule;
    if (s->cancelled_n == CANCELLED_MAX) {
        s->cancelled_n /= 2;
        memmove(s->cancelled, s->cancelled + s->cancelled_n, s->cancelled_n * sizeof number);
    }
    s->cancelled = evrt_realloc(s->cancelled, (s->cancelled_n + 1) * sizeof number);
    s->cancelled[s->cancelled_n++] = number;
}

bool host_schedule_is_cancelled(const struct evrt_host *h, uint64_t number) {
    const struct host_schedule *s = h->schedule;
    for (size_t i = s->cancelled_n; i-- > 0;)
        if (s->cancelled[i] == number) return true;
    return false;
}

int evrt_host_unschedule(struct evrt_host *h, uint64_t number, evrt_host_publish_cb cb, void *arg,
                         struct evrt_error *err) {
    struct host_schedule *s = h->schedule;
    struct host_due due;
    if (h->phase >= HOST_CLOSING) return evrt_error_set(err, -ESHUTDOWN, "shutting down");
    for (size_t i = 0; i < s->batch_n; i++)
        if (s->batch[i].due.number == number)
            return evrt_error_set(err, -EBUSY, "it is being published now");
    if (!host_due_take(&s->at, number, &due) && !host_due_take(&s->after, number, &due))
        return evrt_error_set(err, -ENOENT,
                              "no such scheduled event: it was published, cancelled, or never was");
    end_row(h, &due, true);
    host_schedule_note_cancelled(h, number);
    s->cancelled_count++;
    s->pending--;
    host_barrier(h, cb, arg);
    return 0;
}

void host_schedule_stats(const struct evrt_host *h, struct host_schedule_stats *out) {
    const struct host_schedule *s = h->schedule;
    *out = (struct host_schedule_stats){s->pending, s->fired, s->cancelled_count};
}

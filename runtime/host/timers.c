/* Timers of handlers (`schedule`, `every`): at each of its times an event evrt.timer.NAME, one for all workers.
 *
 *     SCHEDULE row: the next time ──due──▶ UNSCHEDULE + EVENT + SCHEDULE of the next one, one group
 *
 * So a timer has exactly one row, the event of each time is there once, and after a downtime the row tells
 * from when on times were missed; `catch_up` says what becomes of those. Cron follows the wall clock, which is
 * looked at each second: what it shows again after it was set back a little has been, after more it begins
 * anew. `every` counts time that passes, and the wall clock only across a restart. A paused handler's times are
 * missed. The loop's thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/node.h"

#include "core/clock.h"
#include "core/cron.h"
#include "core/error.h"
#include "core/event.h"
#include "core/jsonout.h"
#include "core/schedule.h"
#include "core/units.h"
#include "loop/timer.h"

enum {
    LOOK_MS = 1000,            /* the wall clock may be set */
    LATE_MS = 60000,           /* with skip: what is later was missed */
    BACK_MS = 3 * 3600 * 1000, /* a clock that is set back by more tells a new time */
    COUNT_MAX = 10000,         /* times that are counted at once */
    BURST = 100,               /* of them made at once, with all */
    MS = 1000000,
};
#define TYPE "evrt.timer."

/* Of a handler, by its subscription. */
struct timer {
    uint32_t sub;
    char *spec; /* what is compared, as JSON */
    struct evrt_cron cron;
    struct evrt_zone *zone; /* NULL: every */
    int64_t every_ms;
    enum evrt_catch_up catch_up;
    int64_t due_ms;   /* wall clock; of `every` only right after a start */
    int64_t due_mono; /* of every: milliseconds */
    uint64_t number;  /* its row */
    int64_t row_ms;
};

struct row {
    uint64_t number;
    int64_t due_ms;
    char *name, *spec;
};

struct host_timers {
    struct timer *all;
    size_t n;
    struct row *rows; /* of state.db at start, whose timer is not known yet */
    size_t row_n;
};

static int64_t mono_ms(void) {
    return evrt_mono_ns() / MS;
}

void host_timers_create(struct evrt_host *h) {
    h->timers = evrt_zalloc(sizeof *h->timers);
}

static void free_timer(struct timer *t) {
    free(t->spec);
    evrt_zone_destroy(t->zone);
}

static void free_rows(struct host_timers *t) {
    for (size_t i = 0; i < t->row_n; i++) {
        free(t->rows[i].name);
        free(t->rows[i].spec);
    }
    free(t->rows);
    t->rows = NULL;
    t->row_n = 0;
}

void host_timers_destroy(struct evrt_host *h) {
    if (h->timers == NULL) return;
    for (size_t i = 0; i < h->timers->n; i++)
        free_timer(&h->timers->all[i]);
    free(h->timers->all);
    free_rows(h->timers);
    free(h->timers);
}

/* ---- Times ---- */

/* The one after; INT64_MAX: none. */
static int64_t after(const struct timer *t, int64_t ms) {
    if (t->zone == NULL) return ms + t->every_ms;
    int64_t s = evrt_cron_next(&t->cron, t->zone, ms / 1000 - (ms % 1000 < 0));
    return s == INT64_MAX ? s : s * 1000;
}

/* The last one that is not later than now, of those from `first` on, and how many there are: of cron, COUNT_MAX
 * at most. */
static int64_t latest(const struct timer *t, int64_t first, int64_t now, int64_t *count) {
    static const int64_t spans[] = {3600, 86400, 32 * 86400, 3300 * 86400ll};
    int64_t at = first, next;
    if (t->zone == NULL) {
        *count = (now - first) / t->every_ms + 1;
        return first + (now - first) / t->every_ms * t->every_ms;
    }
    for (*count = 1; *count < COUNT_MAX && (next = after(t, at)) <= now; (*count)++)
        at = next;
    /* Too many to be passed one by one: from the end, then. */
    for (size_t i = 0; *count == COUNT_MAX && i < sizeof spans / sizeof spans[0]; i++) {
        if ((next = after(t, now - spans[i] * 1000)) > now) continue;
        while (next <= now) {
            at = next;
            next = after(t, at);
        }
        break;
    }
    return at;
}

/* ---- Records ---- */

static void put_spec(const struct evrt_handler *handler, struct evrt_buf *out) {
    struct evrt_jsonout o = evrt_jsonout_start(out);
    evrt_jsonout_object(&o);
    if (handler->every_ms > 0) {
        evrt_jsonout_put_i64(&o, "every_ms", handler->every_ms);
    } else {
        evrt_jsonout_put_cstr(&o, "schedule", handler->schedule);
        evrt_jsonout_put_cstr(&o, "timezone",
                              handler->timezone[0] == '\0' ? "UTC" : handler->timezone);
    }
    evrt_jsonout_end(&o);
}

/* An event of the timer's, encoded. */
static void put_event(struct evrt_host *h, const char *name, const char *id, struct evrt_slice data,
                      struct evrt_buf *out) {
    char type[EVRT_TYPE_MAX + 1], unused[EVRT_UUID_SIZE], time[EVRT_RFC3339_SIZE];
    snprintf(type, sizeof type, TYPE "%s", name);
    struct evrt_event e = {
        .id = evrt_slice_of(id),
        .type = evrt_slice_of(type),
        .subject = evrt_slice_of(name),
        .data = data,
        .flags = EVRT_EVENT_JSON | EVRT_EVENT_OWN_ID,
    };
    evrt_event_defaults(&e, &h->random, evrt_slice_of(h->config->service.name), unused, time);
    size_t n = evrt_event_size(&e);
    evrt_event_encode(&e, evrt_buf_room(out, n));
    out->n += n;
}

/* "NAME/2025-01-07T10:30:00.000Z" for that time, whoever makes it. */
static void put_firing(struct evrt_host *h, const char *name, int64_t at_ms, int64_t missed,
                       struct evrt_buf *out) {
    char at[EVRT_RFC3339_SIZE], id[EVRT_TYPE_MAX + 40];
    struct evrt_buf data = {0};
    struct evrt_jsonout o = evrt_jsonout_start(&data);
    evrt_rfc3339_format(at_ms, at);
    snprintf(id, sizeof id, "%s/%s", name, at);
    evrt_jsonout_object(&o);
    evrt_jsonout_put_cstr(&o, "scheduled_at", at);
    evrt_jsonout_put_i64(&o, "missed", missed);
    evrt_jsonout_end(&o);
    put_event(h, name, id, evrt_buf_slice(&data), out);
    evrt_buf_finish(&data);
}

static void put_row(struct evrt_host *h, const char *name, const char *spec, uint64_t number,
                    int64_t due_ms, struct evrt_buf *out) {
    struct evrt_buf event = {0};
    put_event(h, name, name, evrt_slice_of(spec), &event);
    evrt_record_put_schedule(out, &(struct evrt_record_schedule){
                                      .number = number,
                                      .due_ms = due_ms,
                                      .at_ms = evrt_wall_ms(),
                                      .kind = EVRT_SCHEDULE_TIMER,
                                      .event = evrt_buf_slice(&event),
                                  });
    evrt_buf_finish(&event);
}

static void end_row(struct evrt_host *h, uint64_t number, int64_t due_ms) {
    evrt_buf_clear(&h->scratch);
    evrt_record_put_unschedule(&h->scratch,
                               &(struct evrt_record_unschedule){number, due_ms, evrt_wall_ms(), 0});
    host_append(h, EVRT_RECORD_UNSCHEDULE, evrt_buf_slice(&h->scratch));
}

/* Its row becomes that of the next time; `at_ms` is published with it, if not 0. False: not now. */
static bool go_on(struct evrt_host *h, struct timer *t, int64_t at_ms, int64_t missed,
                  int64_t next_ms) {
    const char *name = evrt_bus_by_id(h->bus, t->sub)->name;
    struct evrt_buf event = {0}, row = {0};
    struct evrt_event e;
    uint64_t number = host_schedule_number(h);
    if (at_ms != 0) put_firing(h, name, at_ms, missed, &event);
    put_row(h, name, t->spec, number, next_ms, &row);
    size_t bytes = evrt_journal_record_bytes(row.n);
    if (t->number != 0) bytes += evrt_journal_record_bytes(EVRT_UNSCHEDULE_BYTES);
    if (at_ms != 0) bytes += evrt_journal_record_bytes(event.n);
    bool now = evrt_journal_refuses(h->journal, bytes) == 0 &&
               evrt_journal_hold(h->journal, bytes, 3) == 0;
    if (now) {
        if (t->number != 0) end_row(h, t->number, t->row_ms);
        if (at_ms != 0 && evrt_event_decode(event.p, event.n, &e) == 0) host_emit(h, &e);
        host_append(h, EVRT_RECORD_SCHEDULE, evrt_buf_slice(&row));
        t->number = number;
        t->row_ms = t->due_ms = next_ms;
        t->due_mono = mono_ms() + (next_ms - evrt_wall_ms());
    }
    evrt_buf_finish(&event);
    evrt_buf_finish(&row);
    return now;
}

/* ---- What is due ---- */

/* All that were missed, one by one, oldest first; but no more than schedule.max_catch_up. */
static bool make_all(struct evrt_host *h, struct timer *t, int64_t first, int64_t now) {
    int64_t count, most = (int64_t)h->config->schedule.max_catch_up;
    (void)latest(t, first, now, &count);
    if (count > most) host_limit(h, EVRT_LIMIT_CATCH_UP);
    bool all = t->zone == NULL || count < COUNT_MAX; /* else there may be more: go there in steps */
    if (t->zone == NULL && count > most) first += (count - most) * t->every_ms;
    for (; t->zone != NULL && count > most; count--)
        first = after(t, first);
    t->due_ms = first;
    if (!all) return true;
    for (int i = 0; i < BURST && first <= now; i++) {
        int64_t next = after(t, first);
        if (!go_on(h, t, first, 0, next)) return false;
        first = next;
    }
    return true;
}

/* The clock was ahead when its next time was chosen: until then there are others. */
static bool was_set_back(const struct timer *t, int64_t first, int64_t now) {
    return t->zone != NULL && first - now > BACK_MS && first - after(t, now) > BACK_MS;
}

/* Milliseconds until it is to be looked at again. */
static int64_t look_at(struct evrt_host *h, struct timer *t) {
    const struct evrt_sub *s = evrt_bus_by_id(h->bus, t->sub);
    int64_t now = evrt_wall_ms(), count;
    int64_t first = t->zone == NULL ? now - (mono_ms() - t->due_mono) : t->due_ms;
    if (s == NULL || s->paused || first == INT64_MAX) return LOOK_MS;
    if (was_set_back(t, first, now)) return go_on(h, t, 0, 0, after(t, now)) ? 0 : LOOK_MS;
    if (first > now) return t->zone == NULL || first - now < LOOK_MS ? first - now : LOOK_MS;
    if (t->catch_up == EVRT_CATCH_UP_ALL) return make_all(h, t, first, now) ? 0 : LOOK_MS;
    int64_t last = latest(t, first, now, &count);
    bool fires = t->catch_up == EVRT_CATCH_UP_ONCE || now - last < LATE_MS;
    return go_on(h, t, fires ? last : 0, count - 1, after(t, last)) ? 0 : LOOK_MS;
}

static void look(struct evrt_host *h);

static void on_timer(uv_timer_t *timer) {
    look(timer->data);
}

static void look(struct evrt_host *h) {
    int64_t soonest = INT64_MAX;
    if (h->phase != HOST_SERVING) return;
    for (size_t i = 0; i < h->timers->n; i++) {
        int64_t left = look_at(h, &h->timers->all[i]);
        if (left < soonest) soonest = left;
    }
    if (soonest == INT64_MAX)
        uv_timer_stop(&h->timers_timer);
    else
        evrt_timer_start(&h->timers_timer, on_timer, evrt_mono_ns() + soonest * MS);
}

void host_timers_turn(struct evrt_host *h) {
    if (!h->timers_changed || h->phase != HOST_SERVING) return;
    h->timers_changed = false;
    look(h);
}

/* ---- Against the scripts ---- */

/* On the state thread, while the owner waits. */
void host_timers_restore(struct evrt_host *h, const struct evrt_record_schedule *r) {
    struct host_timers *t = h->timers;
    struct evrt_event e;
    if (evrt_event_decode(r->event.p, r->event.n, &e) < 0) return;
    t->rows = evrt_realloc(t->rows, (t->row_n + 1) * sizeof *t->rows);
    t->rows[t->row_n++] = (struct row){r->number, r->due_ms, evrt_strndup(e.subject.p, e.subject.n),
                                       evrt_strndup(e.data.p, e.data.n)};
}

static struct timer *find(struct host_timers *t, uint32_t sub) {
    for (size_t i = 0; i < t->n; i++)
        if (t->all[i].sub == sub) return &t->all[i];
    return NULL;
}

static void drop(struct evrt_host *h, struct timer *t) {
    if (t->number != 0) end_row(h, t->number, t->row_ms);
    free_timer(t);
    *t = h->timers->all[--h->timers->n];
}

/* What is left of a timer of before: its row, which is a new one's when it is of the same times. */
static bool take_row(struct evrt_host *h, const char *name, struct timer *t) {
    struct host_timers *all = h->timers;
    for (size_t i = 0; i < all->row_n; i++) {
        struct row *r = &all->rows[i];
        if (strcmp(r->name, name) != 0 || strcmp(r->spec, t->spec) != 0) continue;
        int64_t left = r->due_ms - evrt_wall_ms();
        if (t->zone == NULL && left > t->every_ms) left = t->every_ms;
        t->number = r->number;
        t->row_ms = t->due_ms = r->due_ms;
        t->due_mono = mono_ms() + left;
        free(r->name);
        free(r->spec);
        *r = all->rows[--all->row_n];
        return true;
    }
    return false;
}

static void add(struct evrt_host *h, const struct evrt_sub *s, const struct evrt_handler *handler,
                char *spec) {
    struct evrt_error err;
    struct timer t = {.sub = s->id, .spec = spec, .every_ms = handler->every_ms};
    int rc = 0;
    if (handler->every_ms == 0) {
        rc = evrt_cron_parse(evrt_slice_of(handler->schedule), &t.cron, &err);
        if (rc == 0) rc = evrt_zone_load(&t.zone, evrt_slice_of(handler->timezone), &err);
    }
    if (rc < 0) { /* the worker read it otherwise: tzdata is being changed */
        evrt_log_event(h->log, TIMER_FAILED, EVRT_F_CSTR("handler", s->name),
                       EVRT_F_CSTR("error", err.message));
        free(spec);
        return;
    }
    t.catch_up = handler->catch_up;
    if (!take_row(h, s->name, &t)) {
        t.due_ms = after(&t, evrt_wall_ms());
        t.due_mono = mono_ms() + t.every_ms;
    }
    struct host_timers *all = h->timers;
    all->all = evrt_realloc(all->all, (all->n + 1) * sizeof *all->all);
    all->all[all->n++] = t;
    /* On a full disk it has no row until its first time. */
    if (t.number == 0) (void)go_on(h, &all->all[all->n - 1], 0, 0, t.due_ms);
}

static void update(struct evrt_host *h, const struct evrt_sub *s) {
    struct timer *t = find(h->timers, s->id);
    const struct evrt_handler *handler =
        s->active ? &h->serving->scripts.handlers[s->handler] : NULL;
    bool timed = handler != NULL && (handler->every_ms > 0 || handler->schedule[0] != '\0');
    struct evrt_buf spec = {0};
    if (timed) put_spec(handler, &spec);
    if (t != NULL && timed && strcmp(t->spec, evrt_buf_cstr(&spec)) == 0) {
        t->catch_up = handler->catch_up;
        evrt_buf_finish(&spec);
        return;
    }
    if (t != NULL) drop(h, t);
    evrt_buf_cstr(&spec);
    if (timed)
        add(h, s, handler, evrt_buf_release(&spec));
    else
        evrt_buf_finish(&spec);
}

void host_timers_update(struct evrt_host *h) {
    struct host_timers *t = h->timers;
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++)
        update(h, evrt_bus_get(h->bus, i));
    for (size_t i = 0; i < t->row_n; i++)
        end_row(h, t->rows[i].number, t->rows[i].due_ms);
    free_rows(t);
    h->timers_changed = true;
}

void host_timers_forget(struct evrt_host *h, uint32_t sub) {
    struct timer *t = find(h->timers, sub);
    if (t != NULL) drop(h, t);
}

/* ---- For people ---- */

void host_timer_json(const struct evrt_host *h, const struct evrt_sub *s, struct evrt_jsonout *o) {
    enum { NEXT = 3 };
    static const char *const policies[] = {"skip", "once", "all"};
    const struct timer *t = find(h->timers, s->id);
    char text[EVRT_RFC3339_SIZE];
    if (t == NULL) return;
    int64_t at = t->zone == NULL ? evrt_wall_ms() + (t->due_mono - mono_ms()) : t->due_ms;
    evrt_jsonout_key(o, "timer");
    evrt_jsonout_object(o);
    evrt_jsonout_put_raw(o, "spec", evrt_slice_of(t->spec));
    evrt_jsonout_put_cstr(o, "catch_up", policies[t->catch_up]);
    evrt_jsonout_key(o, "next");
    evrt_jsonout_array(o);
    for (int i = 0; i < NEXT && at != INT64_MAX; i++, at = after(t, at))
        evrt_jsonout_cstr(o, evrt_rfc3339_format(at, text));
    evrt_jsonout_end(o);
    evrt_jsonout_end(o);
}

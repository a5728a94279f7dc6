/* Waiting until the first attempt of every handler of an event has settled. A wait is found by its event's
 * sequence; while nobody waits, a settlement costs one comparison. */
#include <errno.h>
#include <stdlib.h>
#include <uv.h>

#include "host/node.h"

#include "core/clock.h"
#include "core/jsonout.h"
#include "loop/timer.h"
#include "json/json.h"

#define FOREVER_MS (INT64_C(100) * 366 * 86400 * 1000) /* as nanoseconds it is still a number */

struct outcome {
    uint32_t sub;
    char *handler;
    int outcome; /* enum evrt_outcome, or -1 while pending */
    char *error_type, *message;
};

struct evrt_host_wait {
    struct evrt_host *host;
    struct evrt_host_wait *next, *prev; /* all waits; few, or nobody would wait */
    uint64_t seq;
    uint64_t delivery; /* who waits; 0: nobody's delivery */
    bool routed;       /* the handlers are known; else, when it is told, what is pending is not */
    struct outcome *outcomes;
    size_t count, pending;
    uv_timer_t timer;
    evrt_host_settled_cb cb; /* NULL: cancelled or told */
    void *arg;
};

struct host_wait_table {
    struct evrt_map by_seq; /* 8 bytes of seq -> first wait of a chain */
    size_t count;
};

struct host_wait_table *host_waits_create(void) {
    struct host_wait_table *t = evrt_zalloc(sizeof *t);
    evrt_map_init(&t->by_seq);
    return t;
}

void host_waits_destroy(struct host_wait_table *t) {
    if (t == NULL) return;
    evrt_map_finish(&t->by_seq);
    free(t);
}

static struct evrt_slice key_of(const uint64_t *seq) {
    return (struct evrt_slice){(const char *)seq, sizeof *seq};
}

static void free_outcomes(struct evrt_host_wait *w) {
    for (size_t i = 0; i < w->count; i++) {
        free(w->outcomes[i].handler);
        free(w->outcomes[i].error_type);
        free(w->outcomes[i].message);
    }
    free(w->outcomes);
    w->outcomes = NULL;
    w->count = w->pending = 0;
}

static void on_timer_closed(uv_handle_t *handle) {
    struct evrt_host_wait *w = handle->data;
    struct evrt_host *h = w->host;
    free_outcomes(w);
    free(w);
    h->handles--;
    host_progress(h);
}

static void unlink_wait(struct evrt_host_wait *w) {
    struct host_wait_table *t = w->host->waits;
    if (w->prev != NULL)
        w->prev->next = w->next;
    else if (w->next != NULL)
        evrt_map_set(&t->by_seq, key_of(&w->seq), w->next);
    else
        evrt_map_remove(&t->by_seq, key_of(&w->seq));
    if (w->next != NULL) w->next->prev = w->prev;
    t->count--;
    uv_close((uv_handle_t *)&w->timer, on_timer_closed);
}

static void put_outcome(struct evrt_jsonout *o, const struct outcome *x) {
    static const char *const names[] = {"success", "dead", "discarded", "retrying"};
    evrt_jsonout_object(o);
    evrt_jsonout_put_cstr(o, "handler", x->handler);
    evrt_jsonout_put_cstr(o, "outcome", x->outcome < 0 ? "pending" : names[x->outcome]);
    if (x->message != NULL) {
        evrt_jsonout_key(o, "error");
        evrt_jsonout_object(o);
        evrt_jsonout_put_cstr(o, "type", x->error_type);
        evrt_jsonout_put_cstr(o, "message", x->message);
        evrt_jsonout_end(o);
    }
    evrt_jsonout_end(o);
}

static void tell(struct evrt_host_wait *w) {
    struct evrt_buf json;
    evrt_buf_init(&json);
    struct evrt_jsonout o = evrt_jsonout_start(&json);
    evrt_jsonout_array(&o);
    for (size_t i = 0; i < w->count; i++)
        put_outcome(&o, &w->outcomes[i]);
    evrt_jsonout_end(&o);
    evrt_host_settled_cb cb = w->cb;
    w->cb = NULL;
    unlink_wait(w);
    cb(w->arg, w->routed ? (unsigned)w->pending : EVRT_PENDING_UNKNOWN, evrt_buf_slice(&json));
    evrt_buf_finish(&json);
}

static void on_timeout(uv_timer_t *timer) {
    tell(timer->data);
}

static void on_decided(uv_timer_t *timer) {
    tell(timer->data);
}

/* Told from the loop, never from inside the call that asked or settled. */
static void tell_soon(struct evrt_host_wait *w) {
    uv_timer_start(&w->timer, on_decided, 0, 0);
}

static void decide(struct evrt_host_wait *w) {
    if (w->routed && w->pending == 0) tell_soon(w);
}

static void list_handlers(struct evrt_host_wait *w, const struct evrt_route *r) {
    w->outcomes = evrt_zalloc((r->count + 1) * sizeof *w->outcomes);
    for (size_t i = 0; i < r->count; i++)
        w->outcomes[i] =
            (struct outcome){r->subs[i]->id, evrt_strdup(r->subs[i]->name), -1, NULL, NULL};
    w->count = w->pending = r->count;
    w->routed = true;
}

/* ---- For an event that was published before: what became of it so far is looked up ---- */

struct lookup {
    struct evrt_host *host;
    uint64_t seq;
    const struct evrt_host_wait *wait; /* it may have been told meanwhile */
};

static char *text_of(struct evrt_slice object, const char *path) {
    struct evrt_buf out;
    evrt_buf_init(&out);
    struct evrt_slice v = evrt_json_at(object, evrt_slice_of(path));
    if (v.n != 0) evrt_json_unquote(v, &out);
    evrt_buf_cstr(&out);
    return evrt_buf_release(&out);
}

/* One of "handlers", as evrt_host_event tells them. */
static int add_known(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct evrt_host_wait *w = arg;
    char *handler = text_of(m->value, "handler"), *outcome = text_of(m->value, "outcome");
    const struct evrt_sub *s = evrt_bus_find(w->host->bus, evrt_slice_of(handler));
    bool dead = strcmp(outcome, "dead") == 0, retrying = strcmp(outcome, "retrying") == 0;
    (void)err;
    w->outcomes = evrt_realloc(w->outcomes, (w->count + 1) * sizeof *w->outcomes);
    struct outcome *x = &w->outcomes[w->count++];
    *x = (struct outcome){s == NULL ? 0 : s->id, handler, -1, NULL, NULL};
    if (dead || retrying) {
        x->outcome = dead ? EVRT_OUTCOME_DEAD : EVRT_OUTCOME_RETRYING;
        x->error_type = text_of(m->value, "error.type");
        x->message = text_of(m->value, "error.message");
    } else if (strcmp(outcome, "done") == 0) {
        x->outcome = EVRT_OUTCOME_DONE;
    } else if (strcmp(outcome, "discarded") == 0) {
        x->outcome = EVRT_OUTCOME_DISCARDED;
    }
    w->pending += x->outcome < 0;
    free(outcome);
    return 0;
}

static void look_up(struct evrt_host_wait *w);

/* One that was pending when it was looked at has ended since, when nobody listened. */
static bool is_outdated(const struct evrt_host_wait *w) {
    uint64_t next = evrt_bus_next_seq(w->host->bus);
    for (size_t i = 0; i < w->count; i++) {
        const struct evrt_sub *s =
            w->outcomes[i].outcome >= 0 ? NULL : evrt_bus_by_id(w->host->bus, w->outcomes[i].sub);
        if (s != NULL && evrt_sub_where(s, w->seq, next) == EVRT_SUB_ENDED) return true;
    }
    return false;
}

/* An event that retention has dropped has no handlers that are known. */
static void take_known(struct evrt_host_wait *w, int status, struct evrt_slice json) {
    struct evrt_json_info info;
    struct evrt_slice list = evrt_json_at(json, EVRT_STR("handlers"));
    free_outcomes(w);
    int rc = status < 0 ? 0 : evrt_json_members(list, add_known, w, &info, NULL);
    if (rc < 0 || (status < 0 && status != -ENOENT)) {
        tell_soon(w);
    } else if (is_outdated(w)) {
        look_up(w);
    } else {
        w->routed = true;
        decide(w);
    }
}

static void on_looked_up(void *arg, int status, struct evrt_slice json) {
    struct lookup *l = arg;
    struct evrt_host_wait *w = evrt_map_get(&l->host->waits->by_seq, key_of(&l->seq));
    while (w != NULL && w != l->wait)
        w = w->next;
    if (w != NULL && !w->routed) take_known(w, status, json);
    free(l);
}

static void look_up(struct evrt_host_wait *w) {
    struct lookup *l = evrt_alloc(sizeof *l);
    *l = (struct lookup){w->host, w->seq, w};
    evrt_host_event(w->host, w->seq, on_looked_up, l);
}

struct evrt_host_wait *host_waits_add(struct evrt_host *h, uint64_t seq, uint64_t delivery,
                                      int64_t timeout_ms, evrt_host_settled_cb cb, void *arg) {
    struct evrt_host_wait *w = evrt_zalloc(sizeof *w);
    w->host = h;
    w->seq = seq;
    w->delivery = delivery;
    w->cb = cb;
    w->arg = arg;
    uv_timer_init(h->loop, &w->timer);
    w->timer.data = w;
    h->handles++;
    w->next = evrt_map_set(&h->waits->by_seq, key_of(&w->seq), w);
    if (w->next != NULL) w->next->prev = w;
    h->waits->count++;
    if (timeout_ms > FOREVER_MS) timeout_ms = FOREVER_MS;
    evrt_timer_start(&w->timer, on_timeout, evrt_mono_ns() + timeout_ms * 1000000);
    if (h->phase >= HOST_CLOSING)
        tell_soon(w); /* nothing settles any more */
    else if (seq < evrt_bus_next_seq(h->bus))
        look_up(w);
    return w;
}

struct evrt_host_wait *evrt_host_wait_settled(struct evrt_host *h, uint64_t seq, int64_t timeout_ms,
                                              evrt_host_settled_cb cb, void *arg) {
    return host_waits_add(h, seq, 0, timeout_ms, cb, arg);
}

/* As deep as handlers publish to handlers, which bus.max_hops bounds. */
bool host_waits_on_key(struct evrt_host *h, const struct evrt_sub *s, uint64_t position,
                       const struct evrt_sub *holder, uint64_t key) {
    const struct evrt_delivery *d = s == NULL ? NULL : evrt_sub_delivery(s, position);
    if (d == NULL) return false;
    uint64_t seq = d->seq;
    struct evrt_host_wait *w = evrt_map_get(&h->waits->by_seq, key_of(&seq));
    for (; w != NULL; w = w->next) {
        uint64_t at;
        const struct evrt_sub *waiter = w->delivery == 0 ? NULL : host_sub_of(h, w->delivery, &at);
        if (waiter == NULL) continue;
        const struct evrt_delivery *its = evrt_sub_delivery(waiter, at);
        if (waiter == holder && its != NULL && its->key == key) return true;
        if (host_waits_on_key(h, waiter, at, holder, key)) return true;
    }
    return false;
}

void evrt_host_wait_cancel(struct evrt_host_wait *w) {
    if (w->cb == NULL) return;
    w->cb = NULL;
    unlink_wait(w);
}

void host_waits_routed(struct evrt_host *h, uint64_t seq, struct evrt_slice type) {
    if (h->waits->count == 0) return;
    struct evrt_host_wait *w = evrt_map_get(&h->waits->by_seq, key_of(&seq));
    for (; w != NULL; w = w->next) {
        list_handlers(w, evrt_bus_route(h->bus, type));
        decide(w);
    }
}

static void settle_one(struct evrt_host_wait *w, struct outcome *x, enum evrt_outcome outcome) {
    x->outcome = (int)outcome;
    w->pending--;
    decide(w);
}

static bool is_gone(const struct evrt_sub *s, uint64_t seq) {
    for (size_t i = 0; i < s->gone_count; i++)
        if (evrt_range_has(s->gone[i], seq)) return true;
    return false;
}

void host_waits_discarded(struct evrt_host *h, const struct evrt_sub *s) {
    struct evrt_host_wait *w;
    if (h->waits->count == 0 || s->gone_count == 0) return;
    for (size_t at = 0; (w = evrt_map_next(&h->waits->by_seq, &at, NULL)) != NULL;) {
        if (!is_gone(s, w->seq)) continue;
        for (; w != NULL; w = w->next)
            for (size_t i = 0; i < w->count; i++)
                if (w->outcomes[i].sub == s->id && w->outcomes[i].outcome < 0)
                    settle_one(w, &w->outcomes[i], EVRT_OUTCOME_DISCARDED);
    }
}

void host_waits_settled(struct evrt_host *h, const struct evrt_sub *s, uint64_t seq,
                        enum evrt_outcome outcome, struct evrt_slice error_type,
                        struct evrt_slice message) {
    if (h->waits->count == 0) return;
    struct evrt_host_wait *w = evrt_map_get(&h->waits->by_seq, key_of(&seq));
    for (; w != NULL; w = w->next)
        for (size_t i = 0; i < w->count; i++) {
            struct outcome *x = &w->outcomes[i];
            if (x->sub != s->id || x->outcome >= 0) continue;
            if (outcome == EVRT_OUTCOME_DEAD || outcome == EVRT_OUTCOME_RETRYING) {
                x->error_type = evrt_strndup(error_type.p, error_type.n);
                x->message = evrt_strndup(message.p, message.n);
            }
            settle_one(w, x, outcome);
        }
}

void host_waits_finish(struct evrt_host *h) {
    struct evrt_host_wait *w;
    for (size_t at = 0; (w = evrt_map_next(&h->waits->by_seq, &at, NULL)) != NULL; at = 0)
        tell(w);
}

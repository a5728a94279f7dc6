/* Accepting what a delivery leaves behind: all of it, with its completion, or none. See kv.h.
 *
 * A completion whose compare-and-set came too late is none: the delivery is made again, uncharged. One for
 * which there is no room (state.db is far behind, or the journal takes no events) waits; what comes behind it
 * with effects waits, too, so that the order stays. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "host/jobs.h"
#include "host/node.h"

enum {
    SETTLE_BYTES = 256 << 10, /* of effects that one settlement gathers */
    LOOK_MS = 5,              /* while completions wait for room */
};

/* ---- May it be? ---- */

/* "HANDLER=NAMESPACE" apart by spaces. */
static bool in_writers(const char *p, struct evrt_slice handler, struct evrt_slice ns) {
    for (p += strspn(p, " "); *p != '\0'; p += strspn(p, " ")) {
        size_t n = strcspn(p, " "), left = strcspn(p, "=");
        struct evrt_slice who = {p, left}, what = {p + left + 1, n - left - 1};
        if ((evrt_slice_eq(who, EVRT_STR("*")) || evrt_slice_eq(who, handler)) &&
            (evrt_slice_eq(what, EVRT_STR("*")) || evrt_slice_eq(what, ns)))
            return true;
        p += n;
    }
    return false;
}

struct accept {
    struct evrt_host *host;
    struct host_worker *worker; /* NULL: an operator */
    const char *handler;        /* NULL: an operator */
    uint64_t delivery;
    struct evrt_slice ops;
};

static int check_write(const struct accept *a, const struct evrt_kv_op *op,
                       struct evrt_error *err) {
    const struct evrt_config *c = a->host->config;
    if (op->ns.n == 0 || op->ns.n > 256 || evrt_kv_key_check(op->ns) != op->ns.n)
        return evrt_error_set(err, -EINVAL, "namespace: a name of 1 to 256 bytes expected");
    if (op->key.n == 0 || op->key.n > c->kv.max_key) {
        if (op->key.n != 0) host_limit(a->host, EVRT_LIMIT_KV_KEY);
        return evrt_error_set(err, -EINVAL, "key: %zu bytes, expected 1 to %llu (kv.max_key)",
                              op->key.n, (unsigned long long)c->kv.max_key);
    }
    if (evrt_kv_key_check(op->key) != op->key.n)
        return evrt_error_set(err, -EINVAL, "key: byte %zu is no printable UTF-8",
                              evrt_kv_key_check(op->key) + 1);
    bool valued = op->kind == EVRT_KV_SET || op->value.n != 0;
    if (valued && !evrt_kv_is_value(op->value))
        return evrt_error_set(err, -EINVAL, "value: not in a form that is known");
    if (op->value.n > c->kv.max_value + 1) {
        host_limit(a->host, EVRT_LIMIT_KV_VALUE);
        return evrt_error_set(err, -EMSGSIZE, "value: %zu bytes, at most %llu (kv.max_value)",
                              op->value.n - 1, (unsigned long long)c->kv.max_value);
    }
    if (a->handler == NULL || evrt_slice_eq(op->ns, evrt_slice_of(a->handler)) ||
        evrt_slice_eq(op->ns, EVRT_STR("evrt.snapshots")) || /* of all (lua/evrt/snapshot.lua) */
        in_writers(c->kv.writers, evrt_slice_of(a->handler), op->ns))
        return 0;
    return evrt_error_set(
        err, -EACCES, "namespace \"%.*s\": %s may not write it; kv.writers: \"%s=%.*s\" permits it",
        (int)op->ns.n, op->ns.p, a->handler, a->handler, (int)op->ns.n, op->ns.p);
}

static int check_cas(const struct accept *a, const struct evrt_kv_op *op, struct evrt_error *err) {
    struct evrt_slice value;
    int rc = host_kv_value(a->host, &(struct evrt_overlay_name){op->ns, op->key}, &value, err);
    if (rc < 0) return rc;
    if (evrt_slice_eq(value, op->expected)) return 0;
    return evrt_error_set(err, -ESTALE,
                          "compare-and-set: \"%.*s\" was changed by others before this was done",
                          (int)op->key.n, op->key.p);
}

/* What the operations before this one make of its key: false: nothing, else *value. */
static bool written_before(const struct accept *a, const struct evrt_kv_op *op,
                           struct evrt_slice *value) {
    struct evrt_kv_op other;
    bool found = false;
    for (size_t at = 0; evrt_kv_next(a->ops, &at, &other) == 1 && other.key.p != op->key.p;) {
        bool absolute =
            other.kind == EVRT_KV_SET || other.kind == EVRT_KV_DELETE || other.kind == EVRT_KV_CAS;
        if (!absolute || !evrt_slice_eq(other.key, op->key) || !evrt_slice_eq(other.ns, op->ns))
            continue;
        *value = other.value;
        found = true;
    }
    return found;
}

/* An increment reads nothing: what is known of the key says whether it can be, and state.db when it comes there
 * (host_kv_keep). */
static int check_incr(const struct accept *a, const struct evrt_kv_op *op, struct evrt_error *err) {
    struct evrt_slice value;
    int64_t number;
    if (!evrt_overlay_peek(a->host->kv.overlay, &(struct evrt_overlay_name){op->ns, op->key},
                           host_kv_now(a->host), &value) ||
        value.n == 0 || evrt_kv_integer(value, &number))
        return 0;
    if (written_before(a, op, &value) && (value.n == 0 || evrt_kv_integer(value, &number)))
        return 0;
    return evrt_kv_not_number(op->key, err);
}

/* What is emitted as it will be: with what was left out, and its cause. */
static int complete_event(const struct accept *a, const struct evrt_kv_op *op, struct evrt_event *e,
                          struct evrt_host_scratch *scratch, struct evrt_error *err) {
    const struct evrt_config *c = a->host->config;
    if (a->worker == NULL || evrt_event_decode(op->value.p, op->value.n, e) < 0)
        return evrt_error_set(err, -EINVAL, "publish: not an event");
    int rc = evrt_host_complete(a->host, e, scratch, err);
    if (rc == 0) rc = evrt_host_check_data(e, err);
    if (rc < 0) return rc;
    struct evrt_deliver when;
    rc = host_publish_check(a->host, e, &when, err);
    if (rc < 0) return rc;
    if (e->hops > c->bus.max_hops) {
        host_limit(a->host, EVRT_LIMIT_MAX_HOPS);
        return evrt_error_set(err, -ELOOP, "publish: hop limit: at most %llu (bus.max_hops)",
                              (unsigned long long)c->bus.max_hops);
    }
    host_cause(a->worker, a->delivery, e);
    return 0;
}

/* Behind the events that were emitted before. */
static void put_event(struct host_kv *kv, const struct evrt_event *e) {
    size_t n = evrt_event_size(e);
    evrt_event_encode(e, host_record_room(&kv->emitted, EVRT_RECORD_EVENT, n));
    kv->emitted_bytes += evrt_journal_record_bytes(n);
    kv->emitted_count++;
}

/* Events are put where they will be journaled from; the caller takes them back when not all may be. */
static int check(const struct accept *a, struct evrt_error *err) {
    struct evrt_host_scratch scratch;
    struct evrt_event e;
    struct evrt_kv_op op;
    int rc = 0, next;
    if (a->ops.n > a->host->config->kv.max_effects + EVRT_KV_HEADER) {
        host_limit(a->host, EVRT_LIMIT_KV_EFFECTS);
        return evrt_error_set(err, -EMSGSIZE, "effects: %zu bytes, at most %llu (kv.max_effects)",
                              a->ops.n, (unsigned long long)a->host->config->kv.max_effects);
    }
    for (size_t at = 0; rc == 0 && (next = evrt_kv_next(a->ops, &at, &op)) != 0;) {
        if (next < 0) return evrt_error_set(err, -EBADMSG, "effects: malformed");
        if (op.kind == EVRT_KV_EMIT) {
            rc = complete_event(a, &op, &e, &scratch, err);
            if (rc == 0) put_event(&a->host->kv, &e);
        } else {
            rc = check_write(a, &op, err);
        }
        if (rc == 0 && op.kind == EVRT_KV_CAS) rc = check_cas(a, &op, err);
        if (rc == 0 && op.kind == EVRT_KV_INCR) rc = check_incr(a, &op, err);
    }
    return rc;
}

/* ---- Then it is ---- */

static void apply_write(struct evrt_host *h, const struct evrt_kv_op *op) {
    struct host_kv *kv = &h->kv;
    struct evrt_overlay_name name = {op->ns, op->key};
    struct evrt_kv_op kept = *op;
    kept.expected = (struct evrt_slice){NULL, 0};
    if (op->kind == EVRT_KV_CAS) kept.kind = op->value.n == 0 ? EVRT_KV_DELETE : EVRT_KV_SET;
    if (kept.kind != EVRT_KV_SET) kept.value = kept.expected;
    evrt_kv_put(&kv->ops, &kept);
    if (kept.kind == EVRT_KV_INCR)
        evrt_overlay_incr(kv->overlay, &name, op->number, kv->at_ms);
    else
        evrt_overlay_set(kv->overlay, &name, &(struct evrt_kv_row){kept.value, op->number});
    kv->counts.writes++;
}

/* All of it goes into one group of the journal. */
static int check_group(const struct accept *a, uint32_t count, struct evrt_error *err) {
    if (host_kv_bytes(a->host) + a->ops.n <= HOST_KV_GROUP_BYTES) return 0;
    return evrt_error_set(err, -EMSGSIZE,
                          "effects: %u events and %zu bytes are more than one commit can hold",
                          count, a->ops.n);
}

static int take_all(const struct accept *a, struct evrt_error *err) {
    struct host_kv *kv = &a->host->kv;
    struct evrt_kv_op op;
    if (kv->ops.n + kv->emitted.n + a->ops.n > SETTLE_BYTES && host_kv_has(kv))
        host_settle(a->host);
    size_t emitted = kv->emitted.n, bytes = kv->emitted_bytes;
    uint32_t count = kv->emitted_count;
    int rc = check(a, err);
    if (rc == 0) rc = check_group(a, kv->emitted_count - count, err);
    if (rc < 0) {
        kv->emitted.n = emitted;
        kv->emitted_bytes = bytes;
        kv->emitted_count = count;
        return rc;
    }
    kv->counts.emitted += kv->emitted_count - count;
    kv->at_ms = host_kv_now(a->host);
    for (size_t at = 0; evrt_kv_next(a->ops, &at, &op) == 1;)
        if (op.kind != EVRT_KV_EMIT) apply_write(a->host, &op);
    evrt_overlay_show(kv->overlay);
    return 0;
}

/* ---- Deliveries ---- */

static void refuse(struct host_worker *w, uint64_t delivery, const struct evrt_error *err) {
    w->host->kv.counts.refused++;
    host_failed(w,
                &(struct evrt_frame_failed){
                    .delivery = delivery,
                    .error_type = EVRT_STR("error"),
                    .message = evrt_slice_of(err->message),
                    .retry_ms = EVRT_RETRY_BY_POLICY,
                },
                false);
}

static void accept_delivery(struct host_worker *w, uint64_t delivery, struct evrt_slice ops) {
    struct evrt_host *h = w->host;
    struct evrt_error err;
    uint64_t position;
    struct evrt_sub *s = host_sub_of(h, delivery, &position);
    struct evrt_delivery *d = s == NULL ? NULL : evrt_sub_in_flight(s, position, w->instance);
    if (d == NULL) {
        h->stale++;
        return;
    }
    int rc = take_all(&(struct accept){h, w, s->name, delivery, ops}, &err);
    if (rc < 0 && h->kv.damaged) return; /* see host_kv_met */
    if (rc == 0) {
        h->kv.counts.effects++;
        s->left_effects = true;
        host_done(w, delivery, evrt_mono_ns());
    } else if (rc == -ESTALE && d->conflicts < h->config->kv.max_conflicts) {
        h->kv.counts.conflicts++;
        d->conflicts++;
        w->outstanding--;
        w->lent -= d->lent;
        evrt_bus_again(h->bus, s, position);
        if (evrt_sub_is_aside(position)) host_jobs_again(h);
    } else {
        h->kv.counts.conflicts += rc == -ESTALE;
        if (rc == -ESTALE) {
            struct evrt_error last = err;
            host_limit(h, EVRT_LIMIT_KV_CONFLICTS);
            evrt_error_set(&err, rc, "%s, and that %u times (kv.max_conflicts)", last.message,
                           d->conflicts + 1u);
        }
        refuse(w, delivery, &err);
    }
}

/* ---- Writes that are no delivery's effect ---- */

struct write {
    struct evrt_host *host;
    uint32_t instance;
    struct evrt_frame_value answer;
};

static void answer(struct evrt_host *h, uint32_t instance, const struct evrt_frame_value *f) {
    struct host_worker *w = host_worker_find(h, instance);
    if (w == NULL || !w->channel_open || w->channel.ended) return;
    evrt_frame_put_value(evrt_channel_out(&w->channel), f);
}

static void on_durable(void *arg, uint64_t unused) {
    struct write *w = arg;
    (void)unused;
    answer(w->host, w->instance, &w->answer);
    free(w);
}

static void accept_one(struct host_worker *w, const struct evrt_frame_write *f) {
    struct evrt_host *h = w->host;
    struct evrt_error err = {0};
    uint64_t position;
    const struct evrt_sub *s = f->delivery == 0 ? NULL : host_sub_of(h, f->delivery, &position);
    int rc = take_all(&(struct accept){h, w, s == NULL ? "" : s->name, f->delivery, f->op}, &err);
    if (rc < 0 && h->kv.damaged) return; /* see host_kv_met */
    if (rc < 0) {
        answer(h, w->instance,
               &(struct evrt_frame_value){f->token, rc, 0, evrt_slice_of(err.message)});
        return;
    }
    struct write *write = evrt_alloc(sizeof *write);
    *write = (struct write){h, w->instance, {.token = f->token}};
    host_barrier(h, on_durable, write);
}

int evrt_host_kv_write(struct evrt_host *h, struct evrt_slice op, evrt_host_publish_cb cb,
                       void *arg, struct evrt_error *err) {
    if (h->phase >= HOST_CLOSING) return evrt_error_set(err, -ESHUTDOWN, "shutting down");
    if (h->kv.waiting != NULL || evrt_overlay_dirty(h->kv.overlay) >= h->config->kv.overlay) {
        host_limit(h, EVRT_LIMIT_KV_OVERLAY);
        return evrt_error_set(err, -EAGAIN,
                              "too many writes wait for state.db (kv.overlay); try again");
    }
    if (evrt_journal_refuses(h->journal, op.n) != 0)
        return evrt_error_set(err, -ENOSPC, "the journal has no room now; try again");
    int rc = take_all(&(struct accept){.host = h, .ops = op}, err);
    if (rc == 0) host_barrier(h, cb, arg);
    return rc;
}

/* ---- Waiting for room ---- */

struct host_kv_waiting {
    struct host_kv_waiting *next;
    uint32_t instance;
    bool write;
    size_t n;
    char payload[];
};

/* What is larger than the journal lets wait at all would find none ever. */
static bool has_room(struct evrt_host *h, size_t bytes) {
    size_t most = h->config->store.max_backlog / 2;
    if (bytes > most) bytes = most;
    return !h->state_behind && evrt_overlay_dirty(h->kv.overlay) < h->config->kv.overlay &&
           evrt_journal_refuses(h->journal, bytes) == 0;
}

/* The turn does the work, before the loop waits again. */
static void on_look(uv_timer_t *timer) {
    (void)timer;
}

static int take(struct host_worker *w, bool write, struct evrt_slice payload) {
    struct evrt_frame_effects effects;
    struct evrt_frame_write one;
    int rc =
        write ? evrt_frame_get_write(payload, &one) : evrt_frame_get_effects(payload, &effects);
    if (rc < 0) return rc;
    if (write) {
        accept_one(w, &one);
        return 0;
    }
    accept_delivery(w, effects.delivery, effects.ops);
    host_contain_effects(w); /* from now on the worker may read by itself what it has written */
    return 0;
}

static int take_or_wait(struct host_worker *w, bool write, struct evrt_slice payload) {
    struct host_kv *kv = &w->host->kv;
    if (kv->waiting == NULL && has_room(w->host, payload.n)) return take(w, write, payload);
    struct host_kv_waiting *one = evrt_alloc(sizeof *one + payload.n);
    *one = (struct host_kv_waiting){NULL, w->instance, write, payload.n};
    memcpy(one->payload, payload.p, payload.n);
    *kv->waiting_end = one;
    kv->waiting_end = &one->next;
    kv->counts.waits++;
    host_limit(w->host, EVRT_LIMIT_KV_OVERLAY);
    if (!uv_is_active((uv_handle_t *)&kv->timer))
        uv_timer_start(&kv->timer, on_look, LOOK_MS, LOOK_MS);
    return 0;
}

int host_kv_effects(struct host_worker *w, struct evrt_slice payload) {
    return take_or_wait(w, false, payload);
}

int host_kv_writes(struct host_worker *w, struct evrt_slice payload) {
    return take_or_wait(w, true, payload);
}

/* Takes the one at *from out. A slot that has another process by now said nothing of this. */
static void take_waiting(struct evrt_host *h, struct host_kv_waiting **from) {
    struct host_kv_waiting *one = *from;
    *from = one->next;
    if (one->next == NULL) h->kv.waiting_end = from;
    struct host_worker *w = host_worker_find(h, one->instance);
    if (w == NULL)
        h->stale++;
    else if (take(w, one->write, (struct evrt_slice){one->payload, one->n}) < 0)
        h->stale++;
    free(one);
}

void host_kv_admit(struct evrt_host *h) {
    while (h->kv.waiting != NULL && has_room(h, h->kv.waiting->n))
        take_waiting(h, &h->kv.waiting);
    if (h->kv.waiting == NULL)
        uv_timer_stop(&h->kv.timer);
    else
        evrt_state_hurry(h->state);
}

void host_kv_force(struct host_worker *w) {
    struct host_kv_waiting **from = &w->host->kv.waiting;
    while (*from != NULL)
        if ((*from)->instance == w->instance)
            take_waiting(w->host, from);
        else
            from = &(*from)->next;
}

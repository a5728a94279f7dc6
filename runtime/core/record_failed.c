/* Failures in journal records: retries, dead letters, histories. See record.h.
 *
 * An entry of a list begins with a zero byte: so it is told from one of the first version, which began with a
 * sequence and had fewer fields. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/record.h"
#include "core/utf8.h"
#include "core/varint.h"

enum {
    MESSAGE_MAX = 1024, /* of one attempt, in bytes */
    TYPE_MAX = 64,
    HISTORY_MAX = 32 * 1024, /* of all attempts */
};

const char *evrt_dead_reason_name(unsigned reason) {
    static const char *const names[] = {
#define X(id, number, name, help) [number] = name,
        EVRT_DEAD_REASONS(X)
#undef X
    };
    return reason < sizeof names / sizeof names[0] ? names[reason] : names[0];
}

int evrt_dead_reason_of(struct evrt_slice name) {
#define X(id, number, text, help) \
    if (evrt_slice_eq(name, EVRT_STR(text))) return number;
    EVRT_DEAD_REASONS(X)
#undef X
    return -1;
}

/* Whether the entry is of this version; steps over the mark. */
static bool is_new(struct evrt_varint_input *in) {
    if (in->s.p[in->at] != 0) return false;
    in->at++;
    return true;
}

static int step(const struct evrt_varint_input *in, size_t *at) {
    if (in->bad) return -EBADMSG;
    *at = in->at;
    return 1;
}

void evrt_dead_put(struct evrt_buf *out, const struct evrt_record_dead *d) {
    evrt_buf_putc(out, 0);
    evrt_varint_put(out, d->seq);
    evrt_varint_put(out, d->attempt);
    evrt_varint_put(out, (uint64_t)d->at_ms);
    evrt_varint_put_slice(out, d->error_type);
    evrt_varint_put_slice(out, d->message);
    evrt_varint_put_slice(out, d->traceback);
    evrt_varint_put(out, d->reason);
    evrt_varint_put(out, (uint64_t)d->first_failed_ms);
    evrt_varint_put(out, d->generation);
    evrt_varint_put(out, d->script);
    evrt_varint_put_slice(out, d->type);
    evrt_varint_put_slice(out, d->id);
}

int evrt_dead_next(struct evrt_slice dead, size_t *at, struct evrt_record_dead *d) {
    struct evrt_varint_input in = {dead, *at, 0};
    if (in.at == dead.n) return 0;
    bool whole = is_new(&in);
    *d = (struct evrt_record_dead){.seq = evrt_varint_get(&in)};
    d->attempt = evrt_varint_get_u32(&in);
    d->at_ms = (int64_t)evrt_varint_get(&in);
    d->error_type = evrt_varint_get_slice(&in);
    d->message = evrt_varint_get_slice(&in);
    d->traceback = evrt_varint_get_slice(&in);
    if (!whole) return step(&in, at);
    d->reason = (uint8_t)evrt_varint_get_u32(&in);
    d->first_failed_ms = (int64_t)evrt_varint_get(&in);
    d->generation = evrt_varint_get(&in);
    d->script = evrt_varint_get(&in);
    d->type = evrt_varint_get_slice(&in);
    d->id = evrt_varint_get_slice(&in);
    return step(&in, at);
}

void evrt_retry_put(struct evrt_buf *out, const struct evrt_record_retry *r) {
    evrt_buf_putc(out, 0);
    evrt_varint_put(out, r->seq);
    evrt_varint_put(out, r->attempt);
    evrt_varint_put(out, r->crashes);
    evrt_varint_put(out, (uint64_t)r->due_ms);
    evrt_varint_put(out, (uint64_t)r->delay_ms);
    evrt_varint_put(out, (uint64_t)r->first_failed_ms);
    evrt_varint_put(out, (uint64_t)r->last_failed_ms);
    evrt_varint_put(out, r->key);
    evrt_varint_put_slice(out, r->error_type);
    evrt_varint_put_slice(out, r->message);
    evrt_varint_put(out, r->generation);
    evrt_varint_put(out, r->script);
    evrt_varint_put_slice(out, r->type);
}

int evrt_retry_next(struct evrt_slice retries, size_t *at, struct evrt_record_retry *r) {
    struct evrt_varint_input in = {retries, *at, 0};
    if (in.at == retries.n) return 0;
    bool whole = is_new(&in);
    *r = (struct evrt_record_retry){.seq = evrt_varint_get(&in)};
    r->attempt = evrt_varint_get_u32(&in);
    r->crashes = evrt_varint_get_u32(&in);
    r->due_ms = (int64_t)evrt_varint_get(&in);
    r->delay_ms = (int64_t)evrt_varint_get(&in);
    r->first_failed_ms = (int64_t)evrt_varint_get(&in);
    r->last_failed_ms = (int64_t)evrt_varint_get(&in);
    r->key = evrt_varint_get(&in);
    r->error_type = evrt_varint_get_slice(&in);
    r->message = evrt_varint_get_slice(&in);
    if (!whole) return step(&in, at);
    r->generation = evrt_varint_get(&in);
    r->script = evrt_varint_get(&in);
    r->type = evrt_varint_get_slice(&in);
    return step(&in, at);
}

/* ---- Histories ---- */

/* The second one goes: the first tells how it began. */
static bool drop_one(struct evrt_buf *history) {
    struct evrt_record_attempt a;
    size_t first = 0, second;
    if (evrt_history_next(evrt_buf_slice(history), &first, &a) != 1) return false;
    second = first;
    if (evrt_history_next(evrt_buf_slice(history), &second, &a) != 1) return false;
    memmove(history->p + first, history->p + second, history->n - second);
    history->n -= second - first;
    return true;
}

void evrt_history_add(struct evrt_buf *history, const struct evrt_record_attempt *a) {
    evrt_varint_put(history, a->attempt);
    evrt_varint_put(history, (uint64_t)a->at_ms);
    evrt_varint_put(history, a->generation);
    evrt_varint_put(history, a->script);
    evrt_varint_put_slice(history, evrt_utf8_cut(a->error_type, TYPE_MAX));
    evrt_varint_put_slice(history, evrt_utf8_cut(a->message, MESSAGE_MAX));
    while (history->n > HISTORY_MAX && drop_one(history))
        ;
}

int evrt_history_next(struct evrt_slice history, size_t *at, struct evrt_record_attempt *a) {
    struct evrt_varint_input in = {history, *at, 0};
    if (in.at == history.n) return 0;
    a->attempt = evrt_varint_get_u32(&in);
    a->at_ms = (int64_t)evrt_varint_get(&in);
    a->generation = evrt_varint_get(&in);
    a->script = evrt_varint_get(&in);
    a->error_type = evrt_varint_get_slice(&in);
    a->message = evrt_varint_get_slice(&in);
    return step(&in, at);
}

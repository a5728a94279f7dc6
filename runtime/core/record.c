/* See record.h. Integers are LEB128 varints, strings a varint length and bytes: records other than
 * events are rare and small, so compactness beats fixed offsets. */
#include "core/record.h"

#include <errno.h>

#include "core/varint.h"

const char *evrt_record_kind_name(unsigned kind) {
    static const char *const names[] = {
#define X(name, number, help) [number] = #name,
        EVRT_RECORD_KINDS(X)
#undef X
    };
    if (kind >= sizeof names / sizeof names[0] || names[kind] == NULL) return "unknown";
    return names[kind];
}

const char *evrt_job_state_name(unsigned state) {
    static const char *const names[] = {
#define X(id, name) name,
        EVRT_JOB_STATES(X)
#undef X
    };
    return state < EVRT_JOB_STATE_COUNT ? names[state] : "unknown";
}

void evrt_record_put_subscribe(struct evrt_buf *out, const struct evrt_record_subscribe *r) {
    evrt_varint_put(out, r->sub);
    evrt_varint_put_slice(out, r->name);
    evrt_varint_put(out, r->from_seq);
    evrt_varint_put(out, (uint64_t)r->at_ms);
    evrt_varint_put_slice(out, r->patterns);
}

int evrt_record_get_subscribe(struct evrt_slice s, struct evrt_record_subscribe *r) {
    struct evrt_varint_input in = {s, 0, 0};
    r->sub = evrt_varint_get_u32(&in);
    r->name = evrt_varint_get_slice(&in);
    r->from_seq = evrt_varint_get(&in);
    r->at_ms = (int64_t)evrt_varint_get(&in);
    r->patterns = evrt_varint_get_slice(&in);
    return evrt_varint_finish(&in);
}

void evrt_record_put_sub(struct evrt_buf *out, const struct evrt_record_sub *r) {
    evrt_varint_put(out, r->sub);
    evrt_varint_put(out, (uint64_t)r->at_ms);
}

int evrt_record_get_sub(struct evrt_slice s, struct evrt_record_sub *r) {
    struct evrt_varint_input in = {s, 0, 0};
    r->sub = evrt_varint_get_u32(&in);
    r->at_ms = (int64_t)evrt_varint_get(&in);
    return evrt_varint_finish(&in);
}

void evrt_record_put_settle(struct evrt_buf *out, const struct evrt_record_settle *r) {
    evrt_varint_put(out, r->sub);
    evrt_varint_put(out, r->cursor);
    evrt_varint_put(out, r->seen);
    evrt_varint_put(out, r->matched);
    evrt_varint_put(out, r->done);
    evrt_varint_put(out, r->dead_total);
    evrt_varint_put(out, r->discarded);
    evrt_varint_put_slice(out, r->ranges);
    evrt_varint_put_slice(out, r->dead);
    evrt_varint_put(out, r->retrying);
    evrt_varint_put_slice(out, r->retries);
    evrt_varint_put_slice(out, r->retried);
    evrt_varint_put_slice(out, r->left);
    if (r->gone.n != 0) evrt_varint_put_slice(out, r->gone);
}

int evrt_record_get_settle(struct evrt_slice s, struct evrt_record_settle *r) {
    struct evrt_varint_input in = {s, 0, 0};
    r->sub = evrt_varint_get_u32(&in);
    r->cursor = evrt_varint_get(&in);
    r->seen = evrt_varint_get(&in);
    r->matched = evrt_varint_get(&in);
    r->done = evrt_varint_get(&in);
    r->dead_total = evrt_varint_get(&in);
    r->discarded = evrt_varint_get(&in);
    r->ranges = evrt_varint_get_slice(&in);
    r->dead = evrt_varint_get_slice(&in);
    r->retrying = evrt_varint_get(&in);
    r->retries = evrt_varint_get_slice(&in);
    r->retried = evrt_varint_get_slice(&in);
    const struct evrt_slice none = {NULL, 0}; /* older ones end before these */
    r->left = in.at < s.n ? evrt_varint_get_slice(&in) : none;
    r->gone = in.at < s.n ? evrt_varint_get_slice(&in) : none;
    return evrt_varint_finish(&in);
}

void evrt_record_put_job(struct evrt_buf *out, const struct evrt_record_job *r) {
    evrt_varint_put(out, r->id);
    evrt_varint_put(out, r->state);
    evrt_varint_put_slice(out, r->kind);
    evrt_varint_put_slice(out, r->spec);
    evrt_varint_put(out, (uint64_t)r->created_ms);
    evrt_varint_put(out, (uint64_t)r->ended_ms);
    evrt_varint_put(out, r->cursor);
    evrt_varint_put(out, r->until);
    evrt_varint_put(out, r->total);
    evrt_varint_put(out, r->done);
    evrt_varint_put(out, r->failed);
    evrt_varint_put(out, r->skipped);
    evrt_varint_put(out, r->rate);
    evrt_varint_put(out, r->limit);
    evrt_varint_put_slice(out, r->error);
    evrt_varint_put_slice(out, r->ended);
}

int evrt_record_get_job(struct evrt_slice s, struct evrt_record_job *r) {
    struct evrt_varint_input in = {s, 0, 0};
    r->id = evrt_varint_get(&in);
    uint64_t state = evrt_varint_get(&in);
    if (state >= EVRT_JOB_STATE_COUNT) in.bad = 1;
    r->state = (uint8_t)state;
    r->kind = evrt_varint_get_slice(&in);
    r->spec = evrt_varint_get_slice(&in);
    r->created_ms = (int64_t)evrt_varint_get(&in);
    r->ended_ms = (int64_t)evrt_varint_get(&in);
    r->cursor = evrt_varint_get(&in);
    r->until = evrt_varint_get(&in);
    r->total = evrt_varint_get(&in);
    r->done = evrt_varint_get(&in);
    r->failed = evrt_varint_get(&in);
    r->skipped = evrt_varint_get(&in);
    r->rate = evrt_varint_get(&in);
    r->limit = evrt_varint_get(&in);
    r->error = evrt_varint_get_slice(&in);
    r->ended = evrt_varint_get_slice(&in);
    return evrt_varint_finish(&in);
}

void evrt_record_put_keep(struct evrt_buf *out, const struct evrt_record_keep *r) {
    evrt_varint_put(out, r->sub);
    evrt_varint_put_slice(out, r->event);
}

int evrt_record_get_keep(struct evrt_slice s, struct evrt_record_keep *r) {
    struct evrt_varint_input in = {s, 0, 0};
    r->sub = evrt_varint_get_u32(&in);
    r->event = evrt_varint_get_slice(&in);
    return evrt_varint_finish(&in);
}

void evrt_record_put_gap(struct evrt_buf *out, const struct evrt_record_gap *r) {
    evrt_varint_put(out, r->first_seq);
    evrt_varint_put(out, r->events);
    evrt_varint_put(out, r->first_group);
    evrt_varint_put(out, r->groups);
}

int evrt_record_get_gap(struct evrt_slice s, struct evrt_record_gap *r) {
    struct evrt_varint_input in = {s, 0, 0};
    r->first_seq = evrt_varint_get(&in);
    r->events = evrt_varint_get(&in);
    r->first_group = evrt_varint_get(&in);
    r->groups = evrt_varint_get(&in);
    return evrt_varint_finish(&in);
}

/* The operations have a form of their own, so they stand to the end. */
void evrt_record_put_kv(struct evrt_buf *out, const struct evrt_record_kv *r) {
    evrt_varint_put(out, (uint64_t)r->at_ms);
    evrt_buf_put(out, r->ops.p, r->ops.n);
}

int evrt_record_get_kv(struct evrt_slice s, struct evrt_record_kv *r) {
    struct evrt_varint_input in = {s, 0, 0};
    r->at_ms = (int64_t)evrt_varint_get(&in);
    r->ops = (struct evrt_slice){s.p + in.at, s.n - in.at};
    return in.bad ? -EBADMSG : 0;
}

void evrt_record_put_sweep(struct evrt_buf *out, const struct evrt_record_sweep *r) {
    evrt_varint_put(out, (uint64_t)r->at_ms);
}

int evrt_record_get_sweep(struct evrt_slice s, struct evrt_record_sweep *r) {
    struct evrt_varint_input in = {s, 0, 0};
    r->at_ms = (int64_t)evrt_varint_get(&in);
    return evrt_varint_finish(&in);
}

void evrt_ranges_put(struct evrt_buf *out, uint64_t *from, struct evrt_range r) {
    evrt_varint_put(out, r.first - *from);
    evrt_varint_put(out, r.count);
    *from = r.first + r.count;
}

int evrt_ranges_next(struct evrt_slice ranges, size_t *at, uint64_t *from, struct evrt_range *r) {
    struct evrt_varint_input in = {ranges, *at, 0};
    if (in.at == ranges.n) return 0;
    uint64_t gap = evrt_varint_get(&in);
    r->count = evrt_varint_get(&in);
    if (in.bad || r->count == 0 || __builtin_add_overflow(*from, gap, &r->first) ||
        __builtin_add_overflow(r->first, r->count, from))
        return -EBADMSG;
    *at = in.at;
    return 1;
}

void evrt_note_put(struct evrt_buf *out, const struct evrt_record_note *n) {
    evrt_varint_put(out, n->sub);
    evrt_varint_put(out, n->seq);
    evrt_varint_put(out, n->attempt);
    evrt_varint_put_slice(out, n->text);
}

int evrt_note_next(struct evrt_slice notes, size_t *at, struct evrt_record_note *n) {
    struct evrt_varint_input in = {notes, *at, 0};
    if (in.at == notes.n) return 0;
    n->sub = evrt_varint_get_u32(&in);
    n->seq = evrt_varint_get(&in);
    n->attempt = evrt_varint_get_u32(&in);
    n->text = evrt_varint_get_slice(&in);
    if (in.bad) return -EBADMSG;
    *at = in.at;
    return 1;
}

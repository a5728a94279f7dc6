/* See record.h. Integers are LEB128 varints, strings a varint length and bytes: records other than
 * events are rare and small, so compactness beats fixed offsets. */
#include "core/record.h"

#include <errno.h>

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

static void put_u64(struct evrt_buf *out, uint64_t v) {
    for (; v >= 0x80; v >>= 7)
        evrt_buf_putc(out, (char)(v | 0x80));
    evrt_buf_putc(out, (char)v);
}

static void put_slice(struct evrt_buf *out, struct evrt_slice s) {
    put_u64(out, s.n);
    evrt_buf_put(out, s.p, s.n);
}

/* A cursor over a payload; the first malformed read sticks in `bad`. */
struct input {
    struct evrt_slice s;
    size_t at;
    int bad;
};

static uint64_t get_u64(struct input *in) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (in->at >= in->s.n) break;
        uint64_t byte = (unsigned char)in->s.p[in->at++];
        if (shift == 63 && byte > 1) break;
        v |= (byte & 0x7f) << shift;
        if (byte < 0x80) return v;
    }
    in->bad = 1;
    return 0;
}

static uint32_t get_u32(struct input *in) {
    uint64_t v = get_u64(in);
    if (v > UINT32_MAX) in->bad = 1;
    return (uint32_t)v;
}

static struct evrt_slice get_slice(struct input *in) {
    uint64_t n = get_u64(in);
    if (in->bad || n > in->s.n - in->at) {
        in->bad = 1;
        return (struct evrt_slice){NULL, 0};
    }
    struct evrt_slice s = {in->s.p + in->at, (size_t)n};
    in->at += (size_t)n;
    return s;
}

static int finish(const struct input *in) {
    return in->bad || in->at != in->s.n ? -EBADMSG : 0;
}

void evrt_record_put_subscribe(struct evrt_buf *out, const struct evrt_record_subscribe *r) {
    put_u64(out, r->sub);
    put_slice(out, r->name);
    put_u64(out, r->from_seq);
    put_u64(out, (uint64_t)r->at_ms);
    put_slice(out, r->patterns);
}

int evrt_record_get_subscribe(struct evrt_slice s, struct evrt_record_subscribe *r) {
    struct input in = {s, 0, 0};
    r->sub = get_u32(&in);
    r->name = get_slice(&in);
    r->from_seq = get_u64(&in);
    r->at_ms = (int64_t)get_u64(&in);
    r->patterns = get_slice(&in);
    return finish(&in);
}

void evrt_record_put_sub(struct evrt_buf *out, const struct evrt_record_sub *r) {
    put_u64(out, r->sub);
    put_u64(out, (uint64_t)r->at_ms);
}

int evrt_record_get_sub(struct evrt_slice s, struct evrt_record_sub *r) {
    struct input in = {s, 0, 0};
    r->sub = get_u32(&in);
    r->at_ms = (int64_t)get_u64(&in);
    return finish(&in);
}

void evrt_record_put_settle(struct evrt_buf *out, const struct evrt_record_settle *r) {
    put_u64(out, r->sub);
    put_u64(out, r->cursor);
    put_u64(out, r->seen);
    put_u64(out, r->matched);
    put_u64(out, r->done);
    put_u64(out, r->dead_total);
    put_u64(out, r->discarded);
    put_slice(out, r->ranges);
    put_slice(out, r->dead);
    put_u64(out, r->retrying);
    put_slice(out, r->retries);
    put_slice(out, r->retried);
}

int evrt_record_get_settle(struct evrt_slice s, struct evrt_record_settle *r) {
    struct input in = {s, 0, 0};
    r->sub = get_u32(&in);
    r->cursor = get_u64(&in);
    r->seen = get_u64(&in);
    r->matched = get_u64(&in);
    r->done = get_u64(&in);
    r->dead_total = get_u64(&in);
    r->discarded = get_u64(&in);
    r->ranges = get_slice(&in);
    r->dead = get_slice(&in);
    r->retrying = get_u64(&in);
    r->retries = get_slice(&in);
    r->retried = get_slice(&in);
    return finish(&in);
}

void evrt_record_put_job(struct evrt_buf *out, const struct evrt_record_job *r) {
    put_u64(out, r->id);
    put_u64(out, r->state);
    put_slice(out, r->kind);
    put_slice(out, r->spec);
    put_u64(out, (uint64_t)r->created_ms);
    put_u64(out, (uint64_t)r->ended_ms);
    put_u64(out, r->cursor);
    put_u64(out, r->until);
    put_u64(out, r->total);
    put_u64(out, r->done);
    put_u64(out, r->failed);
    put_u64(out, r->skipped);
    put_u64(out, r->rate);
    put_u64(out, r->limit);
    put_slice(out, r->error);
    put_slice(out, r->ended);
}

int evrt_record_get_job(struct evrt_slice s, struct evrt_record_job *r) {
    struct input in = {s, 0, 0};
    r->id = get_u64(&in);
    uint64_t state = get_u64(&in);
    if (state >= EVRT_JOB_STATE_COUNT) in.bad = 1;
    r->state = (uint8_t)state;
    r->kind = get_slice(&in);
    r->spec = get_slice(&in);
    r->created_ms = (int64_t)get_u64(&in);
    r->ended_ms = (int64_t)get_u64(&in);
    r->cursor = get_u64(&in);
    r->until = get_u64(&in);
    r->total = get_u64(&in);
    r->done = get_u64(&in);
    r->failed = get_u64(&in);
    r->skipped = get_u64(&in);
    r->rate = get_u64(&in);
    r->limit = get_u64(&in);
    r->error = get_slice(&in);
    r->ended = get_slice(&in);
    return finish(&in);
}

void evrt_record_put_gap(struct evrt_buf *out, const struct evrt_record_gap *r) {
    put_u64(out, r->first_seq);
    put_u64(out, r->events);
    put_u64(out, r->first_group);
    put_u64(out, r->groups);
}

int evrt_record_get_gap(struct evrt_slice s, struct evrt_record_gap *r) {
    struct input in = {s, 0, 0};
    r->first_seq = get_u64(&in);
    r->events = get_u64(&in);
    r->first_group = get_u64(&in);
    r->groups = get_u64(&in);
    return finish(&in);
}

/* The operations have a form of their own, so they stand to the end. */
void evrt_record_put_kv(struct evrt_buf *out, const struct evrt_record_kv *r) {
    put_u64(out, (uint64_t)r->at_ms);
    evrt_buf_put(out, r->ops.p, r->ops.n);
}

int evrt_record_get_kv(struct evrt_slice s, struct evrt_record_kv *r) {
    struct input in = {s, 0, 0};
    r->at_ms = (int64_t)get_u64(&in);
    r->ops = (struct evrt_slice){s.p + in.at, s.n - in.at};
    return in.bad ? -EBADMSG : 0;
}

void evrt_record_put_sweep(struct evrt_buf *out, const struct evrt_record_sweep *r) {
    put_u64(out, (uint64_t)r->at_ms);
}

int evrt_record_get_sweep(struct evrt_slice s, struct evrt_record_sweep *r) {
    struct input in = {s, 0, 0};
    r->at_ms = (int64_t)get_u64(&in);
    return finish(&in);
}

void evrt_ranges_put(struct evrt_buf *out, uint64_t *from, struct evrt_range r) {
    put_u64(out, r.first - *from);
    put_u64(out, r.count);
    *from = r.first + r.count;
}

int evrt_ranges_next(struct evrt_slice ranges, size_t *at, uint64_t *from, struct evrt_range *r) {
    struct input in = {ranges, *at, 0};
    if (in.at == ranges.n) return 0;
    uint64_t gap = get_u64(&in);
    r->count = get_u64(&in);
    if (in.bad || r->count == 0 || __builtin_add_overflow(*from, gap, &r->first) ||
        __builtin_add_overflow(r->first, r->count, from))
        return -EBADMSG;
    *at = in.at;
    return 1;
}

void evrt_dead_put(struct evrt_buf *out, const struct evrt_record_dead *d) {
    put_u64(out, d->seq);
    put_u64(out, d->attempt);
    put_u64(out, (uint64_t)d->at_ms);
    put_slice(out, d->error_type);
    put_slice(out, d->message);
    put_slice(out, d->traceback);
}

int evrt_dead_next(struct evrt_slice dead, size_t *at, struct evrt_record_dead *d) {
    struct input in = {dead, *at, 0};
    if (in.at == dead.n) return 0;
    d->seq = get_u64(&in);
    d->attempt = get_u32(&in);
    d->at_ms = (int64_t)get_u64(&in);
    d->error_type = get_slice(&in);
    d->message = get_slice(&in);
    d->traceback = get_slice(&in);
    if (in.bad) return -EBADMSG;
    *at = in.at;
    return 1;
}

void evrt_note_put(struct evrt_buf *out, const struct evrt_record_note *n) {
    put_u64(out, n->sub);
    put_u64(out, n->seq);
    put_u64(out, n->attempt);
    put_slice(out, n->text);
}

int evrt_note_next(struct evrt_slice notes, size_t *at, struct evrt_record_note *n) {
    struct input in = {notes, *at, 0};
    if (in.at == notes.n) return 0;
    n->sub = get_u32(&in);
    n->seq = get_u64(&in);
    n->attempt = get_u32(&in);
    n->text = get_slice(&in);
    if (in.bad) return -EBADMSG;
    *at = in.at;
    return 1;
}

void evrt_retry_put(struct evrt_buf *out, const struct evrt_record_retry *r) {
    put_u64(out, r->seq);
    put_u64(out, r->attempt);
    put_u64(out, r->crashes);
    put_u64(out, (uint64_t)r->due_ms);
    put_u64(out, (uint64_t)r->delay_ms);
    put_u64(out, (uint64_t)r->first_failed_ms);
    put_u64(out, (uint64_t)r->last_failed_ms);
    put_u64(out, r->key);
    put_slice(out, r->error_type);
    put_slice(out, r->message);
}

int evrt_retry_next(struct evrt_slice retries, size_t *at, struct evrt_record_retry *r) {
    struct input in = {retries, *at, 0};
    if (in.at == retries.n) return 0;
    r->seq = get_u64(&in);
    r->attempt = get_u32(&in);
    r->crashes = get_u32(&in);
    r->due_ms = (int64_t)get_u64(&in);
    r->delay_ms = (int64_t)get_u64(&in);
    r->first_failed_ms = (int64_t)get_u64(&in);
    r->last_failed_ms = (int64_t)get_u64(&in);
    r->key = get_u64(&in);
    r->error_type = get_slice(&in);
    r->message = get_slice(&in);
    if (in.bad) return -EBADMSG;
    *at = in.at;
    return 1;
}

/* See kv.h: opening, the journal's records, what is over. */
#include "host/kv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/clock.h"
#include "core/event.h"
#include "core/jsonout.h"
#include "frame/values.h"
#include "host/node.h"
#include "state/reader.h"

enum {
    SWEEP_MS = 1000,      /* between two looks for expired keys */
    SWEEP_MOST = 20000,   /* that go at a time */
    KEPT_BYTES = 1 << 20, /* of a buffer that is empty */
    LATER_BYTES = 256,    /* that SCHEDULE has beside its event */
    TRACE_BYTES = 2 * (EVRT_ATTRIBUTE_MAX + EVRT_EXTENSION_NAME_MAX + 8), /* that a trace adds */
};

int host_kv_share(struct evrt_host *h) {
    struct host_kv *kv = &h->kv;
    if (kv->values == NULL &&
        evrt_values_create(&kv->values, h->config->kv.shared_cache, &kv->values_fd) < 0)
        return -1;
    return kv->values_fd;
}

int host_kv_open(struct evrt_host *h, struct evrt_error *err) {
    struct host_kv *kv = &h->kv;
    bool memory = strcmp(h->config->store.durability, "memory") == 0;
    (void)host_kv_share(h);
    struct evrt_overlay_options options = {h->config->kv.cache, memory, kv->values};
    kv->overlay = evrt_overlay_create(&options);
    kv->waiting_end = &kv->waiting;
    kv->asked_end = &kv->asked;
    struct evrt_state_stats state;
    evrt_state_stats(h->state, &state);
    kv->not_numbers = state.not_numbers; /* what a rebuild met was told before */
    if (memory) return 0;
    int rc = evrt_state_reader_open(&kv->here, h->config->store.path, err);
    return rc == 0 ? evrt_state_reader_open(&kv->beside, h->config->store.path, err) : rc;
}

void host_kv_close(struct evrt_host *h) {
    struct host_kv *kv = &h->kv;
    assert(kv->asked == NULL && !kv->reading);
    evrt_state_reader_close(kv->here);
    evrt_state_reader_close(kv->beside);
    evrt_overlay_destroy(kv->overlay);
    if (kv->values != NULL) close(kv->values_fd);
    evrt_values_close(kv->values);
    evrt_buf_finish(&kv->ops);
    evrt_buf_finish(&kv->emitted);
    evrt_buf_finish(&kv->scratch);
    kv->here = kv->beside = NULL;
    kv->overlay = NULL;
    kv->values = NULL;
}

int64_t evrt_host_kv_now(const struct evrt_host *h) {
    return evrt_ages_steady(&h->ages, evrt_mono_ns() / 1000000);
}

int64_t host_kv_now(struct evrt_host *h) {
    return h->kv.at_ms != 0 ? h->kv.at_ms : evrt_host_kv_now(h);
}

/* ---- Into the journal ---- */

/* Steps through what host_put_record put. */
static bool next(const struct evrt_buf *list, size_t *at, enum evrt_record_kind *kind,
                 struct evrt_slice *out) {
    if (*at == list->n) return false;
    *out = (struct evrt_slice){list->p + *at + 8, evrt_get_u32(list->p + *at)};
    *kind = evrt_get_u32(list->p + *at + 4);
    *at += 8 + out->n;
    return true;
}

static void append_event(struct evrt_host *h, struct evrt_slice event) {
    struct evrt_deliver when = {EVRT_SCHEDULE_NONE, 0, 0};
    struct evrt_event e;
    int rc = evrt_event_decode(event.p, event.n, &e);
    assert(rc == 0); /* encoded here, and looked at then */
    if (e.extensions.n != 0) rc = evrt_deliver_parse(e.extensions, evrt_wall_ms(), &when, NULL);
    assert(rc >= 0);
    host_publish_held(h, &e, &when);
}

static size_t record_bytes(const struct evrt_buf *list, uint32_t *count) {
    enum evrt_record_kind kind;
    struct evrt_slice one;
    size_t bytes = 0;
    for (size_t at = 0; next(list, &at, &kind, &one); (*count)++)
        bytes += evrt_journal_record_bytes(one.n);
    return bytes;
}

size_t host_kv_bytes(const struct evrt_host *h) {
    const struct host_kv *kv = &h->kv;
    size_t each = h->tracing != NULL ? TRACE_BYTES + LATER_BYTES : LATER_BYTES;
    return kv->emitted_bytes + kv->emitted_count * each +
           evrt_journal_record_bytes(kv->ops.n + LATER_BYTES);
}

static void empty(struct evrt_buf *b) {
    evrt_buf_clear(b);
    if (b->cap > KEPT_BYTES) evrt_buf_finish(b);
}

/* All of it fits into a group: effects (accept.c refuses more), what ended (host_ended settles),
 * one failure more, which came in a frame of its own and is cut (messages.c), and a range for each delivery of
 * each job that is in flight. */
enum {
    FAILURE_BYTES = 256 << 10,
    JOBS_BYTES = 64 * 4096 * 20, /* jobs.max, jobs.concurrency */
};
_Static_assert((int)HOST_KV_GROUP_BYTES + (int)HOST_SETTLE_BYTES + FAILURE_BYTES + JOBS_BYTES <=
                   (int)EVRT_JOURNAL_HOLD_BYTES,
               "what a turn settles fits into a group");
_Static_assert((int)EVRT_JOURNAL_HOLD_BYTES < HOST_SEGMENT_BYTES / 2, "and that into a segment");

void host_kv_settle(struct evrt_host *h, const struct evrt_buf *records) {
    struct host_kv *kv = &h->kv;
    struct evrt_record_kv record = {kv->at_ms, evrt_buf_slice(&kv->ops)};
    uint32_t count = kv->emitted_count + 1;
    size_t bytes = record_bytes(records, &count) + host_kv_bytes(h);
    evrt_record_put_kv(&kv->scratch, &record);
    int rc = evrt_journal_hold(h->journal, bytes, count);
    assert(rc == 0); /* by the bound above */
    enum evrt_record_kind kind;
    struct evrt_slice one;
    for (size_t at = 0; next(&kv->emitted, &at, &kind, &one);)
        append_event(h, one);
    host_append(h, EVRT_RECORD_KV, evrt_buf_slice(&kv->scratch));
    for (size_t at = 0; next(records, &at, &kind, &one);)
        host_append(h, kind, one);
    rc = evrt_journal_hold(h->journal, 0, 0); /* what is over is for nobody else */
    assert(rc == 0);
    evrt_overlay_seal(kv->overlay);
    if (kv->emitted_count > 0) h->eager = true;
    kv->at_ms = 0;
    kv->emitted_count = 0;
    kv->emitted_bytes = 0;
    empty(&kv->ops);
    empty(&kv->emitted);
    empty(&kv->scratch);
}

void host_kv_committed(struct evrt_host *h, uint64_t group) {
    evrt_overlay_committed(h->kv.overlay, group);
}

void host_kv_turn(struct evrt_host *h) {
    evrt_overlay_applied(h->kv.overlay, evrt_state_applied(h->state));
    if (h->kv.waiting != NULL) host_kv_admit(h);
    if (h->kv.asked != NULL) host_kv_ask_now(h);
}

/* ---- Expired keys ---- */

/* Until when they may go now; 0: there are none. A few thousand at a time: state.db is not held up, and others
 * come between. */
static int64_t expired_by(struct evrt_host *h, int64_t now) {
    struct host_kv *kv = &h->kv;
    struct evrt_error err;
    uint64_t applied;
    int64_t expired = 0;
    if (kv->here == NULL) return evrt_overlay_sweep(kv->overlay, now, SWEEP_MOST) > 0 ? now : 0;
    int rc = evrt_state_reader_begin(kv->here, &applied, &err);
    if (rc == 0) rc = evrt_state_reader_expired(kv->here, now, SWEEP_MOST, &expired, &err);
    evrt_state_reader_end(kv->here);
    host_kv_met(h, rc, &err);
    return rc < 0 ? 0 : expired;
}

/* Increments that were accepted without knowing what they are added to. */
static void tell_not_numbers(struct evrt_host *h) {
    struct evrt_state_stats s;
    evrt_state_stats(h->state, &s);
    uint64_t more = s.not_numbers - h->kv.not_numbers;
    if (more == 0) return;
    h->kv.not_numbers = s.not_numbers;
    h->kv.counts.not_numbers += more;
    evrt_log_event(h->log, NOT_A_NUMBER, EVRT_F_U64("count", more),
                   EVRT_F_CSTR("key", s.not_number));
}

void host_kv_keep(struct evrt_host *h) {
    struct host_kv *kv = &h->kv;
    int64_t now = evrt_mono_ns();
    if (now < kv->swept_ns + (int64_t)SWEEP_MS * 1000000) return;
    kv->swept_ns = now;
    tell_not_numbers(h);
    host_settle(h); /* what is accepted has its order */
    int64_t expired = expired_by(h, evrt_host_kv_now(h));
    if (expired == 0) return;
    evrt_buf_clear(&h->scratch);
    evrt_record_put_sweep(&h->scratch, &(struct evrt_record_sweep){expired});
    host_append(h, EVRT_RECORD_SWEEP, evrt_buf_slice(&h->scratch));
}

/* ---- Figures ---- */

void host_kv_stats(const struct evrt_host *h, struct evrt_jsonout *o) {
    const struct host_kv *kv = &h->kv;
    struct evrt_overlay_stats s;
    evrt_overlay_stats(kv->overlay, &s);
    const struct {
        const char *name;
        uint64_t value;
    } all[] = {{"effects", kv->counts.effects},       {"writes", kv->counts.writes},
               {"emitted", kv->counts.emitted},       {"conflicts", kv->counts.conflicts},
               {"refused", kv->counts.refused},       {"not_numbers", kv->counts.not_numbers},
               {"waits", kv->counts.waits},           {"reads", kv->counts.reads},
               {"reads_of_state", kv->counts.misses}, {"overlay_bytes", s.dirty_bytes},
               {"cache_bytes", s.cache_bytes},        {"entries", s.entries}};
    evrt_jsonout_key(o, "kv");
    evrt_jsonout_object(o);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        evrt_jsonout_put_u64(o, all[i].name, all[i].value);
    evrt_jsonout_end(o);
}

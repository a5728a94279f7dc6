/* Replay: stored events delivered once more to one handler, by an operator. A kind of job (host/jobs.h), so
 * beside the handler's window: no new sequence, no cursor moved, nothing counted as handled; live events
 * first. Its part is what is delivered:
 *
 *     pool: journal, filter, the handler's patterns ──▶ a block of events ─┐ one is read while
 *     loop: kind->more ◀── block, event by event, as there is room ◀───────┘ the other is delivered
 *
 * Each event is tried once: what fails is counted and told, and not tried again here, nor is it a dead letter
 * (what became of it when it was live stands). An event that the handler has not ended with will come to it
 * anyway, and is skipped. A dry run reads and counts. The loop's thread, but for read_block. */
#include "host/replay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/jsonout.h"
#include "core/pattern.h"
#include "host/filter.h"
#include "host/jobs.h"
#include "host/node.h"
#include "json/json.h"

enum {
    BLOCK_EVENTS = 2048,
    BLOCK_BYTES = 1 << 20,
    SCAN_EVENTS = 65536,  /* looked at by one read */
    OPEN_BYTES = 8 << 20, /* of events that are delivered and have not ended */
};

struct place {
    size_t at;
    uint32_t n;
};

struct block {
    struct evrt_buf bytes;
    struct place *events;
    size_t count, cap, at; /* delivered below */
};

struct replay {
    struct evrt_host *host;
    struct host_job *job; /* NULL: it has ended, and a read has not */
    uint32_t sub;
    bool dry_run;
    struct host_filter filter;
    struct block blocks[2];
    unsigned now;   /* the block to deliver from; the other is read into */
    uint64_t bytes; /* delivered, not ended */

    /* The read that is under way, or was last. */
    uv_work_t work;
    struct evrt_journal_reader *reader;
    struct evrt_pattern_set *patterns; /* the handler's, during a read */
    bool reading, sought;
    bool dense; /* what is missing between two sequences was dropped */
    bool read_all;
    uint64_t next, until; /* everything below next was looked at; until is the end */
    uint64_t left;        /* so many are still wanted */
    uint64_t counted;     /* dry run: by this read */
    uint64_t lost;        /* sequences that were dropped before they were read */
    int rc;
    struct evrt_error err;
};

static void free_replay(struct replay *r) {
    for (int i = 0; i < 2; i++) {
        evrt_buf_finish(&r->blocks[i].bytes);
        free(r->blocks[i].events);
    }
    evrt_journal_reader_close(r->reader);
    host_filter_finish(&r->filter);
    free(r);
}

/* ---- In the thread pool ---- */

static void keep(struct block *b, struct evrt_slice event) {
    b->events = evrt_grow(b->events, b->count, &b->cap, sizeof *b->events);
    b->events[b->count++] = (struct place){b->bytes.n, (uint32_t)event.n};
    evrt_buf_put(&b->bytes, event.p, event.n);
}

/* To `next`, or to the time asked for when that is later; the reader goes on by itself then. */
static int seek(struct replay *r) {
    struct evrt_journal_record first;
    int rc = evrt_journal_seek_seq(r->reader, r->next, &r->err);
    if (rc < 0 || r->filter.from_ms == 0) return rc;
    rc = evrt_journal_read(r->reader, &first, &r->err);
    if (rc == 1 && first.time_ms < r->filter.from_ms)
        return evrt_journal_seek_time(r->reader, r->filter.from_ms, &r->err);
    return rc < 0 ? rc : evrt_journal_seek_seq(r->reader, r->next, &r->err);
}

/* Returns whether it is one of those below the end. */
static bool look(struct replay *r, struct block *b, struct evrt_slice payload) {
    struct evrt_event e;
    if (evrt_event_decode(payload.p, payload.n, &e) < 0 || e.seq < r->next) return true;
    if (e.seq >= r->until || (r->filter.to_ms != 0 && e.stored_ms >= r->filter.to_ms)) return false;
    if (r->dense && e.seq > r->next) r->lost += e.seq - r->next;
    r->dense = true;
    r->next = e.seq + 1;
    if (!host_filter_wants(&r->filter, &e) || !evrt_pattern_set_match(r->patterns, e.type))
        return true;
    if (r->dry_run)
        r->counted++;
    else
        keep(b, payload);
    return --r->left > 0;
}

static void read_block(uv_work_t *work) {
    struct replay *r = work->data;
    struct block *b = &r->blocks[r->now ^ 1];
    struct evrt_journal_record record;
    size_t looked_at = 0;
    int rc = r->sought ? 0 : seek(r);
    r->sought = true;
    while (rc == 0 && b->count < BLOCK_EVENTS && b->bytes.n < BLOCK_BYTES &&
           looked_at < SCAN_EVENTS) {
        rc = evrt_journal_read(r->reader, &record, &r->err);
        if (rc < 0) break;
        r->read_all = rc == 0; /* all is committed that was to be read */
        rc = 0;
        if (r->read_all) break;
        if (record.kind != EVRT_RECORD_EVENT) continue;
        r->read_all = !look(r, b, record.payload);
        if (r->read_all) break;
        looked_at++;
    }
    if (rc == -ENOENT) r->read_all = true;
    r->rc = rc < 0 && rc != -ENOENT ? rc : 0;
}

/* ---- On the loop ---- */

static void on_read(uv_work_t *work, int status) {
    struct replay *r = work->data;
    struct evrt_host *h = r->host;
    struct host_job *j = r->job;
    h->reads--;
    r->reading = false;
    evrt_pattern_set_unref(r->patterns);
    if (status < 0) r->rc = evrt_error_set(&r->err, status, "%s", uv_strerror(status));
    if (j == NULL) {
        free_replay(r);
    } else if (r->rc < 0) {
        evrt_log_event(h->log, JOURNAL_UNREADABLE, EVRT_F_CSTR("error", r->err.message));
        host_job_fail(j, r->err.message);
    } else {
        j->r.skipped += r->counted + r->lost;
        r->counted = r->lost = 0;
        if (r->dry_run) host_job_passed(j, r->next);
        host_job_more(j);
    }
    host_progress(h);
}

static void start_read(struct replay *r, const struct evrt_sub *s) {
    struct evrt_host *h = r->host;
    struct block *b = &r->blocks[r->now ^ 1];
    evrt_buf_clear(&b->bytes);
    b->count = b->at = 0;
    r->patterns = evrt_pattern_set_ref(s->epochs[s->epoch_count - 1].patterns);
    r->reading = true;
    h->reads++;
    int rc = uv_queue_work(h->loop, &r->work, read_block, on_read);
    if (rc < 0) on_read(&r->work, rc);
}

/* Not ended for the handler: it gets it anyway, or it is there now. */
static bool is_pending(const struct replay *r, const struct evrt_sub *s, struct evrt_slice event) {
    uint64_t seq = evrt_event_seq(event.p), next = evrt_bus_next_seq(r->host->bus);
    if (seq < evrt_sub_cursor(s, next) || seq < s->from_seq) return false;
    return evrt_sub_matched(s, seq, evrt_event_field(event.p, EVRT_FIELD_TYPE)) &&
           evrt_sub_where(s, seq, next) != EVRT_SUB_ENDED;
}

static void deliver(struct replay *r, struct evrt_sub *s, struct evrt_slice event) {
    struct host_job *j = r->job;
    uint64_t seq = evrt_event_seq(event.p);
    if (host_job_has_ended(j, seq)) return; /* before a restart */
    if (is_pending(r, s, event)) {
        j->r.skipped++;
        host_job_skip(j, seq);
        return;
    }
    r->bytes += event.n;
    host_job_deliver(j, s, seq, 1, event);
}

static void deliver_block(struct replay *r, struct evrt_sub *s) {
    struct block *b = &r->blocks[r->now];
    while (b->at < b->count && host_job_room(r->job) > 0 && r->bytes < OPEN_BYTES) {
        const struct place *p = &b->events[b->at++];
        deliver(r, s, (struct evrt_slice){b->bytes.p + p->at, p->n});
    }
}

static bool is_empty(const struct block *b) {
    return b->at == b->count;
}

static void more(struct host_job *j) {
    struct replay *r = j->own;
    struct evrt_sub *s = evrt_bus_by_id(r->host->bus, r->sub);
    if (s == NULL || !s->active) {
        host_job_fail(j, s == NULL ? "the handler was forgotten"
                                   : "the handler is not in the scripts any more");
        return;
    }
    deliver_block(r, s);
    if (is_empty(&r->blocks[r->now]) && !r->reading) {
        r->now ^= 1;
        deliver_block(r, s);
    }
    if (!r->reading && !r->read_all && is_empty(&r->blocks[r->now ^ 1])) start_read(r, s);
    if (r->reading || !r->read_all || !is_empty(&r->blocks[0]) || !is_empty(&r->blocks[1])) return;
    host_job_passed(j, r->left == 0 ? r->next : r->until);
    j->exhausted = true;
}

static void note_failure(struct host_job *j, uint64_t key, const struct host_job_end *end) {
    char seq[24];
    snprintf(seq, sizeof seq, "%llu", (unsigned long long)key);
    host_job_note_failure(j, "seq", evrt_slice_of(seq), end->error_type, end->message);
}

static void ended(struct host_job *j, uint64_t key, const struct host_job_end *end) {
    struct replay *r = j->own;
    if (r != NULL) r->bytes -= end->delivery->n;
    host_meter_replayed(j->host, evrt_delivery_names(end->delivery).type,
                        end->done ? (struct evrt_slice){NULL, 0} : end->error_type,
                        evrt_mono_ns() - end->delivery->sent_ns);
    if (end->done) {
        j->r.done++;
        return;
    }
    j->r.failed++;
    note_failure(j, key, end);
}

/* ---- What it was asked for: a JSON object, as journaled and told ---- */

static bool is_dry(const struct evrt_record_job *r) {
    return evrt_slice_eq(evrt_json_at(r->spec, EVRT_STR("dry_run")), EVRT_STR("true"));
}

static int read_filter(struct replay *r, const struct host_job *j) {
    struct evrt_buf type, source, subject;
    evrt_buf_init(&type);
    evrt_buf_init(&source);
    evrt_buf_init(&subject);
    const struct evrt_host_filter want = {
        .type = host_job_text(j, "type", &type),
        .source = host_job_text(j, "source", &source),
        .subject = host_job_text(j, "subject", &subject),
        .from_ms = (int64_t)host_job_number(j, "from_ms"),
        .to_ms = (int64_t)host_job_number(j, "to_ms"),
    };
    int rc = host_filter_init(&r->filter, &want);
    evrt_buf_finish(&type);
    evrt_buf_finish(&source);
    evrt_buf_finish(&subject);
    return rc;
}

/* How many count towards the limit, and are not read again: what ended above the cursor is. */
static uint64_t gone_below(const struct host_job *j) {
    uint64_t gone = j->r.done + j->r.failed + j->r.skipped, again = 0;
    for (size_t i = 0; i < j->before_count; i++)
        again += j->before[i].count;
    return gone > again ? gone - again : 0;
}

static int start(struct host_job *j, struct evrt_error *err) {
    struct evrt_host *h = j->host;
    struct replay *r = evrt_zalloc(sizeof *r);
    struct evrt_buf name;
    uint64_t limit = host_job_number(j, "limit"), gone = gone_below(j);
    *r = (struct replay){.host = h, .job = j, .dry_run = is_dry(&j->r)};
    evrt_buf_init(&name);
    const struct evrt_sub *s = evrt_bus_find(h->bus, host_job_text(j, "handler", &name));
    evrt_buf_finish(&name);
    int rc = s == NULL ? evrt_error_set(err, -ENOENT, "the handler is no more") : 0;
    if (rc == 0 && read_filter(r, j) < 0)
        rc = evrt_error_set(err, -EINVAL, "type: expected a pattern as handlers have it");
    if (rc == 0 && (rc = evrt_journal_reader_open(&r->reader, h->journal)) < 0)
        evrt_error_set(err, rc, "cannot read the journal: %s", uv_strerror(rc));
    if (rc < 0) {
        free_replay(r);
        return rc;
    }
    r->sub = s->id;
    r->work.data = r;
    if (j->fresh) {
        j->r.cursor = j->passed = host_job_number(j, "from_seq");
        j->r.until = host_job_number(j, "to_seq") + 1;
    }
    r->next = j->r.cursor;
    r->until = j->r.until;
    r->dense = r->filter.from_ms == 0;
    r->left = limit == 0 ? UINT64_MAX : limit > gone ? limit - gone : 0;
    r->read_all = r->left == 0 || r->next >= r->until;
    j->own = r;
    return 0;
}

static void stop(struct host_job *j) {
    struct replay *r = j->own;
    if (r == NULL) return;
    r->job = NULL;
    if (!r->reading) free_replay(r);
}

/* ---- Telling ---- */

static void describe(const struct host_job *j, struct evrt_jsonout *o) {
    evrt_jsonout_put_u64(o, "replayed_count", j->r.done);
    evrt_jsonout_put_u64(o, "failed_count", j->r.failed);
    evrt_jsonout_put_u64(o, "skipped_count", j->r.skipped);
    evrt_jsonout_put_bool(o, "dry_run", is_dry(&j->r));
    evrt_jsonout_put_raw(o, "handler", evrt_json_at(j->r.spec, EVRT_STR("handler")));
    evrt_jsonout_put_u64(o, "from_seq", host_job_number(j, "from_seq"));
    evrt_jsonout_put_u64(o, "to_seq", j->r.until - 1);
    evrt_jsonout_put_u64(o, "next_seq", j->r.cursor);
}

static void log_ended(const struct host_job *j, struct evrt_slice handler) {
    const struct evrt_record_job *r = &j->r;
    struct evrt_log *log = j->host->log;
    int64_t ns = (r->ended_ms - r->created_ms) * INT64_C(1000000);
    struct evrt_slice why = r->error;
    if (r->state == EVRT_JOB_CANCELLED) why = EVRT_STR("cancelled by an operator");
    if (r->state == EVRT_JOB_DONE && r->failed == 0)
        evrt_log_event(log, REPLAY_DONE, EVRT_F_U64("replay", r->id),
                       EVRT_F_STR("handler", handler), EVRT_F_U64("replayed", r->done),
                       EVRT_F_U64("failed", r->failed), EVRT_F_U64("skipped", r->skipped),
                       EVRT_F_DURATION("duration", ns));
    else if (r->state == EVRT_JOB_DONE)
        evrt_log_event(log, REPLAY_FAILURES, EVRT_F_U64("replay", r->id),
                       EVRT_F_STR("handler", handler), EVRT_F_U64("replayed", r->done),
                       EVRT_F_U64("failed", r->failed), EVRT_F_U64("skipped", r->skipped),
                       EVRT_F_DURATION("duration", ns));
    else
        evrt_log_event(log, REPLAY_FAILED, EVRT_F_U64("replay", r->id),
                       EVRT_F_STR("handler", handler), EVRT_F_U64("replayed", r->done),
                       EVRT_F_U64("failed", r->failed), EVRT_F_U64("skipped", r->skipped),
                       EVRT_F_DURATION("duration", ns), EVRT_F_STR("error", why));
}

static void log_job(const struct host_job *j) {
    struct evrt_buf name;
    evrt_buf_init(&name);
    (void)host_job_text(j, "handler", &name);
    if (j->r.state != EVRT_JOB_RUNNING)
        log_ended(j, evrt_buf_slice(&name));
    else
        evrt_log_event(j->host->log, REPLAY_STARTED, EVRT_F_U64("replay", j->r.id),
                       EVRT_F_STR("handler", evrt_buf_slice(&name)),
                       EVRT_F_U64("from_seq", j->r.cursor), EVRT_F_U64("to_seq", j->r.until - 1),
                       EVRT_F_BOOL("dry_run", is_dry(&j->r)), EVRT_F_BOOL("resumed", !j->fresh));
    evrt_buf_finish(&name);
}

static uint64_t most(const struct evrt_config *config) {
    return config->jobs.replay_concurrency;
}

const struct host_job_kind host_replay_kind = {
    .name = "replay",
    .purpose = EVRT_PURPOSE_REPLAY,
    .most = most,
    .start = start,
    .more = more,
    .ended = ended,
    .stop = stop,
    .describe = describe,
    .log = log_job,
};

uint64_t host_replays_pin(const struct evrt_host *h) {
    return host_jobs_cursor(h, &host_replay_kind);
}

/* ---- Beginning ---- */

static void write_spec(const struct evrt_host_replay *want, uint64_t from, uint64_t until,
                       struct evrt_buf *out) {
    struct evrt_jsonout o = evrt_jsonout_start(out);
    evrt_jsonout_object(&o);
    evrt_jsonout_put_given_str(&o, "handler", want->handler);
    evrt_jsonout_put_given_str(&o, "type", want->filter.type);
    evrt_jsonout_put_given_str(&o, "source", want->filter.source);
    evrt_jsonout_put_given_str(&o, "subject", want->filter.subject);
    evrt_jsonout_put_given_u64(&o, "from_ms", (uint64_t)want->filter.from_ms);
    evrt_jsonout_put_given_u64(&o, "to_ms", (uint64_t)want->filter.to_ms);
    evrt_jsonout_put_u64(&o, "from_seq", from);
    evrt_jsonout_put_u64(&o, "to_seq", until - 1);
    evrt_jsonout_put_given_u64(&o, "limit", want->limit);
    evrt_jsonout_put_bool(&o, "dry_run", want->dry_run);
    evrt_jsonout_end(&o);
}

static int check(struct evrt_host *h, const struct evrt_host_replay *want, struct evrt_error *err) {
    struct host_filter filter;
    if (h->phase != HOST_SERVING)
        return evrt_error_set(err, -ESHUTDOWN, "the node is starting or shutting down");
    const struct evrt_sub *s = evrt_bus_find(h->bus, want->handler);
    if (s == NULL || !s->active)
        return evrt_error_set(err, -ENOENT,
                              s == NULL ? "no handler named \"%.*s\""
                                        : "handler \"%.*s\" is not in the scripts any more",
                              (int)want->handler.n, want->handler.p);
    int rc = host_filter_init(&filter, &want->filter);
    host_filter_finish(&filter);
    return rc == 0
               ? 0
               : evrt_error_set(err, -EINVAL,
                                "type: expected a pattern as handlers have it, as in comment.*");
}

int evrt_host_replay(struct evrt_host *h, const struct evrt_host_replay *want, uint64_t *id,
                     struct evrt_error *err) {
    struct evrt_journal_stats stats;
    struct evrt_buf spec;
    int rc = check(h, want, err);
    if (rc < 0) return rc;
    evrt_journal_stats(h->journal, &stats);
    uint64_t next = evrt_bus_next_seq(h->bus), first = stats.first_seq == 0 ? 1 : stats.first_seq;
    uint64_t from = want->from_seq > first ? want->from_seq : first;
    uint64_t until = want->to_seq != 0 && want->to_seq < next ? want->to_seq + 1 : next;
    evrt_buf_init(&spec);
    write_spec(want, from, until < from ? from : until, &spec);
    const struct host_job *j =
        host_job_begin(h, &host_replay_kind, evrt_buf_slice(&spec), want->rate, 0, err);
    evrt_buf_finish(&spec);
    if (j == NULL) return err->code;
    *id = j->r.id;
    return 0;
}

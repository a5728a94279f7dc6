/* The owner's side of the journal. See journal.h, and internal.h for who shares what. */
#include "journal/journal.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/units.h"
#include "journal/internal.h"

static const uint64_t default_segment = 64 << 20;
static const uint64_t default_group_bytes = 4 << 20;
static const uint64_t default_backlog = 16 << 20;
static const uint64_t default_reserve = 8 << 20;
enum { DEFAULT_GROUP_RECORDS = 65536, SEGMENT_MIN = 16 << 10 };

/* ---- Opening and closing ---- */

static void set_defaults(struct evrt_journal_options *o) {
    if (o->segment_size == 0) o->segment_size = default_segment;
    if (o->segment_size < SEGMENT_MIN) o->segment_size = SEGMENT_MIN;
    o->segment_size = EVRT_ALIGN(o->segment_size, EVRT_SEGMENT_PAGE);
    if (o->group_bytes == 0) o->group_bytes = default_group_bytes;
    if (o->group_records == 0) o->group_records = DEFAULT_GROUP_RECORDS;
    if (o->backlog_bytes == 0) o->backlog_bytes = default_backlog;
    if (o->reserve == 0) o->reserve = default_reserve;
    if (o->reserve > o->segment_size) o->reserve = o->segment_size;
    if (o->reserve < SEGMENT_MIN) o->reserve = SEGMENT_MIN;
    o->reserve = EVRT_ALIGN(o->reserve, EVRT_SEGMENT_PAGE);
}

static struct evrt_journal *create(const struct evrt_journal_options *options) {
    struct evrt_journal *j = evrt_zalloc(sizeof *j);
    j->options = *options;
    set_defaults(&j->options);
    uint64_t room = j->options.segment_size - EVRT_SEGMENT_PAGE - EVRT_SEAL_BYTES - EVRT_GROUP_HEAD;
    j->group_max = room < INT32_MAX ? room : INT32_MAX;
    if (j->options.group_bytes > j->group_max) j->options.group_bytes = j->group_max;
    j->folder = (struct evrt_folder){.store = -1, .journal = -1, .lock = -1};
    j->fd = -1;
    j->spare = (struct evrt_spare){"spare", j->options.segment_size, -1};
    j->reserve = (struct evrt_spare){"reserve", j->options.reserve, -1};
    j->done_end = &j->done;
    evrt_batch_pool_init(&j->pool);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->work, &attr);
    pthread_cond_init(&j->chores, &attr);
    pthread_condattr_destroy(&attr);
    return j;
}

/* The process's signals are for the owner's thread. */
static int start_threads(struct evrt_journal *j, struct evrt_error *err) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&j->writer, NULL, evrt_journal_writer, j);
    j->has_writer = rc == 0;
    if (rc == 0 && evrt_journal_on_disk(j)) {
        rc = pthread_create(&j->keeper, NULL, evrt_journal_keeper, j);
        j->has_keeper = rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) return 0;
    return evrt_error_set(err, -rc, "cannot start the journal's threads: %s", strerror(rc));
}

int evrt_journal_open(struct evrt_journal **out, const struct evrt_journal_options *options,
                      struct evrt_journal_recovery *report, struct evrt_error *err) {
    struct evrt_journal_recovery ignored;
    struct evrt_journal *j = create(options);
    bool disk = evrt_journal_on_disk(j);
    int rc = disk ? evrt_folder_open(&j->folder, options->path, true, err) : 0;
    if (rc == 0) rc = evrt_journal_recover(j, report != NULL ? report : &ignored, err);
    if (rc == 0) {
        j->next_seq = j->durable_seq;
        if (disk) evrt_keeper_adopt(j);
        evrt_journal_gauge(j);
        rc = start_threads(j, err);
    }
    if (rc < 0) {
        evrt_journal_close(j);
        return rc;
    }
    *out = j;
    return 0;
}

static void stop_thread(struct evrt_journal *j, bool has, pthread_t thread, bool *flag,
                        pthread_cond_t *c) {
    pthread_mutex_lock(&j->lock);
    *flag = true;
    pthread_cond_broadcast(c);
    pthread_mutex_unlock(&j->lock);
    if (has) pthread_join(thread, NULL);
}

static void unref_all(struct evrt_batch *b) {
    for (struct evrt_batch *next; b != NULL; b = next) {
        next = b->next;
        evrt_batch_unref(b);
    }
}

void evrt_journal_close(struct evrt_journal *j) {
    if (j == NULL) return;
    /* The keeper last: the writer may need a file from it to write what is queued. */
    stop_thread(j, j->has_writer, j->writer, &j->stop, &j->work);
    stop_thread(j, j->has_keeper, j->keeper, &j->keeper_stop, &j->chores);
    if (j->open != NULL) evrt_batch_unref(j->open);
    unref_all(j->queue);
    unref_all(j->done);
    unref_all(j->taken);
    evrt_batch_pool_finish(&j->pool);
    if (j->fd >= 0 && evrt_journal_on_disk(j)) close(j->fd);
    if (j->spare.fd >= 0) close(j->spare.fd);
    if (j->reserve.fd >= 0) close(j->reserve.fd);
    evrt_segments_finish(&j->segments);
    evrt_segments_finish(&j->doomed);
    evrt_folder_close(&j->folder);
    pthread_cond_destroy(&j->work);
    pthread_cond_destroy(&j->chores);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

/* ---- Appending ---- */

static uint64_t backlog(const struct evrt_journal *j) {
    /* In this order: what was committed had been appended before. */
    uint64_t committed = atomic_load_explicit(&j->committed, memory_order_acquire);
    return atomic_load_explicit(&j->appended, memory_order_relaxed) - committed;
}

/* The segment being written may be filled to its end, but no further one be begun. */
static bool fits_max_size(struct evrt_journal *j, uint64_t bytes) {
    uint64_t slack = EVRT_SEAL_BYTES + EVRT_SEGMENT_PAGE; /* also for the headers of groups */
    pthread_mutex_lock(&j->lock);
    const struct evrt_segment *s = evrt_segments_last(&j->segments);
    bool fits = s->end + backlog(j) + bytes + slack <= s->size;
    if (!fits) j->refused = true;
    pthread_mutex_unlock(&j->lock);
    return fits;
}

/* Why an event of that many bytes cannot be taken now; 0 when it can. */
static int refuse_event(struct evrt_journal *j, uint64_t bytes) {
    unsigned gate = atomic_load_explicit(&j->gate, memory_order_relaxed);
    if ((gate & EVRT_GATE_DISK) != 0) return -ENOSPC;
    if ((gate & EVRT_GATE_MAX_SIZE) != 0 && !fits_max_size(j, bytes)) return -ENOSPC;
    return backlog(j) + bytes > j->options.backlog_bytes ? -EAGAIN : 0;
}

static bool group_is_full(const struct evrt_journal *j, const struct evrt_batch *b, uint64_t bytes,
                          uint32_t records, uint32_t spans) {
    return b->bytes + bytes > j->options.group_bytes ||
           b->records + records > j->options.group_records ||
           b->span_count + spans > EVRT_BATCH_SPANS_MAX;
}

size_t evrt_journal_record_bytes(size_t payload) {
    return evrt_record_bytes(payload);
}

int evrt_journal_refuses(struct evrt_journal *j, size_t bytes) {
    return refuse_event(j, bytes);
}

/* A chunk is left for the next when a record does not fit, so two neighbours are more than one full. */
_Static_assert(EVRT_JOURNAL_HOLD_BYTES / (EVRT_CHUNK_BYTES / 2) + 2 <= EVRT_BATCH_SPANS_MAX,
               "they have spans enough");

int evrt_journal_hold(struct evrt_journal *j, size_t bytes, uint32_t records) {
    uint64_t spans = bytes / (EVRT_CHUNK_BYTES / 2) + 2;
    if (bytes > j->group_max || spans > EVRT_BATCH_SPANS_MAX) return -EMSGSIZE;
    if (j->open != NULL && group_is_full(j, j->open, bytes, records, (uint32_t)spans))
        (void)evrt_journal_submit(j, false);
    j->held = bytes;
    return 0;
}

void *evrt_journal_append(struct evrt_journal *j, enum evrt_record_kind kind, size_t n, int *rc) {
    assert(kind != EVRT_RECORD_EVENT || n >= EVRT_EVENT_HEADER);
    *rc = 0;
    if (n > j->group_max - EVRT_RECORD_HEAD) {
        *rc = -EMSGSIZE;
        return NULL;
    }
    uint64_t bytes = evrt_record_bytes(n);
    bool held = bytes <= j->held;
    j->held = held ? j->held - bytes : 0;
    if (!held && kind == EVRT_RECORD_EVENT && (*rc = refuse_event(j, bytes)) < 0) return NULL;
    if (!held && j->open != NULL && group_is_full(j, j->open, bytes, 1, 1))
        (void)evrt_journal_submit(j, false);
    if (j->open == NULL) j->open = evrt_batch_create(&j->pool, j->next_seq);
    /* The owner is the only one to add. */
    uint64_t appended = atomic_load_explicit(&j->appended, memory_order_relaxed) + bytes;
    atomic_store_explicit(&j->appended, appended, memory_order_relaxed);
    j->next_seq += kind == EVRT_RECORD_EVENT;
    return evrt_batch_add(j->open, kind, (uint32_t)n);
}

uint64_t evrt_journal_next_seq(const struct evrt_journal *j) {
    return j->next_seq;
}

/* With the lock held: to the end of the last batch that waits, when one group can hold both. */
static void enqueue(struct evrt_journal *j, struct evrt_batch *b) {
    struct evrt_batch *last = j->queue_last;
    if (j->queue == NULL)
        j->queue = b;
    else if (group_is_full(j, last, b->bytes, b->records, b->span_count))
        last->next = b;
    else {
        evrt_batch_join(last, b);
        return;
    }
    j->queue_last = b;
}

bool evrt_journal_submit(struct evrt_journal *j, bool here) {
    struct evrt_batch *b = j->open;
    if (b == NULL) return false;
    j->open = NULL;
    evrt_batch_stamp(b, evrt_wall_ms());
    pthread_mutex_lock(&j->lock);
    enqueue(j, b);
    bool committed = here && evrt_journal_commit_here(j);
    bool wake = !committed && j->idle;
    pthread_mutex_unlock(&j->lock);
    if (wake) pthread_cond_signal(&j->work);
    return committed;
}

struct evrt_batch *evrt_journal_take(struct evrt_journal *j) {
    if (j->taken == NULL) {
        pthread_mutex_lock(&j->lock);
        j->taken = j->done;
        j->done = NULL;
        j->done_end = &j->done;
        j->notified = false;
        pthread_mutex_unlock(&j->lock);
    }
    struct evrt_batch *b = j->taken;
    if (b == NULL) return NULL;
    j->taken = b->next;
    b->next = NULL;
    return b;
}

/* ---- Space and figures ---- */

static bool over_max_size(const struct evrt_journal *j) {
    uint64_t max = j->options.max_size;
    return max > 0 && j->segments.bytes + j->options.segment_size > max;
}

void evrt_journal_gauge(struct evrt_journal *j) {
    if (over_max_size(j)) {
        atomic_fetch_or(&j->gate, EVRT_GATE_MAX_SIZE);
    } else {
        atomic_fetch_and(&j->gate, ~(unsigned)EVRT_GATE_MAX_SIZE);
        j->refused = false;
    }
}

int evrt_journal_drop(struct evrt_journal *j, uint64_t below_group, int64_t before_ms) {
    int dropped = 0;
    pthread_mutex_lock(&j->lock);
    while (j->segments.n > 1) {
        const struct evrt_segment *s = j->segments.list[0];
        if (j->segments.list[1]->first_group > below_group) break;
        if (s->ended_ms >= before_ms && !over_max_size(j)) break;
        evrt_segments_push(&j->doomed, evrt_segments_shift(&j->segments));
        dropped++;
    }
    evrt_journal_gauge(j);
    if (!j->has_keeper) evrt_segments_finish(&j->doomed);
    if (dropped > 0) pthread_cond_signal(&j->chores);
    pthread_mutex_unlock(&j->lock);
    return dropped;
}

/* With the lock held. */
static void say_space(const struct evrt_journal *j, struct evrt_journal_stats *out) {
    unsigned gate = atomic_load(&j->gate);
    char held[EVRT_UNITS_SIZE], max[EVRT_UNITS_SIZE];
    out->space = 0;
    out->space_reason[0] = '\0';
    if ((gate & EVRT_GATE_DISK) != 0) {
        out->space = -ENOSPC;
        snprintf(out->space_reason, sizeof out->space_reason, "%s", j->disk_reason);
    } else if ((gate & EVRT_GATE_MAX_SIZE) != 0 && j->refused) {
        out->space = -ENOSPC;
        snprintf(out->space_reason, sizeof out->space_reason,
                 "the journal holds %s of store.max_size %s and no segment can go yet",
                 evrt_size_format(j->segments.bytes, held),
                 evrt_size_format(j->options.max_size, max));
    }
}

void evrt_journal_stats(struct evrt_journal *j, struct evrt_journal_stats *out) {
    pthread_mutex_lock(&j->lock);
    *out = j->figures;
    out->first_seq = j->segments.list[0]->first_seq;
    out->first_group = j->segments.list[0]->first_group;
    out->next_seq = j->durable_seq;
    out->last_group = j->durable_group;
    out->segments = j->segments.n;
    out->bytes = j->segments.bytes;
    out->backlog_bytes = backlog(j);
    say_space(j, out);
    pthread_mutex_unlock(&j->lock);
}

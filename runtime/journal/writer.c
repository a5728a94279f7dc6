/* The writer thread: one group after the other, each durable before the next is written.
 *
 * The queue's first batch is the next group: batches that were submitted while a commit ran were
 * joined as far as the caps of a group allow (journal.c), so a group is one gathered write.
 *
 * RWF_DSYNC does the write and what fdatasync does in one call. Segments are zero-filled ahead, so a
 * commit changes no metadata; runtime/README.md has the measurements. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/error.h"
#include "journal/file.h"
#include "journal/internal.h"

enum { PACE_NS = 250000, PACE_EVENTS = 64, PACE_BYTES = 64 << 10 };

void evrt_journal_wait_until(struct evrt_journal *j, pthread_cond_t *c, int64_t mono_ns) {
    struct timespec at = {mono_ns / 1000000000, mono_ns % 1000000000};
    pthread_cond_timedwait(c, &j->lock, &at);
}

void evrt_journal_fatal(struct evrt_journal *j, int rc, const char *fmt, ...) {
    if ((atomic_fetch_or(&j->gate, EVRT_GATE_FATAL) & EVRT_GATE_FATAL) != 0) return;
    struct evrt_error err;
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    evrt_error_set(&err, rc, "%s: %s; nothing after it is committed", what, strerror(-rc));
    if (j->options.on_fatal != NULL) j->options.on_fatal(j->options.arg, &err);
}

/* Several publishers at once: the last group or the next has more than one event. Then a commit begins at
 * most each PACE_NS: at 10,000 events/s that is half the commits, wake-ups and CPU for some 0.1 ms. One
 * publisher that waits for each ack never waits here, nor does a group that is worth its commit. */
static bool must_gather(const struct evrt_journal *j, const struct evrt_batch *b) {
    bool crowd = j->last_events > 1 || (b != NULL && b->events > 1);
    bool worth =
        b != NULL && (b->events >= PACE_EVENTS || b->bytes >= PACE_BYTES || b->next != NULL);
    return crowd && !worth && !j->stop && evrt_mono_ns() < j->last_begin + PACE_NS;
}

/* With the lock held. */
static struct evrt_batch *pop(struct evrt_journal *j) {
    struct evrt_batch *b = j->queue;
    j->queue = b->next;
    b->next = NULL;
    return b;
}

/* With the lock held. NULL: stop. */
static struct evrt_batch *next_batch(struct evrt_journal *j) {
    for (;;) {
        struct evrt_batch *b = j->queue;
        if ((atomic_load(&j->gate) & EVRT_GATE_FATAL) != 0) return NULL;
        if (must_gather(j, b)) { /* not idle: nobody need wake it */
            evrt_journal_wait_until(j, &j->work, j->last_begin + PACE_NS);
            continue;
        }
        if (b != NULL) return pop(j);
        if (j->stop) return NULL;
        j->idle = true;
        pthread_cond_wait(&j->work, &j->lock);
        j->idle = false;
    }
}

/* Writes one group behind the last one. iov[0] is for the header, and there is room for one more behind
 * the last. Zeros follow to the end of the page: the segment was filled past the page cache, and a write
 * that covers a page only in part would have to read the rest of it first. */
static int write_group(struct evrt_journal *j, struct iovec *iov, size_t count,
                       struct evrt_group *g) {
    static const char zeros[EVRT_FILE_PAGE];
    char head[EVRT_GROUP_HEAD];
    bool dsync = j->options.durability == EVRT_DURABILITY_FSYNC;
    g->number = j->durable_group + 1;
    g->time_ms = evrt_wall_ms();
    evrt_group_put(head, iov, count, g, j->active->salt);
    size_t bytes = EVRT_GROUP_HEAD + (size_t)g->length;
    uint64_t end = j->active->end + bytes, page = EVRT_ALIGN(end, EVRT_FILE_PAGE);
    if (page > j->active->size) page = j->active->size;
    iov[count] = (struct iovec){(void *)(uintptr_t)zeros, (size_t)(page - end)};
    return evrt_file_writev(j->fd, iov, count + 1, bytes + (size_t)(page - end), j->active->end,
                            dsync);
}

/* With the lock held: the group is durable; readers may see it. */
static void publish(struct evrt_journal *j, const struct evrt_group *g) {
    struct evrt_segment *s = j->active;
    evrt_index_note(&s->index, &(struct evrt_mark){s->end, g->number, g->first_seq, s->max_ms});
    if (g->time_ms > s->max_ms) s->max_ms = g->time_ms;
    s->end += EVRT_GROUP_HEAD + g->length;
    j->durable_group = g->number;
    j->durable_seq = g->first_seq + g->events;
}

/* ---- Changing segments ---- */

static uint64_t room_in(uint64_t size, uint64_t end) {
    return size < end + EVRT_SEAL_BYTES ? 0 : size - end - EVRT_SEAL_BYTES;
}

/* Waits for a file that `need` bytes fit into. The reserve is for when no space can be had: then only
 * settlements, and what had been accepted before, are still coming. The file stays in its place until it
 * has its new name, so that the keeper does not make another under the old one. */
static int find_spare(struct evrt_journal *j, uint64_t need, struct evrt_spare **out) {
    int rc = 0;
    pthread_mutex_lock(&j->lock);
    for (;;) {
        unsigned gate = atomic_load(&j->gate);
        bool full = (gate & EVRT_GATE_DISK) != 0;
        *out = &j->spare;
        if (j->spare.fd < 0 && full && room_in(j->reserve.size, EVRT_SEGMENT_PAGE) >= need)
            *out = &j->reserve;
        if ((*out)->fd >= 0) break;
        if ((gate & EVRT_GATE_FATAL) != 0 || (full && j->stop)) {
            rc = -ECANCELED;
            break;
        }
        /* Asked once: the keeper tries again by itself, each second, and when segments go. */
        if (!j->wants_spare) pthread_cond_signal(&j->chores);
        j->wants_spare = true;
        pthread_cond_wait(&j->work, &j->lock);
    }
    j->wants_spare = false;
    pthread_mutex_unlock(&j->lock);
    return rc;
}

/* The keeper makes the next one. */
static int take_fd(struct evrt_journal *j, struct evrt_spare *spare) {
    pthread_mutex_lock(&j->lock);
    int fd = spare->fd;
    spare->fd = -1;
    pthread_cond_signal(&j->chores);
    pthread_mutex_unlock(&j->lock);
    return fd;
}

/* A full disk may lack the block that a folder needs for one more name: the reserve has it. */
static int name_it(struct evrt_journal *j, const struct evrt_spare *spare,
                   const struct evrt_segment_header *h) {
    int rc = evrt_journal_name_segment(j, spare->fd, spare->name, h);
    if ((rc != -ENOSPC && rc != -EDQUOT) || spare == &j->reserve) return rc;
    (void)unlinkat(j->folder.journal, j->reserve.name, 0);
    int reserve = take_fd(j, &j->reserve);
    if (reserve >= 0) close(reserve);
    return evrt_journal_name_segment(j, spare->fd, spare->name, h);
}

static int write_seal(struct evrt_journal *j, struct evrt_group *g) {
    char record[EVRT_RECORD_HEAD];
    evrt_record_begin(record, EVRT_RECORD_SEAL, 0);
    struct iovec iov[3] = {{NULL, 0}, {record, sizeof record}};
    *g = (struct evrt_group){.first_seq = j->durable_seq, .length = EVRT_RECORD_HEAD, .records = 1};
    return write_group(j, iov, 2, g);
}

/* Makes the file that `h` describes the next segment: its name first, then the SEAL in the old one, see
 * open.c. The descriptor or a negative errno. */
static int begin_segment(struct evrt_journal *j, uint64_t need, struct evrt_segment_header *h,
                         struct evrt_group *seal) {
    struct evrt_spare memory = {.size = j->options.segment_size}, *spare = &memory;
    int rc = 0;
    if (evrt_journal_on_disk(j))
        rc = find_spare(j, need, &spare);
    else if ((memory.fd = memfd_create("evrt-journal", MFD_CLOEXEC)) < 0)
        rc = -errno;
    if (rc < 0) return rc;
    h->size = spare->size;
    rc = name_it(j, spare, h);
    int fd = spare == &memory ? memory.fd : take_fd(j, spare);
    if (rc == 0) rc = write_seal(j, seal);
    if (rc == 0) return fd;
    close(fd);
    return rc;
}

static int change_segment(struct evrt_journal *j, uint64_t need) {
    struct evrt_group seal;
    int64_t now = evrt_wall_ms();
    struct evrt_segment_header h = {.number = j->active->number + 1,
                                    .first_group = j->durable_group + 2,
                                    .first_seq = j->durable_seq,
                                    .created_ms = now,
                                    .prev_end = j->active->end + EVRT_SEAL_BYTES,
                                    .prev_max_ms = j->active->max_ms,
                                    .salt = evrt_journal_salt()};
    int fd = begin_segment(j, need, &h, &seal);
    if (fd < 0) return fd;
    struct evrt_segment *fresh = evrt_segment_create(&h, j->options.segment_size);
    int old = j->fd;
    if (evrt_journal_on_disk(j))
        close(old);
    else
        fresh->memory = fd;
    pthread_mutex_lock(&j->lock);
    publish(j, &seal);
    j->active->sealed = true;
    j->active->max_ms = h.prev_max_ms;
    j->active->ended_ms = now;
    evrt_segments_push(&j->segments, fresh);
    j->active = fresh;
    evrt_journal_gauge(j);
    pthread_mutex_unlock(&j->lock);
    j->fd = fd;
    return 0;
}

/* ---- Committing ---- */

static int commit(struct evrt_journal *j, struct evrt_batch *b, struct evrt_group *g) {
    struct iovec iov[EVRT_BATCH_SPANS_MAX + 2];
    uint64_t need = EVRT_GROUP_HEAD + b->bytes;
    if (need > room_in(j->active->size, j->active->end)) {
        int rc = change_segment(j, need);
        if (rc < 0) return rc;
    }
    for (uint32_t i = 0; i < b->span_count; i++)
        iov[i + 1] = (struct iovec){b->spans[i].chunk->data + b->spans[i].at, b->spans[i].n};
    *g = (struct evrt_group){.first_seq = b->first_seq,
                             .length = (uint32_t)b->bytes,
                             .events = b->events,
                             .records = b->records};
    return write_group(j, iov, b->span_count + 1, g);
}

/* How long a small write takes here, smoothed over the last few: what decides who commits. One that took
 * very long counts as SLOW_NS, so that the way back is short. */
static void note_time(struct evrt_journal *j, const struct evrt_batch *b, int64_t ns) {
    enum { SLOW_NS = 4000000, WEIGHT = 8 };
    if (b->bytes > EVRT_JOURNAL_HERE_BYTES) return;
    j->small_ns += ((ns < SLOW_NS ? ns : SLOW_NS) - j->small_ns) / WEIGHT;
}

/* With the lock held. */
static void hand_back(struct evrt_journal *j, struct evrt_batch *b, const struct evrt_group *g,
                      int64_t ns) {
    b->group = g->number;
    b->commit_ns = ns;
    atomic_fetch_add(&j->committed, b->bytes);
    j->figures.commits++;
    j->figures.committed_records += b->records;
    j->figures.committed_bytes += EVRT_GROUP_HEAD + b->bytes;
    j->figures.fsync_ns += (uint64_t)ns;
    note_time(j, b, ns);
    publish(j, g);
    *j->done_end = b;
    j->done_end = &b->next;
}

static void put_back(struct evrt_journal *j, struct evrt_batch *b) {
    b->next = j->queue;
    if (j->queue == NULL) j->queue_last = b;
    j->queue = b;
}

/* With the lock held, which it lets go of while it writes. False: the journal is at its end. */
static bool put_through(struct evrt_journal *j, struct evrt_batch *b) {
    struct evrt_group g;
    j->last_begin = evrt_mono_ns();
    j->last_events = b->events;
    pthread_mutex_unlock(&j->lock);
    int64_t begin = evrt_mono_ns();
    int rc = commit(j, b, &g);
    int64_t took = evrt_mono_ns() - begin;
    if (rc < 0 && rc != -ECANCELED)
        evrt_journal_fatal(j, rc, "writing group %llu of the journal at %s/journal/%016llx.seg",
                           (unsigned long long)j->durable_group + 1,
                           j->folder.path != NULL ? j->folder.path : "memory",
                           (unsigned long long)j->active->number);
    pthread_mutex_lock(&j->lock);
    if (rc < 0)
        put_back(j, b);
    else
        hand_back(j, b, &g, took);
    return rc == 0;
}

void *evrt_journal_writer(void *journal) {
    struct evrt_journal *j = journal;
    struct evrt_batch *b;
    pthread_mutex_lock(&j->lock);
    while ((b = next_batch(j)) != NULL && put_through(j, b)) {
        if (j->notified) continue;
        j->notified = true;
        pthread_mutex_unlock(&j->lock);
        if (j->options.on_commit != NULL) j->options.on_commit(j->options.arg);
        pthread_mutex_lock(&j->lock);
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

/* While the writer is idle its things are the owner's: it looks at nothing but the queue, which is empty
 * then, before it waits again. */
bool evrt_journal_commit_here(struct evrt_journal *j) {
    enum { QUICK_NS = 500000 };
    const struct evrt_batch *b = j->queue;
    bool quick = j->idle && j->small_ns < QUICK_NS && b->next == NULL &&
                 b->bytes <= EVRT_JOURNAL_HERE_BYTES &&
                 EVRT_GROUP_HEAD + b->bytes <= room_in(j->active->size, j->active->end) &&
                 (atomic_load(&j->gate) & EVRT_GATE_FATAL) == 0;
    return quick && put_through(j, pop(j));
}

/* Recovery: what is on the disk, judged, and the last segment made fit to be written again.
 *
 * All segments but the last must be whole by their headers and by the SEAL at their end; their bodies
 * are checked when they are read, so that the time to start is bounded by one segment. A segment is
 * named (synced, with its folder) before its predecessor is sealed:
 *
 *     name 2 ─▶ seal 1 ─▶ write 2        crash after the name: 2 is empty, 1 has no SEAL: 2 is removed
 *                                        1 sealed and no 2: someone took it away: damage
 *
 * The last one is written on where its good part ends if the disk is known to have that part (reuse.c);
 * else the good part is rewritten to a new file: the page cache may hold bytes whose fsync failed in an
 * earlier life, and nothing may be built on those. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/random.h"
#include "journal/chain.h"
#include "journal/file.h"
#include "journal/internal.h"
#include "journal/reuse.h"
#include "journal/scan.h"

/* Zero-filled room behind what is there already: enough until the first spare is ready, little enough
 * to start at once. */
enum { HEADROOM = 4 << 20 };
static const char fresh_name[] = "segment.new";

/* The last segment as the scan found it. */
struct found {
    struct evrt_scan scan;
    struct evrt_index index;
    uint64_t last_at, end, next_group, next_seq;
    int64_t max_ms;
    bool sealed;
    struct evrt_tail tail;
};

uint64_t evrt_journal_salt(void) {
    struct evrt_random random;
    evrt_random_init(&random);
    return evrt_random_u64(&random);
}

static int damaged(const struct evrt_journal *j, const char *segment, uint64_t offset,
                   const char *what, struct evrt_error *err) {
    return evrt_error_set(
        err, -EBADMSG,
        "segment %s is damaged at offset %llu: %s; nothing was changed. `evrt store "
        "repair %s` sets the damaged part aside",
        segment, (unsigned long long)offset, what, j->folder.path);
}

static int io_error(const char *segment, int rc, struct evrt_error *err) {
    return evrt_error_set(err, rc, "segment %s: %s", segment, strerror(-rc));
}

struct evrt_segment *evrt_segment_create(const struct evrt_segment_header *h,
                                         uint64_t segment_size) {
    struct evrt_segment *s = evrt_zalloc(sizeof *s);
    s->number = h->number;
    s->salt = h->salt;
    s->size = h->size;
    s->first_group = h->first_group;
    s->first_seq = h->first_seq;
    s->max_ms = INT64_MIN;
    s->end = EVRT_SEGMENT_PAGE;
    s->memory = -1;
    evrt_index_init(&s->index, segment_size);
    return s;
}

int evrt_journal_name_segment(struct evrt_journal *j, int fd, const char *name,
                              const struct evrt_segment_header *h) {
    char page[EVRT_SEGMENT_PAGE], final[EVRT_SEGMENT_NAME];
    int dir = j->folder.journal;
    evrt_segment_header_put(page, h);
    evrt_segment_name(h->number, final);
    int rc = evrt_file_write(fd, page, sizeof page, 0);
    if (rc < 0 || !evrt_journal_on_disk(j)) return rc;
    rc = evrt_file_sync(fd);
    if (rc == 0 && renameat(dir, name, dir, final) < 0) rc = -errno;
    return rc < 0 ? rc : evrt_file_sync(dir);
}

/* ---- The chain of headers ---- */

static int check_header(const struct evrt_journal *j, const struct evrt_link *link,
                        struct evrt_error *err) {
    if (link->state == EVRT_HEADER_NEWER)
        return evrt_error_set(
            err, -EPROTONOSUPPORT,
            "segment %s has format %llu, written by a newer evrt; this one (" EVRT_VERSION
            ") knows formats up to %d",
            link->name, (unsigned long long)link->header.number, EVRT_STORE_VERSION);
    if (link->state == EVRT_HEADER_BAD)
        return damaged(j, link->name, 0, "its header is not readable", err);
    if (link->state == EVRT_HEADER_HALF)
        return damaged(j, link->name, 0, "its header page does not match its checksum", err);
    return 0;
}

static int check_headers(const struct evrt_journal *j, const struct evrt_chain *c,
                         struct evrt_error *err) {
    for (size_t i = 0; i < c->n; i++) {
        const struct evrt_link *link = &c->links[i], *next = link + 1;
        int rc = check_header(j, link, err);
        if (rc < 0) return rc;
        if (i + 1 == c->n) break;
        if (next->number != link->number + 1) {
            char missing[EVRT_SEGMENT_NAME];
            evrt_segment_name(link->number + 1, missing);
            return damaged(j, missing, 0, "it is missing", err);
        }
        rc = check_header(j, next, err);
        if (rc < 0) return rc;
        if (next->header.first_group <= link->header.first_group ||
            next->header.first_seq < link->header.first_seq)
            return damaged(j, next->name, 0, "its numbers do not continue its predecessor's", err);
    }
    return 0;
}

/* Whether every closed segment ends as its successor says. *unsealed_last: all but the last pair do. */
static int check_seals(const struct evrt_journal *j, const struct evrt_chain *c,
                       bool *unsealed_last, struct evrt_error *err) {
    *unsealed_last = false;
    for (size_t i = 0; i + 1 < c->n; i++) {
        const struct evrt_link *link = &c->links[i];
        int rc = evrt_chain_sealed(link, link + 1, j->folder.journal, err);
        if (rc < 0) return rc;
        if (rc > 0) continue;
        if (i + 2 < c->n)
            return damaged(j, link->name, link[1].header.prev_end - EVRT_SEAL_BYTES,
                           "it does not end as its successor says", err);
        *unsealed_last = true;
    }
    return 0;
}

/* ---- The last segment ---- */

static void note_group(void *arg, uint64_t offset, const struct evrt_group *g) {
    struct found *f = arg;
    evrt_index_note(&f->index, &(struct evrt_mark){offset, g->number, g->first_seq, f->max_ms});
    if (g->time_ms > f->max_ms) f->max_ms = g->time_ms;
    f->last_at = offset;
    f->sealed = g->sealed;
}

static void found_finish(struct found *f) {
    if (f->scan.fd >= 0) close(f->scan.fd);
    evrt_scan_finish(&f->scan);
    evrt_index_finish(&f->index);
}

/* Walks the segment and decides: torn, or damaged. */
static int scan_last(struct evrt_journal *j, const struct evrt_link *link, struct found *f,
                     struct evrt_error *err) {
    *f = (struct found){.next_group = link->header.first_group,
                        .next_seq = link->header.first_seq,
                        .last_at = EVRT_SEGMENT_PAGE,
                        .max_ms = INT64_MIN};
    int fd = evrt_chain_open(link, j->folder.journal, err);
    evrt_scan_init(&f->scan, fd, link->header.salt, link->file_size);
    evrt_index_init(&f->index, j->options.segment_size);
    if (fd < 0) return fd;
    struct evrt_group g;
    int rc = evrt_scan_walk(&f->scan, EVRT_SEGMENT_PAGE, &f->next_group, &f->next_seq, &f->end,
                            note_group, f);
    if (rc == 0) rc = evrt_scan_tail(&f->scan, f->end, f->next_group, &f->tail);
    if (rc < 0) return io_error(link->name, rc, err);
    if (f->tail.later)
        return damaged(j, link->name, f->end, "a group is bad that later ones were built on", err);
    if (evrt_scan_group(&f->scan, f->end, &g) == 0)
        return damaged(j, link->name, f->end, "a group's numbers do not continue the one before",
                       err);
    return 0;
}

/* The last link is empty and the one before has no SEAL: the crash window of a change of segment, if
 * all that was committed to the former is there. */
static int scan_before_empty(struct evrt_journal *j, struct evrt_chain *c, struct found *f,
                             struct evrt_error *err) {
    const struct evrt_link *last = &c->links[c->n - 1], *prev = last - 1;
    const struct evrt_segment_header *h = &last->header;
    uint64_t seal_at = h->prev_end - EVRT_SEAL_BYTES;
    int rc = scan_last(j, last, f, err);
    bool empty = rc == 0 && f->end == EVRT_SEGMENT_PAGE && f->tail.used_end == f->end;
    found_finish(f);
    if (rc == 0 && !empty)
        rc = damaged(j, prev->name, seal_at, "it does not end as its successor says", err);
    if (rc < 0) {
        *f = (struct found){.scan.fd = -1};
        return rc;
    }
    rc = scan_last(j, prev, f, err);
    if (rc < 0) return rc;
    if (f->sealed || f->end != seal_at || f->next_group + 1 != h->first_group ||
        f->next_seq != h->first_seq)
        return damaged(j, prev->name, f->end, "groups are missing that its successor counts", err);
    if (unlinkat(j->folder.journal, last->name, 0) < 0) return io_error(last->name, -errno, err);
    c->n--;
    return 0;
}

static int copy_good(struct found *f, int to) {
    for (uint64_t at = EVRT_SEGMENT_PAGE; at < f->end;) {
        size_t have;
        int rc;
        const char *p = evrt_scan_bytes(&f->scan, at, 1, &have, &rc);
        if (p == NULL) return rc;
        if (have > f->end - at) have = (size_t)(f->end - at);
        if (have == 0) return -EIO;
        rc = evrt_file_write(to, p, have, at);
        if (rc < 0) return rc;
        at += have;
    }
    return 0;
}

/* Room for the good part, the SEAL and some more, but no more than a segment has. */
static uint64_t size_for(const struct evrt_journal *j, uint64_t end) {
    uint64_t size = end + HEADROOM;
    if (size > j->options.segment_size) size = j->options.segment_size;
    if (size < end + EVRT_SEAL_BYTES) size = end + EVRT_SEAL_BYTES;
    return EVRT_ALIGN(size, EVRT_SEGMENT_PAGE);
}

/* Makes the segment's file with what `f` (may be NULL) has found good. The descriptor or an errno. */
static int write_segment(struct evrt_journal *j, const struct evrt_segment_header *h,
                         struct found *f) {
    int dir = j->folder.journal;
    int fd = evrt_file_create(dir, fresh_name);
    if (fd < 0) return fd;
    int rc = f == NULL ? 0 : copy_good(f, fd);
    if (rc == 0) rc = evrt_file_fill(fd, f == NULL ? 0 : f->end, h->size, false, NULL, NULL);
    if (rc == 0) rc = evrt_journal_name_segment(j, fd, fresh_name, h);
    if (rc == 0) return fd;
    close(fd);
    (void)unlinkat(dir, fresh_name, 0);
    return rc;
}

/* Sets j->fd if it may be. With durability os a group may be there without the one before it, so all would
 * have to be compared. */
static int write_on(struct evrt_journal *j, const struct evrt_link *link, struct found *f,
                    struct evrt_error *err) {
    if (j->options.durability != EVRT_DURABILITY_FSYNC || link->file_size != link->header.size)
        return 0;
    j->fd = evrt_journal_reuse(j->folder.journal, link->name,
                               &(struct evrt_reuse){f->last_at, f->end, f->tail.used_end});
    if (j->fd >= 0) return 0;
    /* The page cache may have forgotten what only it had. */
    found_finish(f);
    return scan_last(j, link, f, err);
}

/* On j->fd when that is open already. */
static int start_segment(struct evrt_journal *j, const struct evrt_segment_header *h,
                         struct found *f, struct evrt_error *err) {
    char name[EVRT_SEGMENT_NAME];
    evrt_segment_name(h->number, name);
    if (j->fd < 0) j->fd = write_segment(j, h, f);
    if (j->fd == -ENOSPC) {
        /* Starting must not fail for want of what was put aside for later. */
        (void)unlinkat(j->folder.journal, j->spare.name, 0);
        (void)unlinkat(j->folder.journal, j->reserve.name, 0);
        j->fd = write_segment(j, h, f);
    }
    if (j->fd < 0)
        return evrt_error_set(err, j->fd, "segment %s: cannot write it anew at the start: %s", name,
                              strerror(-j->fd));
    j->active = evrt_segment_create(h, j->options.segment_size);
    evrt_segments_push(&j->segments, j->active);
    j->durable_group = (f == NULL ? h->first_group : f->next_group) - 1;
    j->durable_seq = f == NULL ? h->first_seq : f->next_seq;
    if (f == NULL) return 0;
    j->active->end = f->end;
    j->active->max_ms = f->max_ms;
    j->active->index = f->index;
    f->index = (struct evrt_index){0};
    return 0;
}

static void push_closed(struct evrt_journal *j, const struct evrt_link *link) {
    const struct evrt_segment_header *next = &link[1].header;
    struct evrt_segment *s = evrt_segment_create(&link->header, j->options.segment_size);
    s->size = link->file_size;
    s->end = next->prev_end;
    s->max_ms = next->prev_max_ms;
    s->ended_ms = next->created_ms;
    s->sealed = true;
    evrt_segments_push(&j->segments, s);
}

/* Behind a SEAL stands the next segment's first group, if any: while there is none, the SEAL is the last
 * that was written, and may be on the disk or not. */
static int reseal(const struct evrt_journal *j, const struct evrt_chain *c, const struct found *f,
                  struct evrt_error *err) {
    if (f->end > EVRT_SEGMENT_PAGE || c->n < 2) return 0;
    const struct evrt_link *last = &c->links[c->n - 1], *prev = last - 1;
    int rc = evrt_journal_reseal(j->folder.journal, prev->name, last->header.prev_end);
    return rc < 0 ? io_error(prev->name, rc, err) : 0;
}

static int recover_last(struct evrt_journal *j, struct evrt_chain *c, bool unsealed,
                        struct evrt_journal_recovery *report, struct evrt_error *err) {
    struct found f;
    int rc =
        unsealed ? scan_before_empty(j, c, &f, err) : scan_last(j, &c->links[c->n - 1], &f, err);
    const struct evrt_link *last = &c->links[c->n - 1];
    if (rc == 0 && f.sealed) {
        char missing[EVRT_SEGMENT_NAME];
        evrt_segment_name(last->number + 1, missing);
        rc = damaged(j, missing, 0, "it is missing", err);
    }
    if (rc == 0) rc = reseal(j, c, &f, err);
    if (rc == 0) rc = write_on(j, last, &f, err);
    if (rc == 0) {
        report->torn = f.tail.used_end > f.end || last->file_size < last->header.size;
        report->torn_bytes = f.tail.used_end - f.end;
        report->torn_offset = f.end;
        if (report->torn) memcpy(report->torn_segment, last->name, sizeof last->name);
        for (size_t i = 0; i + 1 < c->n; i++)
            push_closed(j, &c->links[i]);
        struct evrt_segment_header h = last->header;
        if (j->fd < 0) h.size = size_for(j, f.end);
        rc = start_segment(j, &h, &f, err);
    }
    found_finish(&f);
    return rc;
}

static struct evrt_segment_header first_header(const struct evrt_journal *j) {
    return (struct evrt_segment_header){.number = 1,
                                        .first_group = 1,
                                        .first_seq = 1,
                                        .created_ms = evrt_wall_ms(),
                                        .size = size_for(j, EVRT_SEGMENT_PAGE),
                                        .prev_max_ms = INT64_MIN,
                                        .salt = evrt_journal_salt()};
}

static int recover_memory(struct evrt_journal *j, struct evrt_error *err) {
    struct evrt_segment_header h = first_header(j);
    h.size = j->options.segment_size;
    j->fd = memfd_create("evrt-journal", MFD_CLOEXEC);
    int rc = j->fd < 0 ? -errno : evrt_journal_name_segment(j, j->fd, NULL, &h);
    if (rc < 0) {
        if (j->fd >= 0) close(j->fd);
        return evrt_error_set(err, rc, "cannot keep a journal in memory: %s", strerror(-rc));
    }
    j->active = evrt_segment_create(&h, j->options.segment_size);
    j->active->memory = j->fd;
    evrt_segments_push(&j->segments, j->active);
    j->durable_seq = 1;
    return 0;
}

static int recover_disk(struct evrt_journal *j, struct evrt_journal_recovery *report,
                        struct evrt_error *err) {
    struct evrt_chain chain;
    bool unsealed;
    (void)unlinkat(j->folder.journal, fresh_name, 0);
    int rc = evrt_chain_load(&chain, j->folder.journal, err);
    if (rc < 0) return rc;
    if (chain.n == 0) {
        struct evrt_segment_header h = first_header(j);
        rc = start_segment(j, &h, NULL, err);
    } else {
        rc = check_headers(j, &chain, err);
        if (rc == 0) rc = check_seals(j, &chain, &unsealed, err);
        if (rc == 0) rc = recover_last(j, &chain, unsealed, report, err);
    }
    evrt_chain_finish(&chain);
    return rc;
}

int evrt_journal_recover(struct evrt_journal *j, struct evrt_journal_recovery *report,
                         struct evrt_error *err) {
    int64_t begin = evrt_mono_ns();
    *report = (struct evrt_journal_recovery){0};
    int rc = evrt_journal_on_disk(j) ? recover_disk(j, report, err) : recover_memory(j, err);
    if (rc < 0) return rc;
    report->segments = j->segments.n;
    report->groups = j->durable_group + 1 - j->segments.list[0]->first_group;
    report->next_seq = j->durable_seq;
    report->seconds = (double)(evrt_mono_ns() - begin) * 1e-9;
    return 0;
}

/* Readers: they see the table of segments under the journal's lock, for as long as it takes to copy a
 * number, and files through descriptors of their own. So they run on any thread, and a segment that is
 * dropped goes on being readable for whoever is in it.
 *
 *     table ──▶ limit of the segment ──▶ window of 256 KiB ──▶ checked group ──▶ records */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/error.h"
#include "core/event.h"
#include "journal/internal.h"
#include "journal/scan.h"

struct evrt_journal_reader {
    struct evrt_journal *j;
    uint64_t segment; /* number; 0: not placed yet */
    struct evrt_scan scan;
    uint64_t offset;               /* of the next group */
    uint64_t next_group, next_seq; /* that group's */
    bool sealed;                   /* the last group read was the segment's last */
    struct evrt_group group;       /* being read */
    size_t at;                     /* in its body */
    bool in_group;
    uint64_t skip_below; /* events with a smaller seq are passed over, and all records before the
                            first of them that is not; 0: nothing is */
};

int evrt_journal_reader_open(struct evrt_journal_reader **out, struct evrt_journal *j) {
    struct evrt_journal_reader *r = evrt_zalloc(sizeof *r);
    r->j = j;
    evrt_scan_init(&r->scan, -1, 0, 0);
    *out = r;
    return 0;
}

static void leave(struct evrt_journal_reader *r) {
    if (r->scan.fd >= 0) close(r->scan.fd);
    evrt_scan_reset(&r->scan, -1, 0, 0);
    r->segment = 0;
    r->in_group = r->sealed = false;
}

void evrt_journal_reader_close(struct evrt_journal_reader *r) {
    if (r == NULL) return;
    leave(r);
    evrt_scan_finish(&r->scan);
    free(r);
}

/* What is sought, and how the table, an index and a group compare with it. */
struct target {
    enum { BY_SEGMENT, BY_GROUP, BY_SEQ, BY_TIME } by;
    uint64_t number;
    int64_t ms;
};

/* What a reader needs to know of a segment, copied under the lock. */
struct view {
    uint64_t number, salt, end;
    struct evrt_mark start; /* where to begin in it */
    bool indexed;
    int fd;
};

static bool may_hold(const struct evrt_segment *s, const struct evrt_segment *next,
                     const struct target *t) {
    if (t->by == BY_GROUP) return next->first_group > t->number;
    if (t->by == BY_SEQ) return next->first_seq > t->number;
    return s->max_ms >= t->ms;
}

/* The segment in which to look; the newest when no other can be it. */
static const struct evrt_segment *pick(const struct evrt_segments *table, const struct target *t) {
    if (t->by == BY_SEGMENT) return evrt_segments_at(table, t->number);
    size_t i = 0;
    while (i + 1 < table->n && !may_hold(table->list[i], table->list[i + 1], t))
        i++;
    return table->list[i];
}

static bool group_is_it(const struct evrt_group *g, const struct target *t) {
    if (t->by == BY_GROUP) return g->next_group > t->number;
    if (t->by == BY_SEQ) return g->events > 0 && g->next_seq > t->number;
    return g->time_ms >= t->ms;
}

static const struct evrt_mark *mark_for(const struct evrt_index *x, const struct target *t) {
    if (t->by == BY_SEGMENT) return NULL;
    if (t->by == BY_GROUP) return evrt_index_by_group(x, t->number);
    if (t->by == BY_SEQ) return evrt_index_by_seq(x, t->number);
    return evrt_index_by_time(x, t->ms);
}

/* 1, or 0 when the table has none. In memory the file has no name: its descriptor is copied here. */
static int look(struct evrt_journal *j, const struct target *t, struct view *v) {
    pthread_mutex_lock(&j->lock);
    const struct evrt_segment *s = pick(&j->segments, t);
    if (s != NULL) {
        const struct evrt_mark *mark = mark_for(&s->index, t);
        struct evrt_mark first = {EVRT_SEGMENT_PAGE, s->first_group, s->first_seq, INT64_MIN};
        *v = (struct view){.number = s->number,
                           .salt = s->salt,
                           .end = s->end,
                           .start = mark != NULL ? *mark : first,
                           .indexed = s->index.n > 0 || s->end == EVRT_SEGMENT_PAGE,
                           .fd = -1};
        if (s->memory >= 0) v->fd = fcntl(s->memory, F_DUPFD_CLOEXEC, 0);
    }
    pthread_mutex_unlock(&j->lock);
    return s != NULL;
}

static int damaged(const struct evrt_journal_reader *r, const char *what, struct evrt_error *err) {
    char name[EVRT_SEGMENT_NAME];
    evrt_segment_name(r->segment, name);
    return evrt_error_set(err, -EBADMSG,
                          "segment %s is damaged at offset %llu: %s; stop evrt and run `evrt store "
                          "repair %s`",
                          name, (unsigned long long)r->offset, what,
                          r->j->folder.path != NULL ? r->j->folder.path : "PATH");
}

static int io_error(const struct evrt_journal_reader *r, int rc, struct evrt_error *err) {
    char name[EVRT_SEGMENT_NAME];
    evrt_segment_name(r->segment, name);
    return evrt_error_set(err, rc, "segment %s: %s at offset %llu", name, strerror(-rc),
                          (unsigned long long)r->offset);
}

static void enter(struct evrt_journal_reader *r, const struct view *v) {
    leave(r);
    r->segment = v->number;
    evrt_scan_reset(&r->scan, v->fd, v->salt, v->end);
    r->offset = v->start.offset;
    r->next_group = v->start.group;
    r->next_seq = v->start.seq;
}

/* Looks for the segment and opens it. It may be dropped in between; then the next look finds another.
 * 1, 0 when there is none, or a negative errno. */
static int find(struct evrt_journal_reader *r, const struct target *t, struct view *v,
                struct evrt_error *err) {
    char name[EVRT_SEGMENT_NAME];
    for (uint64_t missing = 0;; missing = v->number) {
        if (!look(r->j, t, v)) return 0;
        if (v->fd >= 0) return 1;
        evrt_segment_name(v->number, name);
        v->fd = openat(r->j->folder.journal, name, O_RDONLY | O_CLOEXEC);
        if (v->fd >= 0) return 1;
        if (errno != ENOENT || v->number == missing) /* -ENOENT would be: not that far yet */
            return evrt_error_set(err, errno == ENOENT ? -EIO : -errno, "segment %s: %s", name,
                                  strerror(errno));
    }
}

/* To the first segment at or after `number`. */
static int enter_segment(struct evrt_journal_reader *r, uint64_t number, struct evrt_error *err) {
    struct view v;
    int rc = find(r, &(struct target){.by = BY_SEGMENT, .number = number}, &v, err);
    if (rc > 0) enter(r, &v);
    return rc;
}

/* Raises the limit to what is durable now. A segment that was dropped is whole to its SEAL. */
static int raise_limit(struct evrt_journal_reader *r) {
    pthread_mutex_lock(&r->j->lock);
    const struct evrt_segment *s = evrt_segments_at(&r->j->segments, r->segment);
    uint64_t limit = s != NULL && s->number == r->segment ? s->end : UINT64_MAX;
    pthread_mutex_unlock(&r->j->lock);
    r->scan.limit = limit;
    return r->offset < limit;
}

/* Reads the next group of this segment or a later one. 1, 0 or a negative errno. */
static int next_group(struct evrt_journal_reader *r, struct evrt_error *err) {
    if (r->segment == 0 || r->sealed) {
        int rc = enter_segment(r, r->segment + 1, err);
        if (rc <= 0) return rc;
    }
    if (r->offset >= r->scan.limit && !raise_limit(r)) return 0;
    int rc = evrt_scan_group(&r->scan, r->offset, &r->group);
    if (rc == -EBADMSG) return damaged(r, "a group does not match its checksum", err);
    if (rc < 0) return io_error(r, rc, err);
    if (r->group.number != r->next_group || r->group.first_seq != r->next_seq)
        return damaged(r, "a group's numbers do not continue the one before", err);
    r->offset += EVRT_GROUP_HEAD + r->group.length;
    r->next_group = r->group.next_group;
    r->next_seq = r->group.next_seq;
    r->sealed = r->group.sealed;
    r->in_group = true;
    r->at = 0;
    return 1;
}

int evrt_journal_read(struct evrt_journal_reader *r, struct evrt_journal_record *out,
                      struct evrt_error *err) {
    for (;;) {
        if (!r->in_group) {
            int rc = next_group(r, err);
            if (rc <= 0) return rc;
        }
        /* The group was checked as a whole: this cannot fail. */
        int rc =
            evrt_record_next(r->group.body, r->group.length, &r->at, &out->kind, &out->payload);
        if (rc <= 0) {
            r->in_group = false;
            continue;
        }
        if (out->kind == EVRT_RECORD_SEAL) continue;
        if (r->skip_below > 0) {
            if (out->kind != EVRT_RECORD_EVENT || evrt_event_seq(out->payload.p) < r->skip_below)
                continue;
            r->skip_below = 0;
        }
        out->group = r->group.number;
        out->time_ms = r->group.time_ms;
        return 1;
    }
}

/* ---- Seeking ---- */

struct indexing {
    struct evrt_index index;
    int64_t max_ms;
};

static void note_group(void *arg, uint64_t offset, const struct evrt_group *g) {
    struct indexing *i = arg;
    evrt_index_note(&i->index, &(struct evrt_mark){offset, g->number, g->first_seq, i->max_ms});
    if (g->time_ms > i->max_ms) i->max_ms = g->time_ms;
}

/* Indexes a closed segment that an earlier process wrote: reads it once, without the lock. A bad group
 * ends the index before it; whoever reads on will find it. */
static int build_index(struct evrt_journal_reader *r, struct view *v, const struct target *t) {
    struct indexing i = {.max_ms = INT64_MIN};
    uint64_t group = v->start.group, seq = v->start.seq, end;
    evrt_index_init(&i.index, r->j->options.segment_size);
    evrt_scan_reset(&r->scan, v->fd, v->salt, v->end);
    int rc = evrt_scan_walk(&r->scan, EVRT_SEGMENT_PAGE, &group, &seq, &end, note_group, &i);
    evrt_scan_reset(&r->scan, -1, 0, 0);
    const struct evrt_mark *mark = mark_for(&i.index, t);
    if (mark != NULL) v->start = *mark;
    pthread_mutex_lock(&r->j->lock);
    struct evrt_segment *s = evrt_segments_at(&r->j->segments, v->number);
    bool keep = rc == 0 && s != NULL && s->number == v->number && s->index.n == 0;
    if (keep) s->index = i.index;
    pthread_mutex_unlock(&r->j->lock);
    if (!keep) evrt_index_finish(&i.index);
    return rc;
}

/* Enters the segment that may hold the target, at the last place known to be before it. */
static int approach(struct evrt_journal_reader *r, const struct target *t, struct evrt_error *err) {
    struct view v;
    leave(r);
    int rc = find(r, t, &v, err);
    if (rc <= 0) return rc;
    rc = v.indexed ? 0 : build_index(r, &v, t);
    enter(r, &v);
    return rc < 0 ? io_error(r, rc, err) : 0;
}

/* Places the reader before the first group that fits. */
static int seek(struct evrt_journal_reader *r, const struct target *t, struct evrt_error *err) {
    r->skip_below = 0;
    int rc = approach(r, t, err);
    if (rc < 0) return rc;
    while ((rc = next_group(r, err)) > 0) {
        if (group_is_it(&r->group, t) && !(r->group.sealed && r->group.records == 1)) return 0;
    }
    r->in_group = false;
    return rc < 0 ? rc : evrt_error_set(err, -ENOENT, "the journal has not come that far");
}

int evrt_journal_seek_seq(struct evrt_journal_reader *r, uint64_t seq, struct evrt_error *err) {
    int rc = seek(r, &(struct target){.by = BY_SEQ, .number = seq}, err);
    if (rc == 0) r->skip_below = seq > 0 ? seq : 1;
    return rc;
}

int evrt_journal_seek_group(struct evrt_journal_reader *r, uint64_t group, struct evrt_error *err) {
    return seek(r, &(struct target){.by = BY_GROUP, .number = group}, err);
}

int evrt_journal_seek_time(struct evrt_journal_reader *r, int64_t ms, struct evrt_error *err) {
    return seek(r, &(struct target){.by = BY_TIME, .ms = ms}, err);
}

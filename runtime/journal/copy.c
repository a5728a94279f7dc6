/* See copy.h. What lies below the end of the durable groups does not change, so it is read without a lock
 * while the writer goes on behind it. */
#include "journal/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/error.h"
#include "journal/file.h"
#include "journal/internal.h"

enum { PIECE = 1 << 20 };

void evrt_journal_copy_begin(struct evrt_journal_copy *c, struct evrt_journal *j) {
    pthread_mutex_lock(&j->lock);
    *c = (struct evrt_journal_copy){.journal = j,
                                    .segments = evrt_zalloc(j->segments.n * sizeof *c->segments),
                                    .n = j->segments.n,
                                    .first_seq = j->segments.list[0]->first_seq,
                                    .next_seq = j->durable_seq,
                                    .group = j->durable_group};
    for (size_t i = 0; i < c->n; i++) {
        const struct evrt_segment *s = j->segments.list[i];
        c->segments[i] = (struct evrt_copy_segment){
            .number = s->number, .first_seq = s->first_seq, .end = s->end, .sealed = i + 1 < c->n};
        evrt_segment_name(s->number, c->segments[i].name);
        c->bytes += s->end;
    }
    pthread_mutex_unlock(&j->lock);
}

void evrt_journal_copy_finish(struct evrt_journal_copy *c) {
    free(c->segments);
    *c = (struct evrt_journal_copy){0};
}

struct job {
    int from, to;
    int (*go_on)(void *arg, uint64_t bytes);
    void *arg;
    char *piece;
};

/* One piece, within the kernel (and shared by file systems that can) or through memory. */
static ssize_t copy_piece(struct job *job, uint64_t at, size_t n) {
    off_t in = (off_t)at, out = (off_t)at;
    ssize_t done = copy_file_range(job->from, &in, job->to, &out, n, 0);
    if (done > 0) return done;
    if (done < 0 && errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP &&
        errno != EINTR)
        return -errno;
    if (job->piece == NULL) job->piece = evrt_alloc(PIECE);
    done = evrt_file_read(job->from, job->piece, n, at);
    if (done <= 0) return done < 0 ? done : -EIO;
    int rc = evrt_file_write(job->to, job->piece, (size_t)done, at);
    return rc < 0 ? rc : done;
}

static int copy_range(struct job *job, uint64_t at, uint64_t end) {
    while (at < end) {
        ssize_t n = copy_piece(job, at, end - at < PIECE ? (size_t)(end - at) : PIECE);
        if (n < 0) return (int)n;
        at += (uint64_t)n;
        int rc = job->go_on == NULL ? 0 : job->go_on(job->arg, (uint64_t)n);
        if (rc < 0) return rc;
    }
    return 0;
}

/* The header of the copy: its file has room for the SEAL and no more. Zeros stand behind the groups, not a
 * hole, so that what is written there later finds its place. */
static int put_last(struct job *job, uint64_t end) {
    char page[EVRT_SEGMENT_PAGE];
    struct evrt_segment_header h;
    ssize_t n = evrt_file_read(job->from, page, sizeof page, 0);
    if (n < 0) return (int)n;
    if (n < (ssize_t)sizeof page || evrt_segment_header_get(page, &h) != EVRT_HEADER_GOOD)
        return -EBADMSG;
    h.size = EVRT_ALIGN(end + EVRT_SEAL_BYTES, EVRT_SEGMENT_PAGE);
    evrt_segment_header_put(page, &h);
    int rc = evrt_file_write(job->to, page, sizeof page, 0);
    if (rc == 0) rc = copy_range(job, EVRT_SEGMENT_PAGE, end);
    return rc < 0 ? rc : evrt_file_fill(job->to, end, h.size, false, NULL, NULL);
}

static int put_copy(const struct evrt_copy_segment *s, struct job *job, int to_dir) {
    uint64_t size;
    job->to = evrt_file_create(to_dir, s->name);
    if (job->to < 0) return job->to;
    int rc = s->sealed ? copy_range(job, 0, s->end) : put_last(job, s->end);
    if (rc == 0 && s->sealed) rc = evrt_file_size(job->from, &size);
    if (rc == 0 && s->sealed && ftruncate(job->to, (off_t)size) < 0) rc = -errno;
    if (rc == 0) rc = evrt_file_sync(job->to);
    close(job->to);
    return rc;
}

static bool put_link(const struct evrt_copy_segment *s, const struct job *job, int from_dir,
                     int to_dir) {
    if (!s->sealed || linkat(from_dir, s->name, to_dir, s->name, 0) < 0) return false;
    if (evrt_file_sync(job->from) == 0) return true;
    (void)unlinkat(to_dir, s->name, 0);
    return false;
}

int evrt_journal_copy_segment(const struct evrt_journal_copy *c, size_t i, int to_dir, bool link,
                              int (*go_on)(void *arg, uint64_t bytes), void *arg,
                              struct evrt_error *err) {
    const struct evrt_copy_segment *s = &c->segments[i];
    int from_dir = c->journal->folder.journal;
    struct job job = {openat(from_dir, s->name, O_RDONLY | O_CLOEXEC), -1, go_on, arg, NULL};
    int rc = job.from < 0 ? -errno : 0;
    if (rc == 0 && link && put_link(s, &job, from_dir, to_dir))
        rc = go_on == NULL ? 0 : go_on(arg, s->end);
    else if (rc == 0)
        rc = put_copy(s, &job, to_dir);
    free(job.piece);
    if (job.from >= 0) close(job.from);
    return rc < 0 ? evrt_error_set(err, rc, "copying segment %s: %s", s->name, strerror(-rc)) : 0;
}

/* The keeper thread: work on files that must never make a commit wait. It keeps two zero-filled files
 * ready (the next segment, and a reserve for settlements when the disk is full), and unlinks segments
 * that were dropped.
 *
 * A file is filled under another name and renamed when it is synced: what is called spare or reserve
 * is whole, also after a crash, and is used again by the next process. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/units.h"
#include "journal/file.h"
#include "journal/internal.h"

enum {
    RETRY_NS = 1000000000,
    PACE_NS = 5000000,
    PACE_STOP = 1,
    PACE_ENOUGH = 2,
};
static const char fresh_name[] = "spare.new";

void evrt_keeper_adopt(struct evrt_journal *j) {
    struct evrt_spare *both[] = {&j->spare, &j->reserve};
    int dir = j->folder.journal;
    (void)unlinkat(dir, fresh_name, 0);
    for (int i = 0; i < 2; i++) {
        uint64_t size;
        int fd = openat(dir, both[i]->name, O_RDWR | O_CLOEXEC);
        if (fd >= 0 && evrt_file_size(fd, &size) == 0 && size == both[i]->size) {
            both[i]->fd = fd;
            continue;
        }
        if (fd >= 0) close(fd);
        (void)unlinkat(dir, both[i]->name, 0);
    }
}

struct filling {
    struct evrt_journal *j;
    bool allocated; /* the disk has given all the space already */
};

/* Between pieces. While the segment being written has much room left there is no hurry, and the disk
 * belongs to the commits; when the writer waits, the file is good enough as it is. */
static int pace(void *arg, uint64_t done) {
    struct filling *f = arg;
    struct evrt_journal *j = f->j;
    pthread_mutex_lock(&j->lock);
    const struct evrt_segment *s = evrt_segments_last(&j->segments);
    double used = (double)s->end / (double)s->size;
    double filled = (double)done / (double)j->options.segment_size;
    if (filled >= 1.25 * used && !j->wants_spare && !j->keeper_stop)
        evrt_journal_wait_until(j, &j->chores, evrt_mono_ns() + PACE_NS);
    int rc = j->keeper_stop ? PACE_STOP : j->wants_spare && f->allocated ? PACE_ENOUGH : 0;
    pthread_mutex_unlock(&j->lock);
    return rc;
}

static int fill(struct evrt_journal *j, int fd, uint64_t size) {
    struct filling f = {j, false};
    int rc = evrt_file_allocate(fd, 0, size);
    if (rc < 0 && rc != -EOPNOTSUPP) return rc;
    f.allocated = rc == 0;
    rc = evrt_file_fill(fd, 0, size, true, pace, &f);
    return rc == PACE_ENOUGH ? 0 : rc;
}

/* Without the lock. The descriptor, a negative errno, or -ECANCELED when the journal is closing. */
static int make_file(struct evrt_journal *j, const struct evrt_spare *spare) {
    int dir = j->folder.journal;
    int fd = evrt_file_create(dir, fresh_name);
    if (fd < 0) return fd;
    int rc = fill(j, fd, spare->size);
    if (rc == 0) rc = evrt_file_sync(fd);
    if (rc == 0 && renameat(dir, fresh_name, dir, spare->name) < 0) rc = -errno;
    if (rc == 0) return fd;
    close(fd);
    (void)unlinkat(dir, fresh_name, 0);
    return rc == PACE_STOP ? -ECANCELED : rc;
}

/* What goes away when someone makes room. */
static bool passing(int rc) {
    return rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG || rc == -EMFILE || rc == -ENFILE ||
           rc == -ENOMEM;
}

/* With the lock held; lets go of it while it works. 0, or a negative errno. */
static int make(struct evrt_journal *j, struct evrt_spare *spare) {
    char size[EVRT_UNITS_SIZE];
    pthread_mutex_unlock(&j->lock);
    int fd = make_file(j, spare);
    if (fd < 0 && fd != -ECANCELED && !passing(fd))
        evrt_journal_fatal(j, fd, "preparing %s/journal/%s", j->folder.path, spare->name);
    pthread_mutex_lock(&j->lock);
    if (fd >= 0) {
        spare->fd = fd;
    } else if (passing(fd)) {
        snprintf(j->disk_reason, sizeof j->disk_reason, "no %s for the next segment in %.60s: %s",
                 evrt_size_format(spare->size, size), j->folder.path, strerror(-fd));
        atomic_fetch_or(&j->gate, EVRT_GATE_DISK);
    }
    pthread_cond_signal(&j->work);
    return fd < 0 ? fd : 0;
}

/* With the lock held. In order, so that a crash leaves no hole in the chain of segments: a failure
 * keeps the rest for the next round. */
static void unlink_doomed(struct evrt_journal *j) {
    while (j->doomed.n > 0) {
        char name[EVRT_SEGMENT_NAME];
        evrt_segment_name(j->doomed.list[0]->number, name);
        pthread_mutex_unlock(&j->lock);
        int rc = unlinkat(j->folder.journal, name, 0) < 0 ? -errno : 0;
        pthread_mutex_lock(&j->lock);
        if (rc < 0 && rc != -ENOENT) return;
        evrt_segment_destroy(evrt_segments_shift(&j->doomed));
    }
}

static bool all_ready(const struct evrt_journal *j) {
    return j->spare.fd >= 0 && j->reserve.fd >= 0;
}

/* With the lock held: intake may go on. */
static void space_is_back(struct evrt_journal *j) {
    if ((atomic_fetch_and(&j->gate, ~(unsigned)EVRT_GATE_DISK) & EVRT_GATE_DISK) == 0) return;
    pthread_mutex_unlock(&j->lock);
    if (j->options.on_commit != NULL) j->options.on_commit(j->options.arg);
    pthread_mutex_lock(&j->lock);
}

void *evrt_journal_keeper(void *journal) {
    struct evrt_journal *j = journal;
    pthread_mutex_lock(&j->lock);
    while (!j->keeper_stop) {
        unlink_doomed(j);
        int rc = j->spare.fd < 0 ? make(j, &j->spare) : 0;
        if (rc == 0 && j->reserve.fd < 0) rc = make(j, &j->reserve);
        if (j->keeper_stop) break;
        if (rc < 0 || j->doomed.n > 0) {
            evrt_journal_wait_until(j, &j->chores, evrt_mono_ns() + RETRY_NS);
        } else if (all_ready(j)) {
            space_is_back(j);
            if (all_ready(j) && j->doomed.n == 0 && !j->keeper_stop)
                pthread_cond_wait(&j->chores, &j->lock);
        }
    }
    unlink_doomed(j);
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

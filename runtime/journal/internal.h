/* The journal's inside, shared by journal.c, open.c, writer.c, keeper.c and reader.c.
 *
 *     owner    appends, submits, takes, drops              (journal.c)
 *     writer   commits; makes a spare the next segment     (writer.c)
 *              (the owner may commit while the writer is idle)
 *     keeper   makes spares, unlinks what was dropped      (keeper.c)
 *     readers  anyone's threads; see only `segments`       (reader.c)
 *
 * What is shared is under `lock`, which nobody holds while touching a file. */
#ifndef EVRT_JOURNAL_INTERNAL_H
#define EVRT_JOURNAL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "journal/batch.h"
#include "journal/folder.h"
#include "journal/segments.h"

/* Why events are refused; bits of `gate`. */
enum { EVRT_GATE_DISK = 1, EVRT_GATE_MAX_SIZE = 2, EVRT_GATE_FATAL = 4 };

/* The owner commits a group of at most so many bytes itself when the disk is quick. */
enum { EVRT_JOURNAL_HERE_BYTES = 32 << 10 };

/* A zero-filled, synced file that can become a segment. */
struct evrt_spare {
    const char *name;
    uint64_t size;
    int fd; /* -1: not there (yet) */
};

struct evrt_journal {
    struct evrt_journal_options options; /* defaults filled in; path is folder.path */
    uint64_t group_max;                  /* most bytes of records that one group can have */

    /* Owner. */
    struct evrt_batch_pool pool;
    struct evrt_batch *open;  /* being appended to, or NULL */
    struct evrt_batch *taken; /* committed, not yet returned by take */
    uint64_t next_seq;
    uint64_t held; /* bytes still to come that the open batch has room for */

    /* Any thread, no lock. Bytes of records since open: appended by the owner, then committed. */
    _Atomic uint64_t appended;
    _Atomic uint64_t committed;
    _Atomic unsigned gate;

    pthread_mutex_t lock;
    pthread_cond_t work;                   /* the writer waits: for a batch, for a spare */
    pthread_cond_t chores;                 /* the keeper waits */
    struct evrt_batch *queue, *queue_last; /* submitted; the last one may still grow */
    int64_t last_begin;                    /* when the last commit began, */
    uint32_t last_events;                  /* and how many events it had */
    int64_t small_ns;                      /* how long small commits take, smoothed */
    struct evrt_batch *done, **done_end;   /* committed, in order */
    bool notified;                         /* on_commit was called and the owner has not come yet */
    bool idle;                             /* the writer waits, and would have to be woken */
    bool stop, keeper_stop;
    bool wants_spare;              /* the writer is waiting for one */
    bool refused;                  /* an event was refused for max_size since the gate came up */
    char disk_reason[160];         /* of EVRT_GATE_DISK */
    struct evrt_segments segments; /* the last one is being written */
    struct evrt_segments doomed;   /* dropped, not yet unlinked */
    struct evrt_spare spare, reserve;
    uint64_t durable_group, durable_seq; /* last group; next seq */
    struct evrt_journal_stats figures;   /* the counters only */

    /* Writer: the segment being written; also the table's last. */
    struct evrt_segment *active;
    int fd;
    struct evrt_folder folder; /* memory: all -1 */

    pthread_t writer, keeper;
    bool has_writer, has_keeper;
};

/* open.c: fills segments, fd, durable_*, report; the threads are not running. */
EVRT_MUST_CHECK int evrt_journal_recover(struct evrt_journal *j,
                                         struct evrt_journal_recovery *report,
                                         struct evrt_error *err);
/* Writes the header page into a zero-filled file, syncs it and gives it its final name. */
EVRT_MUST_CHECK int evrt_journal_name_segment(struct evrt_journal *j, int fd, const char *name,
                                              const struct evrt_segment_header *h);
struct evrt_segment *evrt_segment_create(const struct evrt_segment_header *h,
                                         uint64_t segment_size);
uint64_t evrt_journal_salt(void);

/* Owner, with the lock held and something queued: commits it on the spot if that is cheap. */
bool evrt_journal_commit_here(struct evrt_journal *j);

/* writer.c, keeper.c: thread functions. */
void *evrt_journal_writer(void *journal);
void *evrt_journal_keeper(void *journal);
/* Keeper's: adopts the spare files that an earlier process left. Before the threads run. */
void evrt_keeper_adopt(struct evrt_journal *j);

/* With the lock held: after segments came or went. */
void evrt_journal_gauge(struct evrt_journal *j);
static inline bool evrt_journal_on_disk(const struct evrt_journal *j) {
    return j->options.durability != EVRT_DURABILITY_MEMORY;
}
/* Waits on c until the monotonic time given. */
void evrt_journal_wait_until(struct evrt_journal *j, pthread_cond_t *c, int64_t mono_ns);
void evrt_journal_fatal(struct evrt_journal *j, int rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif

/* The journal: an append-only log of records in segments, made durable by group commit.
 *
 *     owner thread                              writer thread
 *     evrt_journal_append ×n ─▶ open batch
 *     evrt_journal_submit ────▶ queue ────────▶ one group: header + batches, pwritev, fdatasync
 *     evrt_journal_take  ◀──── committed ◀───── on_commit() wakes the owner
 *
 * While one commit runs the next gathers; a small one may be written by the owner itself. No libuv
 * here: on_commit is called on the writer thread and must only wake the owner. All functions but those
 * of readers are the owner thread's.
 *
 * Disk (all little-endian; journal/format.h has the details): STORE/journal/<number>.seg, each with a
 * checked header page, then groups; a group carries number, length, checksum (seeded by the segment's
 * random salt, so event bytes cannot pose as a group). */
#ifndef EVRT_JOURNAL_JOURNAL_H
#define EVRT_JOURNAL_JOURNAL_H

#include <stdbool.h>

#include "core/record.h"

struct evrt_journal;
struct evrt_batch;

enum evrt_durability { EVRT_DURABILITY_FSYNC, EVRT_DURABILITY_OS, EVRT_DURABILITY_MEMORY };

struct evrt_journal_options {
    const char *path; /* the store's folder; made 0700 when absent. Ignored for MEMORY */
    enum evrt_durability durability;
    uint64_t segment_size;  /* 64 MiB unless a test wants less */
    uint64_t group_bytes;   /* cap of one group; 0: default */
    uint32_t group_records; /* cap of one group; 0: default */
    uint64_t
        backlog_bytes; /* appended, not yet durable; beyond it events get -EAGAIN. 0: default */
    uint64_t max_size; /* of all segments; beyond it events get -ENOSPC. 0: none */
    uint64_t reserve;  /* bytes kept back for settlements when space is short. 0: default */
    /* A thread of the journal: something was committed, or space came back. Called once until the owner
     * has called evrt_journal_take again. */
    void (*on_commit)(void *arg);
    /* A thread of the journal, or the owner's within submit: a write or fsync failed; nothing after it
     * will ever be reported committed. The host ends the process (D9). */
    void (*on_fatal)(void *arg, const struct evrt_error *err);
    void *arg;
};

/* What opening found, for the log. */
struct evrt_journal_recovery {
    uint64_t segments, groups, next_seq;
    bool torn;             /* a torn tail was cut */
    uint64_t torn_bytes;   /* from the first bad byte to the last that was not zero */
    char torn_segment[32]; /* file name */
    uint64_t torn_offset;
    double seconds;
};

/* Locks the store, checks its format, cuts a torn tail, starts the writer.
 * -EBUSY: locked, err says by which pid; -EPROTONOSUPPORT: written by a newer version, named;
 * -EBADMSG: damage before the tail, err names segment and offset and `evrt store repair`. */
EVRT_MUST_CHECK int evrt_journal_open(struct evrt_journal **out,
                                      const struct evrt_journal_options *options,
                                      struct evrt_journal_recovery *report, struct evrt_error *err);
/* Commits what was submitted, stops the writer, unlocks, frees. Batches taken must be released first. */
void evrt_journal_close(struct evrt_journal *j);

/* ---- Appending ---- */

/* Makes room for one record of n payload bytes in the open batch and returns where to write it (valid
 * until the next call). Events are given the next seq by the journal: after writing the encoding call
 * nothing, the seq and stored_ms at its start are stamped at submit.
 * NULL with *rc: -ENOSPC no space (events only; settlements draw on the reserve), -EAGAIN backlog full
 * (events only), -EMSGSIZE larger than a group may be. */
void *evrt_journal_append(struct evrt_journal *j, enum evrt_record_kind kind, size_t n, int *rc);
/* The records appended next, so many bytes and records in all (evrt_journal_record_bytes each), will be
 * in one group: they are durable together or not at all. Events among them are refused as little as
 * settlements are. -EMSGSIZE: more than a group can have; EVRT_JOURNAL_HOLD_BYTES always fit where segments are larger. */
enum { EVRT_JOURNAL_HOLD_BYTES = 31 << 20 };
EVRT_MUST_CHECK int evrt_journal_hold(struct evrt_journal *j, size_t bytes, uint32_t records);
size_t evrt_journal_record_bytes(size_t payload);
/* What would be answered to an event of that many bytes now; 0: it would be taken. */
int evrt_journal_refuses(struct evrt_journal *j, size_t bytes);
/* The seq that the next appended event gets. */
uint64_t evrt_journal_next_seq(const struct evrt_journal *j);
/* Hands the open batch to the writer. Call once per loop turn; a no-op when nothing was appended.
 * `here`: the caller can spare the time of a short write (some 0.1 ms): when the writer is idle, the batch
 * small and the disk quick, it is committed on this thread, which saves two wake-ups. True: so it was;
 * call take now, for on_commit will not be. */
bool evrt_journal_submit(struct evrt_journal *j, bool here);

/* ---- Committed batches, in order ---- */

/* One record of a batch. Valid while the batch is held. */
struct evrt_batch_record {
    const char *payload;
    uint32_t n;
    uint32_t kind;
};

/* The next committed batch, or NULL. A batch is one whole group: what was submitted while a commit ran
 * comes back joined. The caller holds a reference and ends it with unref. */
struct evrt_batch *evrt_journal_take(struct evrt_journal *j);
struct evrt_batch *evrt_batch_ref(struct evrt_batch *b);
/* Owner thread. The memory goes with the last reference. */
void evrt_batch_unref(struct evrt_batch *b);
/* Steps through the records: *at starts at 0; false at the end. */
bool evrt_batch_next(const struct evrt_batch *b, size_t *at, struct evrt_batch_record *out);
uint64_t evrt_batch_group(const struct evrt_batch *b);
uint64_t
evrt_batch_first_seq(const struct evrt_batch *b); /* of its first event, or the next one's */
uint32_t evrt_batch_events(const struct evrt_batch *b);
uint32_t evrt_batch_records(const struct evrt_batch *b);
/* What writing and syncing it took. */
int64_t evrt_batch_commit_ns(const struct evrt_batch *b);
/* Bytes of memory that holding this batch pins. */
size_t evrt_batch_bytes(const struct evrt_batch *b);

/* ---- Reading ---- */

/* A reader streams committed records. Any one thread at a time, also while the owner appends; it never
 * blocks commits. It must be closed before the journal. */
struct evrt_journal_reader;

struct evrt_journal_record {
    uint64_t group;  /* number of the group it stands in */
    int64_t time_ms; /* when the group was written */
    uint32_t kind;
    struct evrt_slice payload; /* valid until the next call on the reader */
};

EVRT_MUST_CHECK int evrt_journal_reader_open(struct evrt_journal_reader **out,
                                             struct evrt_journal *j);
void evrt_journal_reader_close(struct evrt_journal_reader *r);
/* The next record is the first event with at least this seq / the first record of a group with at
 * least this number / the first group written at or after this time. -ENOENT: not reached yet (the
 * reader is placed at the end); what retention dropped is skipped to the first that is there. */
EVRT_MUST_CHECK int evrt_journal_seek_seq(struct evrt_journal_reader *r, uint64_t seq,
                                          struct evrt_error *err);
EVRT_MUST_CHECK int evrt_journal_seek_group(struct evrt_journal_reader *r, uint64_t group,
                                            struct evrt_error *err);
EVRT_MUST_CHECK int evrt_journal_seek_time(struct evrt_journal_reader *r, int64_t ms,
                                           struct evrt_error *err);
/* 1: *out is filled; 0: nothing more is committed now, try again later; -EBADMSG: damage. */
EVRT_MUST_CHECK int evrt_journal_read(struct evrt_journal_reader *r,
                                      struct evrt_journal_record *out, struct evrt_error *err);

/* ---- Space and figures ---- */

/* Drops whole segments, oldest first, whose every record is in a group below `group` and which are
 * older than `before_ms`, or whatever their age while the journal is over max_size. The newest segment
 * stays. Returns how many were dropped. */
int evrt_journal_drop(struct evrt_journal *j, uint64_t below_group, int64_t before_ms);

struct evrt_journal_stats {
    uint64_t first_seq, next_seq;                         /* events kept: [first_seq, next_seq) */
    uint64_t first_group, last_group;                     /* durable groups kept */
    uint64_t segments, bytes;                             /* on disk */
    uint64_t commits, committed_records, committed_bytes; /* since open */
    uint64_t fsync_ns;      /* spent in writing and syncing since open */
    uint64_t backlog_bytes; /* appended, not yet durable */
    int space;              /* 0, or -ENOSPC while intake is refused */
    char space_reason[160];
};
/* Any thread. */
void evrt_journal_stats(struct evrt_journal *j, struct evrt_journal_stats *out);

#endif

/* A copy of the journal as it is at one group, made while it is being written: whole segments that are
 * closed, and the good part of the last one.
 *
 *     journal   | 7 sealed | 8 sealed | 9 ......written | being written
 *     copy        link       link       copied up to ^ the group of begin
 *
 * Owner: the caller. begin, segment and finish may be called on any one thread; the caller sees to it that
 * segments which are not copied yet are not dropped. */
#ifndef EVRT_JOURNAL_COPY_H
#define EVRT_JOURNAL_COPY_H

#include <stdbool.h>

#include "journal/format.h"
#include "journal/journal.h"

struct evrt_copy_segment {
    uint64_t number, first_seq;
    uint64_t end; /* of its groups */
    bool sealed;
    char name[EVRT_SEGMENT_NAME];
};

struct evrt_journal_copy {
    struct evrt_journal *journal;
    struct evrt_copy_segment *segments; /* oldest first; the last one is not sealed */
    size_t n;
    uint64_t bytes; /* of all of them */
    uint64_t first_seq, next_seq, group;
};

/* Notes what there is now. */
void evrt_journal_copy_begin(struct evrt_journal_copy *c, struct evrt_journal *j);
void evrt_journal_copy_finish(struct evrt_journal_copy *c);

/* Puts the i-th segment into the folder, synced. `link`: as a second name of the same file where the file
 * system can and the segment is closed. `go_on` (may be NULL) is told of each piece that was copied; a
 * negative value ends the work with that. 0 or a negative errno with the reason. */
EVRT_MUST_CHECK int evrt_journal_copy_segment(const struct evrt_journal_copy *c, size_t i,
                                              int to_dir, bool link,
                                              int (*go_on)(void *arg, uint64_t bytes), void *arg,
                                              struct evrt_error *err);

#endif

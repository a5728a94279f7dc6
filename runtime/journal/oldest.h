/* The oldest segments, for who decides whether they may go (evrt_journal_drop). Owner thread. */
#ifndef EVRT_JOURNAL_OLDEST_H
#define EVRT_JOURNAL_OLDEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evrt_journal;

struct evrt_journal_oldest {
    uint64_t number;
    uint64_t first_seq;
    uint64_t next_group, next_seq; /* of the segment after it: it holds what is below */
    int64_t ended_ms;              /* when the one after it was begun */
    uint64_t bytes;                /* on disk */
};

/* False: there is but one segment, and that stays. */
bool evrt_journal_oldest(struct evrt_journal *j, struct evrt_journal_oldest *out);
/* The same of the one that is `after` places newer; false: that is the newest, or there is none. */
bool evrt_journal_next_oldest(struct evrt_journal *j, size_t after,
                              struct evrt_journal_oldest *out);

#endif

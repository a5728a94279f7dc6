/* The oldest segment, for who decides whether it may go (evrt_journal_drop). Owner thread. */
#ifndef EVRT_JOURNAL_OLDEST_H
#define EVRT_JOURNAL_OLDEST_H

#include <stdbool.h>
#include <stdint.h>

struct evrt_journal;

struct evrt_journal_oldest {
    uint64_t number;
    uint64_t first_seq;
    uint64_t next_group, next_seq; /* of the segment after it: it holds what is below */
    int64_t ended_ms;              /* when the one after it was begun */
};

/* False: there is but one segment, and that stays. */
bool evrt_journal_oldest(struct evrt_journal *j, struct evrt_journal_oldest *out);

#endif

/* See oldest.h. */
#include "journal/oldest.h"

#include "journal/internal.h"

bool evrt_journal_next_oldest(struct evrt_journal *j, size_t after,
                              struct evrt_journal_oldest *out) {
    pthread_mutex_lock(&j->lock);
    bool there = j->segments.n > after + 1;
    if (there) {
        const struct evrt_segment *s = j->segments.list[after], *next = j->segments.list[after + 1];
        *out = (struct evrt_journal_oldest){s->number,       s->first_seq, next->first_group,
                                            next->first_seq, s->ended_ms,  s->size};
    }
    pthread_mutex_unlock(&j->lock);
    return there;
}

bool evrt_journal_oldest(struct evrt_journal *j, struct evrt_journal_oldest *out) {
    return evrt_journal_next_oldest(j, 0, out);
}

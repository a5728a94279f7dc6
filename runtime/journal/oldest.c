/* See oldest.h. */
#include "journal/oldest.h"

#include "journal/internal.h"

bool evrt_journal_oldest(struct evrt_journal *j, struct evrt_journal_oldest *out) {
    pthread_mutex_lock(&j->lock);
    bool there = j->segments.n > 1;
    if (there) {
        const struct evrt_segment *s = j->segments.list[0], *next = j->segments.list[1];
        *out = (struct evrt_journal_oldest){s->number, s->first_seq, next->first_group,
                                            next->first_seq, s->ended_ms};
    }
    pthread_mutex_unlock(&j->lock);
    return there;
}

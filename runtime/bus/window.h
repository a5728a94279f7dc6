/* The window of a subscription: every delivery from the cursor on, in order of sequence, numbered by
 * position (1, 2, ... for ever). One that is not done costs 16 bytes, one that is done next to nothing: so
 * millions may stand behind one that has not ended, and be handled meanwhile. In blocks of 256 positions:
 *
 *     head                                       tail
 *      | dense: each in its place | packed: those that are not done | all done: no entries | ... |
 *
 * Embedded; the bus's thread. */
#ifndef EVRT_BUS_WINDOW_H
#define EVRT_BUS_WINDOW_H

#include "evrt.h"

enum evrt_entry_state {
    EVRT_ENTRY_PARKED, /* its key is busy; ref: how far behind the key's next one stands, 0: last */
    EVRT_ENTRY_LIVE,   /* has a delivery; ref: its number */
    EVRT_ENTRY_GONE,   /* is not its place any more: it will be read again */
};

struct evrt_entry {
    uint64_t seq;
    uint32_t ref;
    uint8_t state;
};

struct evrt_window_block;

struct evrt_window {
    struct evrt_window_block *blocks; /* a ring of them */
    size_t mask;                      /* blocks - 1 */
    uint64_t head, tail;              /* positions; what is at the head is not done */
};

static inline uint64_t evrt_window_span(const struct evrt_window *w) {
    return w->tail - w->head;
}

void evrt_window_init(struct evrt_window *w);
void evrt_window_finish(struct evrt_window *w);
/* The entry there; NULL: it is done, or outside of the window. Valid until the window changes. */
struct evrt_entry *evrt_window_at(const struct evrt_window *w, uint64_t position);
/* The first position from this one on that is not done; the tail when none is. */
uint64_t evrt_window_next(const struct evrt_window *w, uint64_t position);
/* The position of the entry that has this sequence and is not done; 0: none. */
uint64_t evrt_window_find(const struct evrt_window *w, uint64_t seq);
/* Returns the position of a new entry at the tail. */
uint64_t evrt_window_push(struct evrt_window *w, struct evrt_entry entry);
/* Takes back the last one, which is not done. */
void evrt_window_pop(struct evrt_window *w);
void evrt_window_done(struct evrt_window *w, uint64_t position);
/* Moves the head over what is done or GONE. */
void evrt_window_trim(struct evrt_window *w);

#endif

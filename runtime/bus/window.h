/* The window of a subscription: every delivery from the cursor on, in order of sequence, numbered by
 * position (1, 2, ... for ever). 16 bytes each, in blocks that come and go with the window's ends, so that
 * millions may stand behind one that has not ended. Embedded; the bus's thread. */
#ifndef EVRT_BUS_WINDOW_H
#define EVRT_BUS_WINDOW_H

#include "evrt.h"

enum evrt_entry_state {
    EVRT_ENTRY_PARKED, /* its key is busy; ref: how far behind the key's next one stands, 0: last */
    EVRT_ENTRY_LIVE,   /* has a delivery; ref: its number */
    EVRT_ENTRY_DONE,   /* has ended */
    EVRT_ENTRY_GONE,   /* is not its place any more: it will be read again */
};

struct evrt_entry {
    uint64_t seq;
    uint32_t ref;
    uint8_t state;
};

enum { EVRT_WINDOW_BLOCK = 256 };

struct evrt_window {
    struct evrt_entry **blocks; /* a ring of them */
    size_t mask;                /* blocks - 1 */
    uint64_t head, tail;        /* positions */
};

static inline struct evrt_entry *evrt_window_at(const struct evrt_window *w, uint64_t position) {
    return &w->blocks[position / EVRT_WINDOW_BLOCK & w->mask][position % EVRT_WINDOW_BLOCK];
}
static inline uint64_t evrt_window_span(const struct evrt_window *w) {
    return w->tail - w->head;
}

void evrt_window_init(struct evrt_window *w);
void evrt_window_finish(struct evrt_window *w);
/* Returns the position of a new entry at the tail. */
uint64_t evrt_window_push(struct evrt_window *w, struct evrt_entry entry);
void evrt_window_pop(struct evrt_window *w); /* the last one */
/* Moves the head over what is DONE or GONE. */
void evrt_window_trim(struct evrt_window *w);
/* Empties it. */
void evrt_window_clear(struct evrt_window *w);
/* The position of the first entry with at least this sequence; the tail when there is none. */
uint64_t evrt_window_find(const struct evrt_window *w, uint64_t seq);

#endif

/* Bytes of events that several point into; freed with the last of them, by who made them. One thread. */
#ifndef EVRT_BUS_HOLD_H
#define EVRT_BUS_HOLD_H

#include "evrt.h"

struct evrt_hold {
    uint32_t refs;
    size_t bytes;
    void (*release)(struct evrt_hold *hold);
};

/* Gives a reference back; NULL: nothing. */
static inline void evrt_hold_release(struct evrt_hold *hold) {
    if (hold != NULL && --hold->refs == 0) hold->release(hold);
}

#endif

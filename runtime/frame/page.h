/* The page that a worker shares with its host: what it is doing, readable when it no longer answers. One
 * memfd per process, inherited as EVRT_FRAME_PAGE_FD; the worker writes, but for the last line; the host reads from time to
 * time and once more when the process has ended.
 *
 *     turn       odd while the loop is awake, even while it sleeps; changes whenever either begins, and
 *                with every delivery that is begun or resumed. Awake and unchanged: it is stuck.
 *     delivery   the delivery that runs now; 0: none. Whoever it is when the process dies is to blame.
 *
 * Plain stores to a line that the host reads a few times a second: no call, no clock, no lock. A script with
 * FFI can write here what it likes, so the host checks what it reads: nobody but a delivery which this
 * worker has can be blamed. */
#ifndef EVRT_FRAME_PAGE_H
#define EVRT_FRAME_PAGE_H

#include <stdatomic.h>
#include <stdint.h>

/* What confines the process (worker/confine.h). */
enum evrt_confined {
    EVRT_CONFINED_USER = 1 << 0,         /* another user than the host */
    EVRT_CONFINED_PRIVILEGES = 1 << 1,   /* no_new_privs */
    EVRT_CONFINED_STORE_HIDDEN = 1 << 2, /* by a mount namespace */
    EVRT_CONFINED_STORE_DENIED = 1 << 3, /* by Landlock */
    EVRT_CONFINED_TRACING = 1 << 4,      /* cannot look into the host */
    EVRT_CONFINED_SIGNALS = 1 << 5,      /* to none but its own children */
    EVRT_CONFINED_CALLS = 1 << 6,        /* by a filter */
};

struct evrt_page {
    _Atomic uint64_t turn;
    _Atomic uint64_t delivery;
    _Atomic uint32_t confined; /* enum evrt_confined bits, set before READY */
    /* For metrics: bytes of Lua memory when its last turn ended; full collections, and their time. */
    _Atomic uint64_t memory, collections, collecting_ns;
    _Atomic uint64_t reads; /* keys that it read by itself (frame/values.h) */
    /* The host's, in a line of its own: EFFECTS frames that it has taken, and how often it has read at all. */
    _Alignas(64) _Atomic uint64_t effects;
    _Atomic uint64_t heard;
};

enum { EVRT_PAGE_SIZE = 4096 };

/* A worker's side; `p` NULL: nobody watches. Owner-only stores, so reading back needs no order. */
static inline void evrt_page_store(_Atomic uint64_t *at, uint64_t v) {
    atomic_store_explicit(at, v, memory_order_relaxed);
}
static inline uint64_t evrt_page_load(const _Atomic uint64_t *at) {
    return atomic_load_explicit(at, memory_order_relaxed);
}
/* The loop is awake, or goes on being so with something else. */
static inline void evrt_page_awake(struct evrt_page *p) {
    if (p != NULL) evrt_page_store(&p->turn, (evrt_page_load(&p->turn) + 2) | 1);
}
static inline void evrt_page_asleep(struct evrt_page *p) {
    if (p != NULL) evrt_page_store(&p->turn, (evrt_page_load(&p->turn) + 2) & ~(uint64_t)1);
}
/* A delivery runs from here. */
static inline void evrt_page_runs(struct evrt_page *p, uint64_t delivery) {
    if (p == NULL) return;
    evrt_page_store(&p->delivery, delivery);
    evrt_page_store(&p->turn, (evrt_page_load(&p->turn) + 2) | 1);
}
/* None does. */
static inline void evrt_page_rests(struct evrt_page *p) {
    if (p != NULL) evrt_page_store(&p->delivery, 0);
}

#endif

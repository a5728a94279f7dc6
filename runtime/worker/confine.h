/* What a worker process gives up before it runs a script, so that no script can reach the store, the host
 * or another worker, whatever it does with os, io and FFI. For ever, and for every program it starts.
 *
 *     store      hidden: an empty folder stands over it in a mount namespace of this process; where those
 *                are refused, Landlock grants everything but the way to it
 *     host       not traceable, not to be signalled (Landlock, and the filter where that is too old)
 *     kernel     no_new_privs, no privileges that only administration needs, no calls of that kind
 *     limits     descriptors, core dumps, and memory that is not Lua's
 *
 * A confinement that this kernel or container does not offer is left out and not reported; a user that
 * cannot be taken on is an error. Called once, by the worker's only thread. */
#ifndef EVRT_WORKER_CONFINE_H
#define EVRT_WORKER_CONFINE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"

struct evrt_confine {
    const char *user;  /* to become, "" to stay */
    const char *store; /* folder to be kept from; need not exist */
    bool confine;      /* else only `user` counts */
    uint64_t memory;   /* workers.memory_limit */
};

/* Sets the bits of enum evrt_confined (frame/page.h) that hold from now on. */
EVRT_MUST_CHECK int evrt_confine(const struct evrt_confine *c, uint32_t *confined,
                                 struct evrt_error *err);

/* ---- Its parts ---- */

/* confine_store.c. Whether the store is out of reach by a mount namespace. Wants the privileges that come
 * with it, or makes a user namespace for them. */
bool evrt_confine_hide(const char *store);
/* Landlock. `store` not NULL: keeps this process from it, too. Returns bits of enum evrt_confined. */
uint32_t evrt_confine_landlock(const char *store);

/* confine_calls.c. The filter of system calls; whether it is in force. */
bool evrt_confine_calls(void);

#endif

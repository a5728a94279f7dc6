/* Values of keys that were read lately, in memory that the host shares with its workers, so that a script which reads a
 * key again need not ask and wait. One memfd for each node; the host writes, each worker has it read-only.
 *
 *     host: accepted write ─▶ update: what is here says the same as the overlay, or is not here
 *     worker: get ─▶ here, as of the last accepted write ─▶ the value
 *                └▶ not here, or being written just now ─▶ READ, which puts it here
 *
 * Nobody waits for anybody: a reader that meets the writer asks the host instead. Small values, which with their names
 * take EVRT_VALUES_ROOM bytes at most; others are never here. */
#ifndef EVRT_FRAME_VALUES_H
#define EVRT_FRAME_VALUES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"

enum { EVRT_VALUES_ROOM = 120 }; /* namespace, key and value */

struct evrt_values;

/* A name, and its hash: both sides have it from here. */
struct evrt_values_name {
    struct evrt_slice ns, key;
    uint64_t hash;
};
struct evrt_values_name evrt_values_name(struct evrt_slice ns, struct evrt_slice key);

/* The host's: so many bytes, cut to a power of two. *fd is for the workers, and the caller's. -errno, also when there
 * is no room for one set. */
EVRT_MUST_CHECK int evrt_values_create(struct evrt_values **out, size_t bytes, int *fd);
/* A worker's, read-only; NULL when the descriptor is nothing of that kind. */
struct evrt_values *evrt_values_open(int fd);
void evrt_values_close(struct evrt_values *v);

/* ---- The host's loop ---- */

/* The key has this value (n 0: none): makes a place for it. */
void evrt_values_put(struct evrt_values *v, const struct evrt_values_name *name,
                     struct evrt_slice value);
/* The same, but only where it has a place. */
void evrt_values_update(struct evrt_values *v, const struct evrt_values_name *name,
                        struct evrt_slice value);
/* It will be updated, and is not to be seen until then: what changes together is hidden first, so that whoever sees
 * some of it cannot see the rest as it was. */
void evrt_values_hide(struct evrt_values *v, const struct evrt_values_name *name);
void evrt_values_drop(struct evrt_values *v, const struct evrt_values_name *name);

/* ---- A worker ---- */

/* false: not known here. Else *value is in `room`, of EVRT_VALUES_ROOM bytes; n 0: the key has none. */
bool evrt_values_get(const struct evrt_values *v, const struct evrt_values_name *name, char *room,
                     struct evrt_slice *value);

#endif

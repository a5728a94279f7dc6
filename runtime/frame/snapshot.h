/* A snapshot: the frozen bytes of every script of a generation, in one sealed memfd that each worker
 * inherits. Workers load handlers and `require` from it, never from the disk, so that all workers of a
 * generation, whenever they start, run the same code.
 *
 *     "EVRTSNP1", u32 count, then for each file: u8 role, u32 path length, u32 name length, u32 size,
 *     path (shown in errors), name (module name for 'm', else ""), bytes
 *
 * Role 'h': a handler file, 'p': a policy file, each loaded in this order. 'm': a module for require. 'a':
 * `apply` of the configuration, path its file, bytes [{"line","events":[...],"policies":[...]}].
 * One thread. */
#ifndef EVRT_FRAME_SNAPSHOT_H
#define EVRT_FRAME_SNAPSHOT_H

#include "core/buf.h"

struct evrt_snapshot_file {
    char role;
    struct evrt_slice path, name, bytes;
};

void evrt_snapshot_start(struct evrt_buf *out);
void evrt_snapshot_add(struct evrt_buf *out, const struct evrt_snapshot_file *f);
/* Puts the bytes in a sealed, close-on-exec memfd; returns the descriptor (the caller's) or -errno. */
EVRT_MUST_CHECK int evrt_snapshot_seal(const struct evrt_buf *out);
/* Steps through mapped bytes: *at starts at 0. 1, 0 at the end, -EBADMSG. */
EVRT_MUST_CHECK int evrt_snapshot_next(struct evrt_slice snapshot, size_t *at,
                                       struct evrt_snapshot_file *out);

#endif

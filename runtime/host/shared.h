/* Values that the scripts of all workers share: a small map from key to value, changed by compare-and-set
 * and copied to every worker (share.c), so that reading costs nothing. It outlives workers and
 * generations, not the host. Bounded in entries and in bytes of a value. Pure; owner: the host. */
#ifndef EVRT_HOST_SHARED_H
#define EVRT_HOST_SHARED_H

#include <stdbool.h>

#include "core/buf.h"

struct evrt_shared;

struct evrt_shared_stats {
    uint64_t entries, bytes;             /* now */
    uint64_t changes, conflicts;         /* compare-and-sets that held, and that came too late */
    uint64_t refused_full, refused_size; /* shared.max_entries, shared.max_value_size */
    uint64_t expired;
};

/* A change, and what an entry is. Versions only rise, over all keys; 0: there is no such entry. */
struct evrt_shared_entry {
    struct evrt_slice key, value;
    uint64_t version;
};

/* Told of entries that went because their time was over. */
typedef void (*evrt_shared_gone_cb)(void *arg, const struct evrt_slice *key);

struct evrt_shared *evrt_shared_create(size_t max_entries, size_t max_value,
                                       evrt_shared_gone_cb gone, void *arg);
void evrt_shared_destroy(struct evrt_shared *s);

/* If the key's version is change->version: sets its value, or removes it (value.p NULL). An entry that is
 * not changed for ttl_ms (0: for ever) may go when room is needed. *now is what holds afterwards, valid
 * until the next change. 0, -EAGAIN: another version; -ENOSPC, -EMSGSIZE: a limit. */
EVRT_MUST_CHECK int evrt_shared_cas(struct evrt_shared *s, const struct evrt_shared_entry *change,
                                    int64_t ttl_ms, int64_t now_ns, struct evrt_shared_entry *now);
/* Steps through all: *at starts at 0. false at the end. No changes between. */
bool evrt_shared_next(const struct evrt_shared *s, size_t *at, struct evrt_shared_entry *out);
void evrt_shared_stats(const struct evrt_shared *s, struct evrt_shared_stats *out);

#endif

/* The key-value store's writes that the tables do not have yet: what the KV and SWEEP records come to, by key,
 * as absolute values. Pure but for `load`, which reads a key's row from the tables when an increment first
 * meets it: so what a key is after group G depends on the records up to G alone, however commits fall.
 * Embedded in the model (init/finish); the state thread's. */
#ifndef EVRT_STATE_KV_H
#define EVRT_STATE_KV_H

#include <stdbool.h>

#include "core/kv.h"
#include "core/map.h"
#include "state/state.h"

/* A value as it is kept. */
struct evrt_kv_row {
    struct evrt_slice value; /* n 0: there is none */
    int64_t expires_ms;      /* 0: never */
};

static inline bool evrt_kv_expired(const struct evrt_kv_row *row, int64_t at_ms) {
    return row->expires_ms != 0 && row->expires_ms <= at_ms;
}

/* Copies; the value that was there, which is to->value's own memory, is freed or written over. */
void evrt_kv_row_set(struct evrt_kv_row *to, const struct evrt_kv_row *from);

struct evrt_kv_pending;

struct evrt_state_kv {
    struct evrt_map keys; /* namespace, NUL, key -> struct evrt_kv_pending */
    size_t bytes;
    int64_t sweep_ms; /* rows that expired by then are gone; 0: none are */
    int error;        /* of load: nothing can be committed */
    /* Increments of what is no number, which changed nothing, and the last one's namespace and key. */
    uint64_t not_numbers;
    char not_number[EVRT_STATE_NAME_SIZE];
    /* The tables' row; value.n 0 when there is none. The slice is good until the next call. 0 or a negative
     * errno. NULL: there are no tables. */
    int (*load)(void *arg, struct evrt_slice ns, struct evrt_slice key, struct evrt_kv_row *row);
    void *arg;
};

void evrt_state_kv_init(struct evrt_state_kv *kv);
void evrt_state_kv_finish(struct evrt_state_kv *kv);

/* Apply the payload of a record. -EBADMSG: it does not decode, and nothing was changed. */
EVRT_MUST_CHECK int evrt_state_kv_apply(struct evrt_state_kv *kv, struct evrt_slice payload);
EVRT_MUST_CHECK int evrt_state_kv_sweep(struct evrt_state_kv *kv, struct evrt_slice payload);

static inline bool evrt_state_kv_changed(const struct evrt_state_kv *kv) {
    return kv->keys.count > 0 || kv->sweep_ms != 0;
}
/* Calls fn for each key that changed, ascending; row->value.n 0: it is no more. A result other than 0 ends the
 * walk and is returned. */
int evrt_state_kv_each(const struct evrt_state_kv *kv,
                       int (*fn)(void *arg, struct evrt_slice ns, struct evrt_slice key,
                                 const struct evrt_kv_row *row),
                       void *arg);
/* The tables have all of it. */
void evrt_state_kv_committed(struct evrt_state_kv *kv);

#endif

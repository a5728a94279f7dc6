/* Reading the key-value store's rows beside the state thread: a read-only connection of its own. Each reading
 * is between begin and end, and tells up to which group of the journal it is. create/destroy; one thread at a
 * time. */
#ifndef EVRT_STATE_READER_H
#define EVRT_STATE_READER_H

#include "state/kv.h"

struct evrt_state_reader;

/* Opens state.db of the store's folder. -ENOENT, or as in state/db.h. */
EVRT_MUST_CHECK int evrt_state_reader_open(struct evrt_state_reader **out, const char *store,
                                           struct evrt_error *err);
/* NULL is allowed. */
void evrt_state_reader_close(struct evrt_state_reader *r);

EVRT_MUST_CHECK int evrt_state_reader_begin(struct evrt_state_reader *r, uint64_t *applied,
                                            struct evrt_error *err);
void evrt_state_reader_end(struct evrt_state_reader *r);
/* value.n 0: there is none. The slice is good until the next call. */
EVRT_MUST_CHECK int evrt_state_reader_get(struct evrt_state_reader *r, struct evrt_slice ns,
                                          struct evrt_slice key, struct evrt_kv_row *row,
                                          struct evrt_error *err);
/* Rows whose keys begin with `prefix` and come behind `after` ("": any), ascending, at most `limit`. fn returns
 * false to end it. */
typedef bool (*evrt_state_row_fn)(void *arg, const struct evrt_slice *key,
                                  const struct evrt_kv_row *row);
struct evrt_state_range {
    struct evrt_slice ns, prefix, after;
    uint32_t limit;
};
EVRT_MUST_CHECK int evrt_state_reader_scan(struct evrt_state_reader *r,
                                           const struct evrt_state_range *range,
                                           evrt_state_row_fn fn, void *arg, struct evrt_error *err);
/* The namespace behind `after`, as `fn` is told it (as a key); not told: there is none. */
EVRT_MUST_CHECK int evrt_state_reader_namespace(struct evrt_state_reader *r,
                                                struct evrt_slice after, evrt_state_row_fn fn,
                                                void *arg, struct evrt_error *err);
/* When the `most`-th of the rows that expired by `at_ms`, or the last of them if they are fewer, expired; 0:
 * none has. */
EVRT_MUST_CHECK int evrt_state_reader_expired(struct evrt_state_reader *r, int64_t at_ms,
                                              uint32_t most, int64_t *expired_ms,
                                              struct evrt_error *err);

#endif

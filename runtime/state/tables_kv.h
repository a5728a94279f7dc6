/* The key-value store's rows. Same thread as the database. */
#ifndef EVRT_STATE_TABLES_KV_H
#define EVRT_STATE_TABLES_KV_H

#include "state/db.h"
#include "state/kv.h"

/* As struct evrt_state_kv's `load`; arg is the database. */
int evrt_tables_kv_load(void *db, struct evrt_slice ns, struct evrt_slice key,
                        struct evrt_kv_row *row);
/* Writes what changed, inside of a transaction. An SQLite code. */
int evrt_tables_kv_put(struct evrt_db *db, const struct evrt_state_kv *kv);
/* What a row's sum must be. */
uint64_t evrt_tables_kv_sum(struct evrt_slice ns, struct evrt_slice key,
                            const struct evrt_kv_row *row);

#endif

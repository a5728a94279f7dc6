/* See tables_kv.h. Millions of rows: they are not read at start; each has a sum, which is looked at whenever
 * the row is read. */
#include "state/tables_kv.h"

#include <errno.h>
#include <sqlite3.h>

#include "core/hash.h"

uint64_t evrt_tables_kv_sum(struct evrt_slice ns, struct evrt_slice key,
                            const struct evrt_kv_row *row) {
    uint64_t sum = evrt_hash64(ns.p, ns.n, 4);
    sum = evrt_hash64(key.p, key.n, sum);
    sum = evrt_hash64(row->value.p, row->value.n, sum);
    return evrt_hash64(&row->expires_ms, sizeof row->expires_ms, sum);
}

static int bind_name(sqlite3_stmt *to, struct evrt_slice ns, struct evrt_slice key) {
    int code = sqlite3_bind_text64(to, 1, ns.p, ns.n, SQLITE_STATIC, SQLITE_UTF8);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text64(to, 2, key.p, key.n, SQLITE_STATIC, SQLITE_UTF8);
    return code;
}

int evrt_tables_kv_load(void *arg, struct evrt_slice ns, struct evrt_slice key,
                        struct evrt_kv_row *row) {
    struct evrt_db *db = arg;
    sqlite3_stmt *get = db->statements[EVRT_DB_GET_KV];
    *row = (struct evrt_kv_row){{NULL, 0}, 0};
    sqlite3_reset(get); /* the slice of the last one ends here */
    if (bind_name(get, ns, key) != SQLITE_OK) return -ENOMEM;
    int code = sqlite3_step(get);
    if (code != SQLITE_ROW) sqlite3_reset(get);
    if (code == SQLITE_DONE) return 0;
    if (code != SQLITE_ROW) return -EIO;
    row->value.p = sqlite3_column_blob(get, 0);
    row->value.n = (size_t)sqlite3_column_bytes(get, 0);
    row->expires_ms = sqlite3_column_int64(get, 1);
    bool whole = evrt_tables_kv_sum(ns, key, row) == (uint64_t)sqlite3_column_int64(get, 2);
    return whole ? 0 : -EBADMSG;
}

static int put(void *arg, struct evrt_slice ns, struct evrt_slice key,
               const struct evrt_kv_row *row) {
    struct evrt_db *db = arg;
    bool gone = row->value.n == 0;
    sqlite3_stmt *to = db->statements[gone ? EVRT_DB_DELETE_KV : EVRT_DB_PUT_KV];
    int code = bind_name(to, ns, key);
    if (gone) return code == SQLITE_OK ? evrt_db_run(db, EVRT_DB_DELETE_KV) : code;
    if (code == SQLITE_OK)
        code = sqlite3_bind_blob64(to, 3, row->value.p, row->value.n, SQLITE_STATIC);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(to, 4, row->expires_ms);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(to, 5, (int64_t)evrt_tables_kv_sum(ns, key, row));
    return code == SQLITE_OK ? evrt_db_run(db, EVRT_DB_PUT_KV) : code;
}

/* A sweep is of rows as they were before: a key that was written after it is among the changes. */
int evrt_tables_kv_put(struct evrt_db *db, const struct evrt_state_kv *kv) {
    if (kv->error < 0) return kv->error == -EBADMSG ? SQLITE_CORRUPT : SQLITE_IOERR_READ;
    sqlite3_reset(db->statements[EVRT_DB_GET_KV]);
    int code = SQLITE_OK;
    if (kv->sweep_ms != 0) {
        code = sqlite3_bind_int64(db->statements[EVRT_DB_SWEEP_KV], 1, kv->sweep_ms);
        if (code == SQLITE_OK) code = evrt_db_run(db, EVRT_DB_SWEEP_KV);
    }
    return code == SQLITE_OK ? evrt_state_kv_each(kv, put, db) : code;
}

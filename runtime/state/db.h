/* One SQLite connection to a file with our tables: opening it, proving that it is whole and ours, and
 * running prepared statements. What the rows mean is in tables.c.
 * create/destroy; one thread at a time (the state thread, and before it starts the opening thread).
 *
 * Errors are told apart by code:
 *   -EBADMSG          damaged, or not ours: to be replaced        -ENOSPC  no space, to be tried again
 *   -EPROTONOSUPPORT  ours, but newer: hands off                  -EBUSY   another program holds it
 *   others            the place is at fault (rights, memory, I/O): a person must look */
#ifndef EVRT_STATE_DB_H
#define EVRT_STATE_DB_H

#include "evrt.h"

/* Of the tables; written into meta. Columns of meta never change, so that any version can read it. */
#define EVRT_DB_FORMAT 2

/* What every database holds: name, and the columns, which are compared with what the file says. The last one is
 * the file's end, and seldom empty: so a file that lacks its last byte is noticed. */
#define EVRT_DB_TABLES(X)                                                                                                                    \
    X(meta, "(id INTEGER PRIMARY KEY, format INTEGER NOT NULL, applied INTEGER NOT NULL,"                                                    \
            " digest INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT")                                                                        \
    X(subs,                                                                                                                                  \
      "(sub INTEGER PRIMARY KEY, name TEXT NOT NULL, from_seq INTEGER NOT NULL,"                                                             \
      " orphaned_ms INTEGER NOT NULL, paused_ms INTEGER NOT NULL, cursor INTEGER NOT NULL, seen INTEGER NOT NULL, matched INTEGER NOT NULL," \
      " done INTEGER NOT NULL, dead INTEGER NOT NULL, discarded INTEGER NOT NULL,"                                                           \
      " retrying INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT")                                                                            \
    X(ended,                                                                                                                                 \
      "(sub INTEGER NOT NULL, chunk INTEGER NOT NULL, ranges BLOB NOT NULL, UNIQUE (sub, chunk)) STRICT")                                    \
    X(epochs, "(sub INTEGER NOT NULL, from_seq INTEGER NOT NULL, patterns TEXT NOT NULL,"                                                    \
              " PRIMARY KEY (sub, from_seq)) STRICT, WITHOUT ROWID")                                                                         \
    X(jobs, "(id INTEGER PRIMARY KEY, record BLOB NOT NULL, sum INTEGER NOT NULL) STRICT")                                                   \
    X(copies,                                                                                                                                \
      "(sub INTEGER NOT NULL, seq INTEGER NOT NULL, event BLOB NOT NULL, sum INTEGER NOT NULL, UNIQUE (sub, seq)) STRICT")                   \
    X(retries,                                                                                                                               \
      "(sub INTEGER NOT NULL, seq INTEGER NOT NULL, attempt INTEGER NOT NULL,"                                                               \
      " crashes INTEGER NOT NULL, due_ms INTEGER NOT NULL, delay_ms INTEGER NOT NULL,"                                                       \
      " first_failed_ms INTEGER NOT NULL, last_failed_ms INTEGER NOT NULL,"                                                                  \
      " key INTEGER NOT NULL, error_type TEXT NOT NULL, message TEXT NOT NULL,"                                                              \
      " generation INTEGER NOT NULL, script INTEGER NOT NULL, type TEXT NOT NULL,"                                                           \
      " history BLOB NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY (sub, seq)) STRICT, WITHOUT ROWID")                                         \
    X(scheduled,                                                                                                                             \
      "(due_ms INTEGER NOT NULL, number INTEGER NOT NULL, record BLOB NOT NULL, sum INTEGER NOT NULL,"                                       \
      " PRIMARY KEY (due_ms, number)) STRICT, WITHOUT ROWID")                                                                                \
    X(kv,                                                                                                                                    \
      "(ns TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, expires_ms INTEGER NOT NULL,"                                              \
      " sum INTEGER NOT NULL, PRIMARY KEY (ns, key)) STRICT, WITHOUT ROWID")                                                                 \
    X(dead,                                                                                                                                  \
      "(n INTEGER PRIMARY KEY, seq INTEGER NOT NULL, sub INTEGER NOT NULL, attempt INTEGER NOT NULL,"                                        \
      " at_ms INTEGER NOT NULL, first_failed_ms INTEGER NOT NULL, reason INTEGER NOT NULL,"                                                  \
      " type TEXT NOT NULL, id TEXT NOT NULL, generation INTEGER NOT NULL, script INTEGER NOT NULL,"                                         \
      " error_type TEXT NOT NULL, message TEXT NOT NULL, traceback TEXT NOT NULL, history BLOB NOT NULL,"                                    \
      " sum INTEGER NOT NULL, UNIQUE (seq, sub), UNIQUE (sub, n)) STRICT")

/* Made before the last table. */
#define EVRT_DB_INDEX "CREATE INDEX kv_expires ON kv (expires_ms) WHERE expires_ms > 0"

#define EVRT_DB_STATEMENTS(X)                                                                     \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                   \
    X(COMMIT, "COMMIT")                                                                           \
    X(ROLLBACK, "ROLLBACK")                                                                       \
    X(GET_META, "SELECT format, applied, digest, sum FROM meta WHERE id = 1")                     \
    X(PUT_META, "REPLACE INTO meta VALUES (1, ?, ?, ?, ?)")                                       \
    X(ALL_SUBS, "SELECT * FROM subs ORDER BY sub")                                                \
    X(ALL_EPOCHS, "SELECT * FROM epochs ORDER BY sub, from_seq")                                  \
    X(ALL_DEAD, "SELECT * FROM dead ORDER BY n")                                                  \
    X(CHECK_DEAD, "SELECT * FROM dead")                                                           \
    X(DEAD_OF, "SELECT * FROM dead WHERE seq = ? ORDER BY sub")                                   \
    X(DEAD_IN, "SELECT seq FROM dead WHERE seq >= ? AND seq < ? AND sub = ?")                     \
    X(ALL_JOBS, "SELECT * FROM jobs ORDER BY id")                                                 \
    X(PUT_JOB, "REPLACE INTO jobs VALUES (?, ?, ?)")                                              \
    X(END_JOB, "DELETE FROM jobs WHERE id = ?")                                                   \
    X(PUT_SUB, "REPLACE INTO subs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")                \
    X(ALL_ENDED, "SELECT * FROM ended ORDER BY sub, chunk")                                       \
    X(PUT_ENDED, "REPLACE INTO ended VALUES (?, ?, ?)")                                           \
    X(DROP_ENDED, "DELETE FROM ended WHERE sub = ? AND chunk = ?")                                \
    X(FORGET_ENDED, "DELETE FROM ended WHERE sub = ?")                                            \
    X(PUT_EPOCH, "INSERT INTO epochs VALUES (?, ?, ?)")                                           \
    X(PUT_DEAD, "REPLACE INTO dead VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")      \
    X(END_DEAD, "DELETE FROM dead WHERE seq = ? AND sub = ?")                                     \
    X(DEAD_ONE, "SELECT * FROM dead WHERE seq = ? AND sub = ?")                                   \
    X(DEAD_DOWN, "SELECT * FROM dead WHERE n < ? ORDER BY n DESC")                                \
    X(DEAD_UP, "SELECT * FROM dead WHERE n > ? ORDER BY n")                                       \
    X(SUB_DEAD_DOWN, "SELECT * FROM dead WHERE sub = ? AND n < ? ORDER BY n DESC")                \
    X(SUB_DEAD_UP, "SELECT * FROM dead WHERE sub = ? AND n > ? ORDER BY n")                       \
    X(LAST_DEAD, "SELECT ifnull(max(n), 0) FROM dead")                                            \
    X(PUT_COPY, "REPLACE INTO copies SELECT ?1, ?2, ?3, ?4 WHERE"                                 \
                " EXISTS (SELECT 1 FROM dead WHERE seq = ?2 AND sub = ?1) OR"                     \
                " EXISTS (SELECT 1 FROM retries WHERE sub = ?1 AND seq = ?2)")                    \
    X(END_COPY, "DELETE FROM copies WHERE sub = ?1 AND seq = ?2 AND"                              \
                " NOT EXISTS (SELECT 1 FROM dead WHERE seq = ?2 AND sub = ?1) AND"                \
                " NOT EXISTS (SELECT 1 FROM retries WHERE sub = ?1 AND seq = ?2)")                \
    X(COPY_OF, "SELECT event, sum FROM copies WHERE sub = ? AND seq = ?")                         \
    X(ANY_COPY, "SELECT EXISTS (SELECT 1 FROM copies)")                                           \
    X(ALL_COPIES, "SELECT sub, seq, sum FROM copies ORDER BY sub, seq")                           \
    X(FORGET_COPIES, "DELETE FROM copies WHERE sub = ?")                                          \
    X(BARE_DEAD, "SELECT sub, seq FROM dead d WHERE seq >= ? AND seq < ? AND"                     \
                 " NOT EXISTS (SELECT 1 FROM copies c WHERE c.sub = d.sub AND c.seq = d.seq)")    \
    X(BARE_RETRIES, "SELECT sub, seq FROM retries r WHERE seq >= ? AND seq < ? AND sub = ? AND"   \
                    " NOT EXISTS (SELECT 1 FROM copies c WHERE c.sub = r.sub AND c.seq = r.seq)") \
    X(ALL_RETRIES, "SELECT * FROM retries ORDER BY sub, seq")                                     \
    X(RETRIES_AFTER, "SELECT * FROM retries WHERE (sub, seq) > (?, ?) ORDER BY sub, seq LIMIT ?") \
    X(RETRY_OF, "SELECT * FROM retries WHERE sub = ? AND seq = ?")                                \
    X(PUT_RETRY, "REPLACE INTO retries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")  \
    X(END_RETRY, "DELETE FROM retries WHERE sub = ? AND seq = ?")                                 \
    X(FORGET_RETRIES, "DELETE FROM retries WHERE sub = ?")                                        \
    X(ALL_SCHEDULED, "SELECT * FROM scheduled ORDER BY due_ms, number")                           \
    X(SCHEDULED_AFTER, "SELECT * FROM scheduled WHERE (due_ms, number) > (?, ?)"                  \
                       " ORDER BY due_ms, number LIMIT ?")                                        \
    X(SCHEDULED_OF, "SELECT * FROM scheduled WHERE due_ms = ? AND number = ?")                    \
    X(PUT_SCHEDULED, "REPLACE INTO scheduled VALUES (?, ?, ?, ?)")                                \
    X(END_SCHEDULED, "DELETE FROM scheduled WHERE due_ms = ? AND number = ?")                     \
    X(ALL_KV, "SELECT * FROM kv ORDER BY ns, key")                                                \
    X(GET_KV, "SELECT value, expires_ms, sum FROM kv WHERE ns = ? AND key = ?")                   \
    X(PUT_KV, "INSERT INTO kv VALUES (?, ?, ?, ?, ?) ON CONFLICT (ns, key) DO UPDATE SET"         \
              " value = excluded.value, expires_ms = excluded.expires_ms, sum = excluded.sum")    \
    X(DELETE_KV, "DELETE FROM kv WHERE ns = ? AND key = ?")                                       \
    X(SWEEP_KV, "DELETE FROM kv WHERE expires_ms > 0 AND expires_ms <= ?")                        \
    X(FORGET_SUB, "DELETE FROM subs WHERE sub = ?")                                               \
    X(FORGET_EPOCHS, "DELETE FROM epochs WHERE sub = ?")                                          \
    X(FORGET_DEAD, "DELETE FROM dead WHERE sub = ?")

enum evrt_db_statement {
#define X(name, sql) EVRT_DB_##name,
    EVRT_DB_STATEMENTS(X)
#undef X
        EVRT_DB_STATEMENT_COUNT,
};

struct sqlite3;
struct sqlite3_stmt;

struct evrt_db {
    struct sqlite3 *h;
    char *file; /* NULL: in memory */
    /* What the last call left in errno: sqlite3_system_errno() knows nothing of a failed COMMIT. */
    int system_errno;
    struct sqlite3_stmt *statements[EVRT_DB_STATEMENT_COUNT];
};

/* Opens the file, which must exist unless `create`; NULL is a fresh one in memory. */
EVRT_MUST_CHECK int evrt_db_open(struct evrt_db **out, const char *file, int create,
                                 struct evrt_error *err);
/* Commits nothing; a transaction under way is rolled back. NULL is allowed. */
void evrt_db_close(struct evrt_db *db);

/* Runs a statement whose parameters are bound and that gives no rows. 0 or an SQLite code. */
EVRT_MUST_CHECK int evrt_db_run(struct evrt_db *db, enum evrt_db_statement which);
/* Writes the meta row: the group up to which everything is in, and the digest of the other tables. */
EVRT_MUST_CHECK int evrt_db_put_meta(struct evrt_db *db, uint64_t applied, uint64_t digest);
/* What meta's sum must be. */
uint64_t evrt_db_meta_sum(uint64_t format, uint64_t applied, uint64_t digest);
/* Turns an SQLite code into an error as listed above; `doing`: "reading subs". */
int evrt_db_error(struct evrt_db *db, int code, const char *doing, struct evrt_error *err);

#endif

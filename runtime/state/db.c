/* See db.h.
 *
 * synchronous=NORMAL: in WAL mode a commit is then not synced, so a power cut may take the last ones,
 * but never the database's wholeness (checkpoints sync the log before the database is written, and the
 * database before the log is reused). Lost commits come back from the journal, which is synced.
 *
 * Being whole is proven in three steps, because each sees what the others do not: the text of the
 * schema, SQLite's own check of pages and indexes, and sums over what rows say (tables.c), since
 * a flipped bit in a number leaves every page well-formed. */
#include "state/db.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/hash.h"
#include "state/state.h"

#define BUSY_MS 2000
/* The page check reads the whole file. Dead letters can make that long, and the start must not wait for
 * it: what is not checked in this time is checked by its sums when it is read. */
#define CHECK_NS (1000 * INT64_C(1000000))
#define CHECK_EVERY 20000 /* steps of SQLite's machine between looks at the clock */

static const struct {
    const char *name, *sql;
} tables[] = {
#define X(name, columns) {#name, "CREATE TABLE " #name columns},
    EVRT_DB_TABLES(X)
#undef X
};

static const char *const statements[] = {
#define X(name, sql) sql,
    EVRT_DB_STATEMENTS(X)
#undef X
};

static const char *const settings[] = {
    "PRAGMA synchronous=NORMAL",      "PRAGMA secure_delete=0",
    "PRAGMA cache_size=-1024",        "PRAGMA temp_store=MEMORY",
    "PRAGMA wal_autocheckpoint=4000", "PRAGMA journal_size_limit=16777216",
    "PRAGMA trusted_schema=0",        "PRAGMA cell_size_check=1",
};

/* ---- Errors ---- */

static int no_space(int system_errno) {
    return system_errno == ENOSPC || system_errno == EDQUOT || system_errno == EFBIG;
}

static int classify(struct evrt_db *db, int code) {
    static const struct {
        int code, error;
    } map[] = {
        {SQLITE_FULL, -ENOSPC},        {SQLITE_BUSY, -EBUSY},       {SQLITE_LOCKED, -EBUSY},
        {SQLITE_CORRUPT, -EBADMSG},    {SQLITE_NOTADB, -EBADMSG},   {SQLITE_ERROR, -EBADMSG},
        {SQLITE_CONSTRAINT, -EBADMSG}, {SQLITE_MISMATCH, -EBADMSG}, {SQLITE_SCHEMA, -EBADMSG},
        {SQLITE_FORMAT, -EBADMSG},     {SQLITE_TOOBIG, -EBADMSG},   {SQLITE_NOMEM, -ENOMEM},
        {SQLITE_CANTOPEN, -EACCES},    {SQLITE_PERM, -EACCES},      {SQLITE_AUTH, -EACCES},
    };
    if ((code & 0xff) == SQLITE_IOERR) {
        if (code == SQLITE_IOERR_NOMEM) return -ENOMEM;
        if (no_space(db->system_errno)) return -ENOSPC;
        if (code == SQLITE_IOERR_SHORT_READ || code == SQLITE_IOERR_READ) return -EBADMSG;
        return -EIO;
    }
    /* A file that may be written and says it may not: the marks in its header are wrong. */
    if ((code & 0xff) == SQLITE_READONLY)
        return db->file != NULL && access(db->file, W_OK) == 0 ? -EBADMSG : -EROFS;
    for (size_t i = 0; i < sizeof map / sizeof map[0]; i++) {
        if (map[i].code == (code & 0xff)) return map[i].error;
    }
    return -EIO;
}

int evrt_db_error(struct evrt_db *db, int code, const char *doing, struct evrt_error *err) {
    const char *file = db->file != NULL ? db->file : "state in memory";
    const char *why = db->h != NULL ? sqlite3_errmsg(db->h) : sqlite3_errstr(code);
    int rc = db->h != NULL ? classify(db, code) : -ENOMEM;
    if (rc == -EBUSY) return evrt_error_set(err, rc, "%s is held by another program; end it", file);
    return evrt_error_set(err, rc, "%s: %s: %s", file, doing, why);
}

/* ---- Making and checking ---- */

static int exec(struct evrt_db *db, const char *sql, struct evrt_error *err) {
    errno = 0;
    int code = sqlite3_exec(db->h, sql, NULL, NULL, NULL);
    db->system_errno = errno;
    return code == SQLITE_OK ? 0 : evrt_db_error(db, code, sql, err);
}

/* Runs a query of one text column and tells whether its first row is `expected`. */
static int query_is(struct evrt_db *db, const char *sql, const char *name, const char *expected,
                    struct evrt_error *err) {
    sqlite3_stmt *query = NULL;
    int code = sqlite3_prepare_v2(db->h, sql, -1, &query, NULL);
    if (code == SQLITE_OK && name != NULL)
        code = sqlite3_bind_text(query, 1, name, -1, SQLITE_STATIC);
    if (code == SQLITE_OK) code = sqlite3_step(query);
    int rc = 0;
    if (code == SQLITE_ROW) {
        const char *is = (const char *)sqlite3_column_text(query, 0);
        if (is == NULL || strcmp(is, expected) != 0)
            rc = evrt_error_set(err, -EBADMSG, "%s is damaged: %s", db->file, is ? is : sql);
    } else if (code == SQLITE_DONE) {
        rc = evrt_error_set(err, -EBADMSG, "%s is not a state.db of evrt", db->file);
    } else if (code != SQLITE_INTERRUPT) {
        rc = evrt_db_error(db, code, sql, err);
    }
    sqlite3_finalize(query);
    return rc;
}

static int out_of_time(void *deadline) {
    return evrt_mono_ns() > *(int64_t *)deadline;
}

static int check_pages(struct evrt_db *db, struct evrt_error *err) {
    int64_t deadline = evrt_mono_ns() + CHECK_NS;
    sqlite3_progress_handler(db->h, CHECK_EVERY, out_of_time, &deadline);
    int rc = query_is(db, "PRAGMA integrity_check(1)", NULL, "ok", err);
    sqlite3_progress_handler(db->h, 0, NULL, NULL);
    return rc;
}

static int check_schema(struct evrt_db *db, struct evrt_error *err) {
    const char *sql = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?";
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof tables / sizeof tables[0]; i++)
        rc = query_is(db, sql, tables[i].name, tables[i].sql, err);
    sql = "SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?";
    return rc == 0 ? query_is(db, sql, "kv_expires", EVRT_DB_INDEX, err) : rc;
}

static int prepare(struct evrt_db *db, struct evrt_error *err) {
    for (int i = 0; i < EVRT_DB_STATEMENT_COUNT; i++) {
        int code = sqlite3_prepare_v3(db->h, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                      &db->statements[i], NULL);
        if (code != SQLITE_OK) return evrt_db_error(db, code, statements[i], err);
    }
    return 0;
}

static int make_tables(struct evrt_db *db, struct evrt_error *err) {
    int rc = exec(db, "BEGIN IMMEDIATE", err);
    size_t count = sizeof tables / sizeof tables[0];
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (i + 1 == count) rc = exec(db, EVRT_DB_INDEX, err);
        if (rc == 0) rc = exec(db, tables[i].sql, err);
    }
    if (rc == 0) rc = prepare(db, err);
    if (rc < 0) return rc;
    int code = evrt_db_put_meta(db, 0, 0);
    if (code == SQLITE_OK) code = evrt_db_run(db, EVRT_DB_COMMIT);
    return code == SQLITE_OK ? 0 : evrt_db_error(db, code, "making the tables", err);
}

static int setup(struct evrt_db *db, int create, struct evrt_error *err) {
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
    int code = sqlite3_open_v2(db->file != NULL ? db->file : ":memory:", &db->h, flags, NULL);
    if (code != SQLITE_OK) return evrt_db_error(db, code, "opening", err);
    sqlite3_extended_result_codes(db->h, 1);
    sqlite3_busy_timeout(db->h, BUSY_MS);
    int rc = db->file == NULL ? 0 : query_is(db, "PRAGMA journal_mode=WAL", NULL, "wal", err);
    for (size_t i = 0; rc == 0 && i < sizeof settings / sizeof settings[0]; i++)
        rc = exec(db, settings[i], err);
    return rc == 0 && create ? make_tables(db, err) : rc;
}

/* A version that is newer is told before anything else is judged: only meta is known of it. */
static int check_format(struct evrt_db *db, struct evrt_error *err) {
    sqlite3_stmt *query = NULL;
    int code = sqlite3_prepare_v2(db->h, statements[EVRT_DB_GET_META], -1, &query, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(query);
    int rc = 0;
    if (code == SQLITE_ROW) {
        uint64_t format = (uint64_t)sqlite3_column_int64(query, 0);
        uint64_t sum = evrt_db_meta_sum(format, (uint64_t)sqlite3_column_int64(query, 1),
                                        (uint64_t)sqlite3_column_int64(query, 2));
        if (sum != (uint64_t)sqlite3_column_int64(query, 3))
            rc = evrt_error_set(err, -EBADMSG, "%s is damaged: sum of meta", db->file);
        else if (format > EVRT_DB_FORMAT)
            rc = evrt_error_set(err, -EPROTONOSUPPORT,
                                "%s has format %llu, of a newer evrt; this one knows %d: run the "
                                "newer one, or move the file away to have it built again",
                                db->file, (unsigned long long)format, EVRT_DB_FORMAT);
        else if (format != EVRT_DB_FORMAT)
            rc = evrt_error_set(err, -EBADMSG, "%s is damaged: its format", db->file);
    } else if (code == SQLITE_DONE) {
        rc = evrt_error_set(err, -EBADMSG, "%s is damaged: it has no meta row", db->file);
    } else {
        rc = evrt_db_error(db, code, "reading meta", err);
    }
    sqlite3_finalize(query);
    return rc;
}

/* Finds out now, rather than at the first commit, whether the file can be written. */
static int check_writable(struct evrt_db *db, struct evrt_error *err) {
    int rc = exec(db, "BEGIN IMMEDIATE; UPDATE meta SET id = id; COMMIT", err);
    if (rc < 0 && !sqlite3_get_autocommit(db->h)) sqlite3_exec(db->h, "ROLLBACK", NULL, NULL, NULL);
    return rc == -ENOSPC ? 0 : rc;
}

int evrt_db_open(struct evrt_db **out, const char *file, int create, struct evrt_error *err) {
    struct evrt_db *db = evrt_zalloc(sizeof *db);
    db->file = file != NULL ? evrt_strdup(file) : NULL;
    int rc = setup(db, create, err);
    if (rc == 0 && !create) rc = check_format(db, err);
    if (rc == 0 && !create) rc = check_schema(db, err);
    if (rc == 0 && !create) rc = check_pages(db, err);
    if (rc == 0 && !create) rc = prepare(db, err);
    if (rc == 0 && !create) rc = check_writable(db, err);
    if (rc < 0) {
        evrt_db_close(db);
        db = NULL;
    }
    *out = db;
    return rc;
}

void evrt_db_close(struct evrt_db *db) {
    if (db == NULL) return;
    for (int i = 0; i < EVRT_DB_STATEMENT_COUNT; i++)
        sqlite3_finalize(db->statements[i]);
    sqlite3_close(db->h);
    free(db->file);
    free(db);
}

uint64_t evrt_db_meta_sum(uint64_t format, uint64_t applied, uint64_t digest) {
    const uint64_t row[] = {format, applied, digest};
    return evrt_hash64(row, sizeof row, 0);
}

int evrt_db_put_meta(struct evrt_db *db, uint64_t applied, uint64_t digest) {
    const uint64_t row[] = {EVRT_DB_FORMAT, applied, digest,
                            evrt_db_meta_sum(EVRT_DB_FORMAT, applied, digest)};
    sqlite3_stmt *put = db->statements[EVRT_DB_PUT_META];
    int code = SQLITE_OK;
    for (int i = 0; code == SQLITE_OK && i < 4; i++)
        code = sqlite3_bind_int64(put, i + 1, (int64_t)row[i]);
    return code == SQLITE_OK ? evrt_db_run(db, EVRT_DB_PUT_META) : code;
}

int evrt_db_run(struct evrt_db *db, enum evrt_db_statement which) {
    errno = 0;
    int code = sqlite3_step(db->statements[which]);
    db->system_errno = errno;
    sqlite3_reset(db->statements[which]);
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

const char *evrt_state_library(void) {
    return sqlite3_libversion();
}

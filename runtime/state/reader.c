/* See reader.h. In WAL mode readers neither wait for the writer nor hold it up; what they see is one commit's
 * state. Read-only, so that it never checkpoints (3.40 is not safe against two that do). */
#include "state/reader.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/error.h"
#include "state/tables_kv.h"

#define STATEMENTS(X)                                                                          \
    X(BEGIN, "BEGIN")                                                                          \
    X(END, "COMMIT")                                                                           \
    X(APPLIED, "SELECT applied FROM meta WHERE id = 1")                                        \
    X(GET, "SELECT value, expires_ms, sum FROM kv WHERE ns = ? AND key = ?")                   \
    X(SCAN, "SELECT key, value, expires_ms, sum FROM kv WHERE ns = ? AND key >= ? AND key < ?" \
            " ORDER BY key LIMIT ?")                                                           \
    X(NAMESPACE, "SELECT ns FROM kv WHERE ns > ? ORDER BY ns LIMIT 1")                         \
    X(EXPIRED, "SELECT max(expires_ms) FROM (SELECT expires_ms FROM kv"                        \
               " WHERE expires_ms > 0 AND expires_ms <= ? ORDER BY expires_ms LIMIT ?)")

enum {
#define X(name, sql) name,
    STATEMENTS(X)
#undef X
        STATEMENT_COUNT,
};

static const char *const statements[] = {
#define X(name, sql) sql,
    STATEMENTS(X)
#undef X
};

struct evrt_state_reader {
    sqlite3 *h;
    char *file;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    struct evrt_buf from, to;
};

static int fail(struct evrt_state_reader *r, int code, struct evrt_error *err) {
    bool is_damage = (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
    int rc = is_damage                          ? -EBADMSG
             : (code & 0xff) == SQLITE_CANTOPEN ? -ENOENT
             : (code & 0xff) == SQLITE_BUSY     ? -EBUSY
             : (code & 0xff) == SQLITE_NOMEM    ? -ENOMEM
                                                : -EIO;
    return evrt_error_set(err, rc, is_damage ? "%s is damaged: %s" : "reading %s: %s", r->file,
                          r->h != NULL ? sqlite3_errmsg(r->h) : sqlite3_errstr(code));
}

static int damaged(struct evrt_state_reader *r, struct evrt_error *err) {
    return evrt_error_set(err, -EBADMSG, "%s is damaged: sum of a row in kv", r->file);
}

int evrt_state_reader_open(struct evrt_state_reader **out, const char *store,
                           struct evrt_error *err) {
    struct evrt_state_reader *r = evrt_zalloc(sizeof *r);
    struct evrt_buf path = {0};
    evrt_buf_printf(&path, "%s/state.db", store);
    evrt_buf_cstr(&path);
    r->file = evrt_buf_release(&path);
    int code = sqlite3_open_v2(r->file, &r->h, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK) code = sqlite3_busy_timeout(r->h, 100);
    if (code == SQLITE_OK) code = sqlite3_exec(r->h, "PRAGMA cache_size=-1024", NULL, NULL, NULL);
    for (int i = 0; code == SQLITE_OK && i < STATEMENT_COUNT; i++)
        code = sqlite3_prepare_v3(r->h, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                  &r->statements[i], NULL);
    int rc = code == SQLITE_OK ? 0 : fail(r, code, err);
    if (rc < 0) {
        evrt_state_reader_close(r);
        r = NULL;
    }
    *out = r;
    return rc;
}

void evrt_state_reader_close(struct evrt_state_reader *r) {
    if (r == NULL) return;
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(r->statements[i]);
    sqlite3_close(r->h);
    evrt_buf_finish(&r->from);
    evrt_buf_finish(&r->to);
    free(r->file);
    free(r);
}

int evrt_state_reader_begin(struct evrt_state_reader *r, uint64_t *applied,
                            struct evrt_error *err) {
    int code = sqlite3_step(r->statements[BEGIN]);
    sqlite3_reset(r->statements[BEGIN]);
    if (code == SQLITE_DONE) {
        code = sqlite3_step(r->statements[APPLIED]);
        if (code == SQLITE_ROW)
            *applied = (uint64_t)sqlite3_column_int64(r->statements[APPLIED], 0);
        sqlite3_reset(r->statements[APPLIED]);
    }
    if (code == SQLITE_ROW) return 0;
    int rc = fail(r, code, err);
    evrt_state_reader_end(r);
    return rc;
}

void evrt_state_reader_end(struct evrt_state_reader *r) {
    sqlite3_reset(r->statements[GET]);
    if (sqlite3_get_autocommit(r->h)) return;
    int code = sqlite3_step(r->statements[END]);
    (void)code; /* nothing was written */
    sqlite3_reset(r->statements[END]);
}

static int bind(sqlite3_stmt *to, int at, struct evrt_slice s) {
    return sqlite3_bind_text64(to, at, s.n == 0 ? "" : s.p, s.n, SQLITE_STATIC, SQLITE_UTF8);
}

/* A row from its columns from `at` on; whether its sum agrees. */
static bool take_row(sqlite3_stmt *from, int at, struct evrt_slice ns, struct evrt_slice key,
                     struct evrt_kv_row *row) {
    row->value.p = sqlite3_column_blob(from, at);
    row->value.n = (size_t)sqlite3_column_bytes(from, at);
    row->expires_ms = sqlite3_column_int64(from, at + 1);
    return evrt_tables_kv_sum(ns, key, row) == (uint64_t)sqlite3_column_int64(from, at + 2);
}

int evrt_state_reader_get(struct evrt_state_reader *r, struct evrt_slice ns, struct evrt_slice key,
                          struct evrt_kv_row *row, struct evrt_error *err) {
    sqlite3_stmt *get = r->statements[GET];
    *row = (struct evrt_kv_row){{NULL, 0}, 0};
    sqlite3_reset(get);
    int code = bind(get, 1, ns);
    if (code == SQLITE_OK) code = bind(get, 2, key);
    if (code == SQLITE_OK) code = sqlite3_step(get);
    if (code == SQLITE_ROW) return take_row(get, 0, ns, key, row) ? 0 : damaged(r, err);
    return code == SQLITE_DONE ? 0 : fail(r, code, err);
}

/* No key has a byte below 0x20, nor 0xff. */
static void bounds(struct evrt_state_reader *r, const struct evrt_state_range *range) {
    bool behind = range->after.n != 0;
    evrt_buf_clear(&r->from);
    evrt_buf_clear(&r->to);
    if (behind)
        evrt_buf_put(&r->from, range->after.p, range->after.n);
    else
        evrt_buf_put(&r->from, range->prefix.p, range->prefix.n);
    if (behind) evrt_buf_putc(&r->from, '\x01');
    evrt_buf_put(&r->to, range->prefix.p, range->prefix.n);
    evrt_buf_putc(&r->to, '\xff');
}

int evrt_state_reader_scan(struct evrt_state_reader *r, const struct evrt_state_range *range,
                           evrt_state_row_fn fn, void *arg, struct evrt_error *err) {
    sqlite3_stmt *scan = r->statements[SCAN];
    struct evrt_kv_row row;
    bounds(r, range);
    int rc = 0, code = bind(scan, 1, range->ns);
    if (code == SQLITE_OK) code = bind(scan, 2, evrt_buf_slice(&r->from));
    if (code == SQLITE_OK) code = bind(scan, 3, evrt_buf_slice(&r->to));
    if (code == SQLITE_OK) code = sqlite3_bind_int64(scan, 4, range->limit);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(scan);
        if (code != SQLITE_ROW) break;
        struct evrt_slice key = {sqlite3_column_blob(scan, 0),
                                 (size_t)sqlite3_column_bytes(scan, 0)};
        if (!take_row(scan, 1, range->ns, key, &row)) rc = damaged(r, err);
        if (rc < 0 || !fn(arg, &key, &row)) break;
    }
    if (rc == 0 && code != SQLITE_DONE && code != SQLITE_ROW) rc = fail(r, code, err);
    sqlite3_reset(scan);
    return rc;
}

int evrt_state_reader_namespace(struct evrt_state_reader *r, struct evrt_slice after,
                                evrt_state_row_fn fn, void *arg, struct evrt_error *err) {
    sqlite3_stmt *get = r->statements[NAMESPACE];
    int rc = 0, code = bind(get, 1, after);
    if (code == SQLITE_OK) code = sqlite3_step(get);
    if (code == SQLITE_ROW)
        fn(arg,
           &(struct evrt_slice){sqlite3_column_blob(get, 0), (size_t)sqlite3_column_bytes(get, 0)},
           &(struct evrt_kv_row){{NULL, 0}, 0});
    else if (code != SQLITE_DONE)
        rc = fail(r, code, err);
    sqlite3_reset(get);
    return rc;
}

int evrt_state_reader_expired(struct evrt_state_reader *r, int64_t at_ms, uint32_t most,
                              int64_t *expired_ms, struct evrt_error *err) {
    sqlite3_stmt *get = r->statements[EXPIRED];
    *expired_ms = 0;
    int code = sqlite3_bind_int64(get, 1, at_ms);
    if (code == SQLITE_OK) code = sqlite3_bind_int64(get, 2, most);
    if (code == SQLITE_OK) code = sqlite3_step(get);
    int rc = code == SQLITE_ROW ? 0 : fail(r, code, err);
    if (code == SQLITE_ROW) *expired_ms = sqlite3_column_int64(get, 0);
    sqlite3_reset(get);
    return rc;
}

/* See scheduled.h. A row is the SCHEDULE record as it came, under its time and number. */
#include "state/scheduled.h"

#include <errno.h>
#include <sqlite3.h>

#include "core/bytes.h"
#include "core/hash.h"
#include "core/record.h"
#include "state/rows.h"

enum { HEADER = 8 };

void evrt_state_scheduled_finish(struct evrt_state_scheduled *s) {
    evrt_buf_finish(&s->changes);
}

int evrt_state_scheduled_apply(struct evrt_state_scheduled *s, uint32_t kind,
                               struct evrt_slice payload) {
    struct evrt_record_schedule added;
    struct evrt_record_unschedule ended;
    int rc = kind == EVRT_RECORD_SCHEDULE ? evrt_record_get_schedule(payload, &added)
                                          : evrt_record_get_unschedule(payload, &ended);
    if (rc < 0) return rc;
    char *p = evrt_buf_room(&s->changes, HEADER);
    evrt_set_u32(p, kind);
    evrt_set_u32(p + 4, (uint32_t)payload.n);
    s->changes.n += HEADER;
    evrt_buf_put(&s->changes, payload.p, payload.n);
    return 0;
}

/* Steps through: a change, whole. */
static bool next(const struct evrt_state_scheduled *s, size_t *at, uint32_t *kind,
                 struct evrt_slice *payload) {
    if (*at >= s->changes.n) return false;
    const char *p = s->changes.p + *at;
    *kind = evrt_get_u32(p);
    *payload = (struct evrt_slice){p + HEADER, evrt_get_u32(p + 4)};
    *at += HEADER + payload->n;
    return true;
}

int evrt_state_scheduled_change(const struct evrt_state_scheduled *s, int64_t due_ms,
                                uint64_t number, struct evrt_record_schedule *out) {
    struct evrt_slice payload;
    uint32_t kind;
    int found = 0;
    for (size_t at = 0; next(s, &at, &kind, &payload);) {
        /* Both begin with these; there may be ten thousands, and few are decoded. */
        if (evrt_get_u64(payload.p) != number || evrt_get_u64(payload.p + 8) != (uint64_t)due_ms)
            continue;
        if (kind != EVRT_RECORD_SCHEDULE)
            found = -ENOENT;
        else if (evrt_record_get_schedule(payload, out) == 0)
            found = 1;
    }
    return found;
}

/* ---- Into the table ---- */

static uint64_t row_sum(struct evrt_slice record) {
    return evrt_hash64(record.p, record.n, 5);
}

static int put(struct evrt_db *db, struct evrt_slice payload) {
    struct evrt_record_schedule r;
    if (evrt_record_get_schedule(payload, &r) < 0) return SQLITE_INTERNAL; /* it was checked */
    struct evrt_binder b = {.to = db->statements[EVRT_DB_PUT_SCHEDULED]};
    evrt_bind_u64(&b, (uint64_t)r.due_ms);
    evrt_bind_u64(&b, r.number);
    evrt_bind_blob(&b, payload);
    evrt_bind_u64(&b, row_sum(payload));
    return evrt_bind_run(db, &b, EVRT_DB_PUT_SCHEDULED);
}

static int end(struct evrt_db *db, struct evrt_slice payload) {
    struct evrt_record_unschedule r;
    if (evrt_record_get_unschedule(payload, &r) < 0) return SQLITE_INTERNAL;
    struct evrt_binder b = {.to = db->statements[EVRT_DB_END_SCHEDULED]};
    evrt_bind_u64(&b, (uint64_t)r.due_ms);
    evrt_bind_u64(&b, r.number);
    return evrt_bind_run(db, &b, EVRT_DB_END_SCHEDULED);
}

int evrt_tables_put_scheduled(struct evrt_db *db, const struct evrt_state_scheduled *s) {
    struct evrt_slice payload;
    uint32_t kind;
    int code = SQLITE_OK;
    for (size_t at = 0; code == SQLITE_OK && next(s, &at, &kind, &payload);)
        code = kind == EVRT_RECORD_SCHEDULE ? put(db, payload) : end(db, payload);
    return code;
}

/* ---- Out of it ---- */

struct walk {
    evrt_state_scheduled_fn fn; /* NULL: only a check */
    void *arg;
};

static int give(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    const struct walk *walk = arg;
    struct evrt_record_schedule r;
    struct evrt_slice record = evrt_column_slice(row, 2);
    if (row_sum(record) != evrt_column_u64(row, 3) || evrt_record_get_schedule(record, &r) < 0 ||
        r.due_ms != (int64_t)evrt_column_u64(row, 0) || r.number != evrt_column_u64(row, 1))
        return evrt_rows_damaged(db, "sum of a row in scheduled", err);
    if (walk->fn != NULL) walk->fn(walk->arg, &r);
    return 0;
}

int evrt_tables_check_scheduled(struct evrt_db *db, struct evrt_error *err) {
    struct walk walk = {NULL, NULL};
    return evrt_rows_each(db, EVRT_DB_ALL_SCHEDULED, give, &walk, err);
}

static int walk_rows(struct evrt_db *db, const struct evrt_binder *b, enum evrt_db_statement which,
                     evrt_state_scheduled_fn fn, void *arg, struct evrt_error *err) {
    struct walk walk = {fn, arg};
    return evrt_bind_each(db, b, which, give, &walk, err);
}

int evrt_tables_scheduled(struct evrt_db *db, int64_t due_ms, uint64_t number, uint64_t limit,
                          evrt_state_scheduled_fn fn, void *arg, struct evrt_error *err) {
    struct evrt_binder b = {.to = db->statements[EVRT_DB_SCHEDULED_AFTER]};
    evrt_bind_u64(&b, (uint64_t)due_ms);
    evrt_bind_u64(&b, number);
    evrt_bind_u64(&b, limit);
    return walk_rows(db, &b, EVRT_DB_SCHEDULED_AFTER, fn, arg, err);
}

int evrt_tables_scheduled_one(struct evrt_db *db, int64_t due_ms, uint64_t number,
                              evrt_state_scheduled_fn fn, void *arg, struct evrt_error *err) {
    struct evrt_binder b = {.to = db->statements[EVRT_DB_SCHEDULED_OF]};
    evrt_bind_u64(&b, (uint64_t)due_ms);
    evrt_bind_u64(&b, number);
    return walk_rows(db, &b, EVRT_DB_SCHEDULED_OF, fn, arg, err);
}

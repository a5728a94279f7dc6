/* Reading what failed: retries and dead letters that are in the tables. See tables.h. */
#include <errno.h>
#include <sqlite3.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/pattern.h"
#include "state/tables_failed.h"

/* ---- Dead letters of one event ---- */

struct dead_walk {
    struct evrt_buf scratch;
    evrt_state_letter_fn fn;
    void *arg;
};

static int give_dead(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    struct dead_walk *walk = arg;
    struct evrt_state_letter l;
    int rc = evrt_failed_get_dead(db, row, &walk->scratch, &l, err);
    if (rc == 0) walk->fn(walk->arg, &l);
    return rc;
}

int evrt_tables_dead(struct evrt_db *db, uint64_t seq, evrt_state_letter_fn fn, void *arg,
                     struct evrt_error *err) {
    struct dead_walk walk = {.fn = fn, .arg = arg};
    struct evrt_binder b = {.to = db->statements[EVRT_DB_DEAD_OF]};
    evrt_bind_u64(&b, seq);
    int rc = evrt_bind_each(db, &b, EVRT_DB_DEAD_OF, give_dead, &walk, err);
    evrt_buf_finish(&walk.scratch);
    return rc;
}

struct seq_walk {
    void (*fn)(void *, uint64_t seq);
    void *arg;
};

static int give_seq(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    const struct seq_walk *walk = arg;
    (void)db, (void)err;
    walk->fn(walk->arg, evrt_column_u64(row, 0));
    return 0;
}

int evrt_tables_dead_in(struct evrt_db *db, uint32_t sub, uint64_t from, uint64_t to,
                        void (*fn)(void *, uint64_t), void *arg, struct evrt_error *err) {
    struct seq_walk walk = {fn, arg};
    struct evrt_binder b = {.to = db->statements[EVRT_DB_DEAD_IN]};
    evrt_bind_u64(&b, from);
    evrt_bind_u64(&b, to);
    evrt_bind_u64(&b, sub);
    return evrt_bind_each(db, &b, EVRT_DB_DEAD_IN, give_seq, &walk, err);
}

/* ---- Lists of dead letters ---- */

struct letter_walk {
    struct evrt_buf scratch;
    const struct evrt_state_letters *which;
    struct evrt_state_letters_end *end;
    uint64_t count, looked_at;
    int64_t deadline_ns;
    evrt_state_letter_fn fn;
    void *arg;
};

enum { LOOK_EVERY = 64 };

/* The columns that are asked for, before anything else of the row is looked at. */
static bool is_wanted(const struct evrt_state_letters *w, sqlite3_stmt *row) {
    int64_t at = sqlite3_column_int64(row, 4);
    if (w->sub != 0 && evrt_column_u64(row, 2) != w->sub) return false;
    if ((w->from_ms != 0 && at < w->from_ms) || (w->to_ms != 0 && at >= w->to_ms)) return false;
    if (w->reason >= 0 && sqlite3_column_int(row, 6) != w->reason) return false;
    return w->type.p == NULL || evrt_pattern_match(w->type, evrt_column_slice(row, 7));
}

/* 1: the page or its time is over. */
static int give_letter(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    struct letter_walk *walk = arg;
    const struct evrt_state_letters *w = walk->which;
    uint64_t n = evrt_column_u64(row, 0);
    if (w->ascending && n > w->until) return 1;
    if (walk->count == w->limit ||
        (++walk->looked_at % LOOK_EVERY == 0 && evrt_mono_ns() > walk->deadline_ns)) {
        walk->end->more = true;
        return 1;
    }
    walk->end->at = n;
    if (!is_wanted(w, row)) return 0;
    struct evrt_state_letter l;
    int rc = evrt_failed_get_dead(db, row, &walk->scratch, &l, err);
    if (rc < 0) return rc;
    walk->count++;
    walk->fn(walk->arg, &l);
    return 0;
}

int evrt_tables_letters(struct evrt_db *db, const struct evrt_state_letters *which,
                        evrt_state_letter_fn fn, void *arg, struct evrt_state_letters_end *end,
                        struct evrt_error *err) {
    struct letter_walk walk = {
        .which = which,
        .end = end,
        .deadline_ns = evrt_mono_ns() + which->budget_ms * 1000000,
        .fn = fn,
        .arg = arg,
    };
    enum evrt_db_statement one =
        which->sub != 0    ? which->ascending ? EVRT_DB_SUB_DEAD_UP : EVRT_DB_SUB_DEAD_DOWN
        : which->ascending ? EVRT_DB_DEAD_UP
                           : EVRT_DB_DEAD_DOWN;
    uint64_t after = which->after;
    if (after == 0 && !which->ascending) after = INT64_MAX;
    *end = (struct evrt_state_letters_end){.at = which->after};
    struct evrt_binder b = {.to = db->statements[one]};
    if (which->sub != 0) evrt_bind_u64(&b, which->sub);
    evrt_bind_u64(&b, after);
    int rc = evrt_bind_each(db, &b, one, give_letter, &walk, err);
    evrt_buf_finish(&walk.scratch);
    return rc < 0 ? rc : 0;
}

int evrt_tables_letter(struct evrt_db *db, uint32_t sub, uint64_t seq, evrt_state_letter_fn fn,
                       void *arg, struct evrt_error *err) {
    struct dead_walk walk = {.fn = fn, .arg = arg};
    struct evrt_binder b = {.to = db->statements[EVRT_DB_DEAD_ONE]};
    evrt_bind_u64(&b, seq);
    evrt_bind_u64(&b, sub);
    int rc = evrt_bind_each(db, &b, EVRT_DB_DEAD_ONE, give_dead, &walk, err);
    evrt_buf_finish(&walk.scratch);
    return rc;
}

int evrt_tables_last_letter(struct evrt_db *db, uint64_t *n, struct evrt_error *err) {
    return evrt_rows_each(db, EVRT_DB_LAST_DEAD, evrt_rows_number, n, err);
}

/* ---- Retries ---- */

struct retry_walk {
    struct evrt_buf scratch;
    evrt_state_retry_fn fn;
    void *arg;
};

static int give_retry(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    struct retry_walk *walk = arg;
    struct evrt_failed_retry r;
    int rc = evrt_failed_get_retry(db, row, &walk->scratch, &r, err);
    if (rc == 0) walk->fn(walk->arg, r.sub, &r.retry);
    return rc;
}

static int walk_retries(struct evrt_db *db, const struct evrt_binder *b,
                        enum evrt_db_statement which, evrt_state_retry_fn fn, void *arg,
                        struct evrt_error *err) {
    struct retry_walk walk = {.fn = fn, .arg = arg};
    int rc = evrt_bind_each(db, b, which, give_retry, &walk, err);
    evrt_buf_finish(&walk.scratch);
    return rc;
}

int evrt_tables_retries(struct evrt_db *db, uint32_t sub, uint64_t seq, uint64_t limit,
                        evrt_state_retry_fn fn, void *arg, struct evrt_error *err) {
    struct evrt_binder b = {.to = db->statements[EVRT_DB_RETRIES_AFTER]};
    evrt_bind_u64(&b, sub);
    evrt_bind_u64(&b, seq);
    evrt_bind_u64(&b, limit);
    return walk_retries(db, &b, EVRT_DB_RETRIES_AFTER, fn, arg, err);
}

int evrt_tables_retry(struct evrt_db *db, uint32_t sub, uint64_t seq, evrt_state_retry_fn fn,
                      void *arg, struct evrt_error *err) {
    struct evrt_binder b = {.to = db->statements[EVRT_DB_RETRY_OF]};
    evrt_bind_u64(&b, sub);
    evrt_bind_u64(&b, seq);
    return walk_retries(db, &b, EVRT_DB_RETRY_OF, fn, arg, err);
}

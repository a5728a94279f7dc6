/* See recover.h. Every step can be cut short: state.db is renamed away before its log, a snapshot is put
 * in place by one rename after it is synced, and a state.db that is not there never meets an old log. */
#include "state/recover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/error.h"
#include "state/files.h"
#include "state/state.h"

struct recovery {
    char *file;
    uint64_t next_group, first_group; /* 0: not known */
    struct evrt_snapshots *snapshots;
    struct evrt_db *db;
    struct evrt_model *model;
};

static void close_db(struct recovery *r) {
    evrt_db_close(r->db);
    r->db = NULL;
    evrt_model_finish(r->model);
    evrt_model_init(r->model);
}

/* -EBADMSG: not to be used. */
static int try_file(struct recovery *r, struct evrt_error *err) {
    int rc = evrt_db_open(&r->db, r->file, 0, err);
    if (rc == 0) rc = evrt_tables_load(r->db, r->model, err);
    if (rc == 0 && r->next_group > 0 && r->model->applied >= r->next_group)
        rc = evrt_error_set(err, -EBADMSG,
                            "%s is of group %" PRIu64 ", the journal ends before %" PRIu64, r->file,
                            r->model->applied, r->next_group);
    if (rc == 0 && r->model->applied + 1 < r->first_group)
        rc = evrt_error_set(err, -EBADMSG,
                            "%s is of group %" PRIu64 ", the journal begins with %" PRIu64, r->file,
                            r->model->applied, r->first_group);
    if (rc < 0) close_db(r);
    return rc;
}

static int put_aside(struct recovery *r, struct evrt_error *err) {
    int rc = evrt_state_file_set_aside(r->file);
    if (rc == 0 || rc == -ENOENT) return 0;
    return evrt_error_set(err, rc, "cannot rename the damaged %s: %s", r->file, strerror(-rc));
}

/* Newest first, until one opens that the journal goes on from. 0, or -ENOENT when none does. */
static int try_snapshots(struct recovery *r, struct evrt_error *err) {
    char *temp = evrt_state_file_path("%s.new", r->file);
    uint64_t before = r->next_group > 0 ? r->next_group : UINT64_MAX;
    int rc;
    do {
        rc = evrt_snapshots_restore(r->snapshots, before, temp, &before);
        if (rc == 0 && before + 1 < r->first_group) {
            unlink(temp);
            rc = -ENOENT;
        }
        if (rc == -ENOENT) break;
        if (rc == 0 && rename(temp, r->file) < 0) rc = -errno;
        if (rc < 0) {
            rc = evrt_error_set(err, rc, "cannot restore %s from a snapshot: %s", r->file,
                                strerror(-rc));
            break;
        }
        rc = try_file(r, err);
        if (rc == -EBADMSG && put_aside(r, err) < 0) rc = err != NULL ? err->code : -EIO;
    } while (rc == -EBADMSG);
    free(temp);
    return rc;
}

/* `fresh`: an empty one is nothing to tell. */
static int replace(struct recovery *r, const char *reason, bool fresh, char restored[160],
                   struct evrt_error *err) {
    evrt_state_file_unlink_log(r->file);
    int rc = try_snapshots(r, err);
    if (rc == -ENOENT && r->first_group > 1) {
        rc = evrt_error_set(
            err, -ENODATA,
            "%.100s, no snapshot takes its place, and the journal begins with group %" PRIu64
            ": what was done and kept before that is not known; restore a backup",
            reason, r->first_group);
    } else if (rc == -ENOENT) {
        rc = evrt_db_open(&r->db, r->file, 1, err);
        if (rc == 0 && !fresh)
            snprintf(restored, 160, "%.100s; starting from an empty one", reason);
    } else if (rc == 0) {
        snprintf(restored, 160, "%.100s; starting from snapshot %" PRIu64, reason,
                 r->model->applied);
    }
    return rc;
}

int evrt_state_recover(const struct evrt_state_options *options, struct evrt_snapshots *snapshots,
                       struct evrt_db **db, struct evrt_model *model, char restored[160],
                       struct evrt_error *err) {
    struct evrt_error why;
    const char *store = options->path;
    uint64_t next_group = options->next_group;
    struct recovery r = {
        .file = evrt_state_file_path("%s/state.db", store),
        .next_group = next_group,
        .first_group = options->first_group,
        .snapshots = snapshots,
        .model = model,
    };
    restored[0] = '\0';
    if (next_group > 0) evrt_snapshots_set_aside(snapshots, next_group);
    int rc;
    if (evrt_state_file_exists(r.file)) {
        rc = try_file(&r, &why);
        if (rc == -EBADMSG) {
            rc = put_aside(&r, err);
            /* The reason is short: it does without the store's path. */
            size_t skip = strncmp(why.message, store, strlen(store)) == 0 ? strlen(store) + 1 : 0;
            if (rc == 0) rc = replace(&r, why.message + skip, false, restored, err);
        } else if (rc < 0) {
            evrt_error_set(err, rc, "%s", why.message);
        }
    } else {
        rc = replace(&r, "state.db is missing", next_group <= 1, restored, err);
    }
    free(r.file);
    *db = r.db;
    return rc;
}

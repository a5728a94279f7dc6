/* See snapshots.h. The sum is written before either name is final, and the folder is synced after, so a
 * power cut leaves a pair that agrees, or a leftover that the next snapshot removes. */
#include "state/snapshots.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/error.h"
#include "state/files.h"
#include "state/tables.h"

#define STEP_PAGES 256 /* 1 MiB: a few ms, so that records and jobs between steps do not wait */
#define SUM_FORMAT "evrt-snapshot 1 %016" PRIx64 " %" PRIu64 "\n"

void evrt_snapshots_init(struct evrt_snapshots *s, const char *store) {
    *s = (struct evrt_snapshots){
        .folder = evrt_state_file_path("%s/snapshots", store),
        .temp = evrt_state_file_path("%s/snapshots/copy.tmp", store),
    };
}

/* Ends the copying; what was copied is closed. */
static int end_copy(struct evrt_snapshots *s) {
    int code = sqlite3_backup_finish(s->backup);
    s->backup = NULL;
    sqlite3_close(s->copy);
    s->copy = NULL;
    return code;
}

static void remove_temp(struct evrt_snapshots *s) {
    unlink(s->temp);
    evrt_state_file_unlink_log(s->temp);
}

void evrt_snapshots_finish(struct evrt_snapshots *s) {
    if (s->copy != NULL) {
        end_copy(s);
        remove_temp(s);
    }
    free(s->folder);
    free(s->temp);
    *s = (struct evrt_snapshots){0};
}

/* ---- Those on disk ---- */

static char *path_of(const struct evrt_snapshots *s, uint64_t group, const char *suffix) {
    return evrt_state_file_path("%s/%016" PRIx64 ".db%s", s->folder, group, suffix);
}

static bool parse_name(const char *name, uint64_t *group) {
    if (strlen(name) != 19 || strcmp(name + 16, ".db") != 0) return false;
    if (strspn(name, "0123456789abcdef") != 16) return false;
    *group = strtoull(name, NULL, 16);
    return *group > 0;
}

static int newest_first(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x > y ? -1 : x < y;
}

/* Groups of all that are named so, newest first; the caller frees. */
static uint64_t *list(const struct evrt_snapshots *s, size_t *count) {
    struct evrt_buf groups;
    evrt_buf_init(&groups);
    DIR *dir = opendir(s->folder);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        uint64_t group;
        if (parse_name(e->d_name, &group)) evrt_buf_put(&groups, &group, sizeof group);
    }
    if (dir != NULL) closedir(dir);
    *count = groups.n / sizeof(uint64_t);
    uint64_t *all = (uint64_t *)(void *)evrt_buf_release(&groups);
    if (*count > 1) qsort(all, *count, sizeof *all, newest_first);
    return all;
}

/* The text that must stand in the sum of this file. */
static int sum_text(const char *file, char text[96]) {
    uint64_t hash, size;
    int rc = evrt_state_file_hash(file, &hash, &size);
    return rc < 0 ? rc : snprintf(text, 96, SUM_FORMAT, hash, size);
}

static bool is_good(const struct evrt_snapshots *s, uint64_t group) {
    char *file = path_of(s, group, ""), *sum = path_of(s, group, ".sum");
    char expected[96], found[96];
    int n = sum_text(file, expected);
    FILE *f = n > 0 ? fopen(sum, "re") : NULL;
    bool good = false;
    if (f != NULL) {
        good = fread(found, 1, sizeof found, f) == (size_t)n &&
               memcmp(found, expected, (size_t)n) == 0;
        fclose(f);
    }
    free(file);
    free(sum);
    return good;
}

int evrt_snapshots_restore(struct evrt_snapshots *s, uint64_t before, const char *to,
                           uint64_t *group) {
    size_t count;
    uint64_t *all = list(s, &count);
    int rc = -ENOENT;
    for (size_t i = 0; rc == -ENOENT && i < count; i++) {
        if (all[i] >= before || !is_good(s, all[i])) continue;
        char *file = path_of(s, all[i], "");
        *group = all[i];
        rc = evrt_state_file_copy(file, to);
        free(file);
    }
    free(all);
    return rc;
}

static const char *const suffixes[] = {"", ".sum"};

void evrt_snapshots_set_aside(struct evrt_snapshots *s, uint64_t from) {
    size_t count;
    uint64_t *all = list(s, &count);
    for (size_t i = 0; i < count && all[i] >= from; i++) {
        for (size_t k = 0; k < 2; k++) {
            char *file = path_of(s, all[i], suffixes[k]);
            char *aside = evrt_state_file_path("%s.aside", file);
            if (rename(file, aside) < 0) unlink(file);
            free(file);
            free(aside);
        }
    }
    free(all);
}

void evrt_snapshots_verify(struct evrt_snapshots *s) {
    size_t count, found = 0;
    uint64_t *all = list(s, &count);
    for (size_t i = 0; i < count && found < 2; i++) {
        if (is_good(s, all[i])) s->good[found++] = all[i];
    }
    free(all);
    s->verified = true;
}

int evrt_snapshots_open(const struct evrt_snapshots *s, uint64_t *group) {
    *group = s->good[0];
    if (*group == 0 || s->folder == NULL) return -ENOENT;
    char *file = path_of(s, *group, "");
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) fd = -errno;
    free(file);
    return fd;
}

/* Everything but the two that are good. */
static void remove_others(struct evrt_snapshots *s) {
    size_t count;
    uint64_t *all = list(s, &count);
    for (size_t i = 0; i < count; i++) {
        if (all[i] == s->good[0] || all[i] == s->good[1]) continue;
        for (size_t k = 0; k < 2; k++) {
            char *file = path_of(s, all[i], suffixes[k]);
            unlink(file);
            free(file);
        }
    }
    free(all);
}

/* ---- Making one ---- */

static int copy_error(struct evrt_snapshots *s, int code, struct evrt_error *err) {
    bool full = (code & 0xff) == SQLITE_FULL;
    return evrt_error_set(err, full ? -ENOSPC : -EIO, "%s: copying state.db: %s", s->temp,
                          sqlite3_errstr(code));
}

int evrt_snapshots_begin(struct evrt_snapshots *s, struct evrt_db *db, struct evrt_error *err) {
    assert(s->copy == NULL);
    if (!s->verified) evrt_snapshots_verify(s);
    int rc = evrt_state_file_mkdir(s->folder);
    if (rc < 0) return evrt_error_set(err, rc, "cannot make %s: %s", s->folder, strerror(-rc));
    remove_temp(s);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int code = sqlite3_open_v2(s->temp, &s->copy, flags, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(s->copy,
                            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
                            "PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_size=-256",
                            NULL, NULL, NULL);
    if (code == SQLITE_OK) {
        s->backup = sqlite3_backup_init(s->copy, "main", db->h, "main");
        if (s->backup == NULL) code = sqlite3_errcode(s->copy);
    }
    if (code == SQLITE_OK) return 0;
    rc = copy_error(s, code, err);
    end_copy(s);
    remove_temp(s);
    return rc;
}

/* A copy of pages copies their damage too: only what opens and loads is worth relying on. */
static int check_copy(struct evrt_snapshots *s, uint64_t group, struct evrt_error *err) {
    struct evrt_db *db;
    struct evrt_model model;
    evrt_model_init(&model);
    int rc = evrt_db_open(&db, s->temp, 0, err);
    if (rc == 0) rc = evrt_tables_load(db, &model, err);
    if (rc == 0 && model.applied != group)
        rc = evrt_error_set(err, -EBADMSG, "%s is of group %" PRIu64 ", not %" PRIu64, s->temp,
                            model.applied, group);
    evrt_db_close(db);
    evrt_model_finish(&model);
    return rc;
}

static int publish_copy(struct evrt_snapshots *s, uint64_t group) {
    char *file = path_of(s, group, ""), *sum = path_of(s, group, ".sum");
    char *sum_temp = evrt_state_file_path("%s.sum", s->temp);
    char text[96];
    int rc = evrt_state_file_sync(s->temp);
    int n = rc == 0 ? sum_text(s->temp, text) : rc;
    rc = n < 0 ? n : evrt_state_file_write(sum_temp, text, (size_t)n);
    if (rc == 0 && rename(sum_temp, sum) < 0) rc = -errno;
    if (rc == 0 && rename(s->temp, file) < 0) rc = -errno;
    if (rc == 0) rc = evrt_state_file_sync(s->folder);
    free(file);
    free(sum);
    free(sum_temp);
    return rc;
}

static int finish_copy(struct evrt_snapshots *s, uint64_t group, struct evrt_error *err) {
    int code = end_copy(s);
    if (code != SQLITE_OK) return copy_error(s, code, err);
    int rc = check_copy(s, group, err);
    if (rc < 0) return rc;
    rc = publish_copy(s, group);
    if (rc < 0)
        return evrt_error_set(err, rc, "cannot keep a snapshot in %s: %s", s->folder,
                              strerror(-rc));
    if (s->good[0] != group) {
        s->good[1] = s->good[0];
        s->good[0] = group;
    }
    remove_others(s);
    return 0;
}

int evrt_snapshots_step(struct evrt_snapshots *s, uint64_t group, struct evrt_error *err) {
    int code = sqlite3_backup_step(s->backup, STEP_PAGES);
    if (code == SQLITE_OK) return 1;
    int rc;
    if (code == SQLITE_DONE) {
        rc = finish_copy(s, group, err);
    } else {
        end_copy(s);
        rc = copy_error(s, code, err);
    }
    if (rc < 0) remove_temp(s);
    return rc;
}

/* A backup of the running node, made on a thread of its own: it mostly waits for the disk, and the pool's
 * few threads are for short jobs.
 *
 *     pin everything ─▶ snapshot of state.db, of group g ─▶ note the journal as of group G, G >= g
 *     ─▶ copy the snapshot as state.db ─▶ each segment, oldest first; the pin moves on behind it
 *     ─▶ sync the folders ─▶ backup.json: now it is whole
 *
 * What runs on DIR later finds a state.db of group g and the journal up to G, as after a crash at G. The
 * keeper drops nothing that is pinned. DIR is locked as a store while it is made. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/node.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/jsonout.h"
#include "journal/copy.h"
#include "journal/file.h"
#include "journal/folder.h"

#define MANIFEST "backup.json"

struct evrt_host_backup {
    struct evrt_host *host;
    struct evrt_host_backup_options options;
    uv_thread_t thread;
    uv_async_t news; /* to the loop: progress, or the end */
    char *dir;

    _Atomic bool cancelled, ended;
    _Atomic uint64_t bytes, total;
    _Atomic uint64_t pinned; /* events from here on are needed */

    /* The thread's until `ended`. */
    struct evrt_journal_copy journal;
    struct evrt_folder folder;
    bool made; /* the folder itself */
    uint64_t state_group;
    int state_fd;
    int rc;
    struct evrt_error err;
    struct evrt_buf manifest;
};

uint64_t host_backup_pin(const struct evrt_host *h) {
    return h->backup == NULL ? UINT64_MAX : atomic_load(&h->backup->pinned);
}

/* ---- On the thread ---- */

static int go_on(void *arg, uint64_t bytes) {
    struct evrt_host_backup *b = arg;
    atomic_fetch_add(&b->bytes, bytes);
    uv_async_send(&b->news);
    return atomic_load(&b->cancelled) ? -ECANCELED : 0;
}

static int fail(struct evrt_host_backup *b, int rc, const char *name) {
    return evrt_error_set(&b->err, rc, "%s/%s: %s", b->dir, name, strerror(-rc));
}

/* On the state thread: no snapshot is removed meanwhile. */
static void open_snapshot(struct evrt_state_view *view, void *arg) {
    struct evrt_host_backup *b = arg;
    b->state_fd = evrt_state_open_snapshot(view, &b->state_group);
}

static int take_snapshot(struct evrt_host_backup *b) {
    int rc = evrt_state_snapshot_now(b->host->state, &b->err);
    if (rc < 0) return rc;
    evrt_state_query(b->host->state, open_snapshot, b);
    /* Nothing was ever written to state.db: the journal has all of it. */
    if (b->state_fd == -ENOENT) return 0;
    return b->state_fd < 0 ? evrt_error_set(&b->err, b->state_fd, "opening a snapshot: %s",
                                            strerror(-b->state_fd))
                           : 0;
}

static int copy_state(struct evrt_host_backup *b) {
    char piece[64 << 10];
    uint64_t at = 0;
    if (b->state_fd < 0) return 0;
    int to = evrt_file_create(b->folder.store, "state.db");
    int rc = to < 0 ? to : 0;
    while (rc == 0) {
        ssize_t n = evrt_file_read(b->state_fd, piece, sizeof piece, at);
        if (n == 0) break;
        rc = n < 0 ? (int)n : evrt_file_write(to, piece, (size_t)n, at);
        if (rc == 0) rc = go_on(b, (uint64_t)n);
        if (n > 0) at += (uint64_t)n;
    }
    if (rc == 0) rc = evrt_file_sync(to);
    if (to >= 0) close(to);
    return rc < 0 ? fail(b, rc, "state.db") : 0;
}

static int copy_journal(struct evrt_host_backup *b) {
    const struct evrt_journal_copy *c = &b->journal;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c->n; i++) {
        atomic_store(&b->pinned, c->segments[i].first_seq);
        rc =
            evrt_journal_copy_segment(c, i, b->folder.journal, !b->options.copy, go_on, b, &b->err);
    }
    if (rc == 0 && (rc = evrt_file_sync(b->folder.journal)) < 0) rc = fail(b, rc, "journal");
    return rc;
}

static void describe(struct evrt_host_backup *b) {
    char made[EVRT_RFC3339_SIZE];
    struct evrt_jsonout o = evrt_jsonout_start(&b->manifest);
    evrt_jsonout_object(&o);
    evrt_jsonout_put_cstr(&o, "evrt", EVRT_VERSION);
    evrt_jsonout_put_cstr(&o, "dir", b->dir);
    evrt_jsonout_put_cstr(&o, "from", b->host->config->store.path);
    evrt_jsonout_put_cstr(&o, "made", evrt_rfc3339_format(evrt_wall_ms(), made));
    evrt_jsonout_put_u64(&o, "first_seq", b->journal.first_seq);
    evrt_jsonout_put_u64(&o, "next_seq", b->journal.next_seq);
    evrt_jsonout_put_u64(&o, "events", b->journal.next_seq - b->journal.first_seq);
    evrt_jsonout_put_u64(&o, "group", b->journal.group);
    evrt_jsonout_put_u64(&o, "state_group", b->state_group);
    evrt_jsonout_put_u64(&o, "segments", b->journal.n);
    evrt_jsonout_put_u64(&o, "bytes", atomic_load(&b->bytes));
    evrt_jsonout_end(&o);
}

static int sync_parent(struct evrt_host_backup *b) {
    struct evrt_buf path;
    evrt_buf_init(&path);
    evrt_buf_printf(&path, "%s/..", b->dir);
    int fd = open(evrt_buf_cstr(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : evrt_file_sync(fd);
    if (fd >= 0) close(fd);
    evrt_buf_finish(&path);
    return rc;
}

static int write_manifest(struct evrt_host_backup *b) {
    describe(b);
    int fd = evrt_file_create(b->folder.store, MANIFEST ".new");
    int rc = fd < 0 ? fd : evrt_file_write(fd, b->manifest.p, b->manifest.n, 0);
    if (rc == 0) rc = evrt_file_write(fd, "\n", 1, b->manifest.n);
    if (rc == 0) rc = evrt_file_sync(fd);
    if (fd >= 0) close(fd);
    int dir = b->folder.store;
    if (rc == 0 && renameat(dir, MANIFEST ".new", dir, MANIFEST) < 0) rc = -errno;
    if (rc == 0) rc = evrt_file_sync(dir);
    if (rc == 0) rc = sync_parent(b);
    return rc < 0 ? fail(b, rc, MANIFEST) : 0;
}

/* Takes away what was made, and nothing else. */
static void remove_all(struct evrt_host_backup *b) {
    static const char *const files[] = {MANIFEST ".new", MANIFEST, "state.db", "format", "lock"};
    for (size_t i = 0; i < b->journal.n; i++)
        (void)unlinkat(b->folder.journal, b->journal.segments[i].name, 0);
    (void)unlinkat(b->folder.store, "journal", AT_REMOVEDIR);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        (void)unlinkat(b->folder.store, files[i], 0);
    if (b->made) (void)rmdir(b->dir);
}

/* Checked before, by check_dir. */
static int open_folder(struct evrt_host_backup *b) {
    int rc = evrt_folder_open(&b->folder, b->dir, true, &b->err);
    if (rc < 0 && b->made) (void)rmdir(b->dir);
    return rc;
}

static int make(struct evrt_host_backup *b) {
    int rc = take_snapshot(b);
    if (rc < 0) return rc;
    evrt_journal_copy_begin(&b->journal, b->host->journal);
    uint64_t state_bytes = 0;
    if (b->state_fd >= 0 && evrt_file_size(b->state_fd, &state_bytes) < 0) state_bytes = 0;
    atomic_store(&b->total, b->journal.bytes + state_bytes);
    rc = copy_state(b);
    if (rc == 0) rc = copy_journal(b);
    return rc == 0 ? write_manifest(b) : rc;
}

static void run(void *arg) {
    struct evrt_host_backup *b = arg;
    b->rc = open_folder(b);
    bool opened = b->rc == 0;
    if (opened) b->rc = make(b);
    if (opened && b->rc < 0) remove_all(b);
    if (b->rc == -ECANCELED) evrt_error_set(&b->err, b->rc, "cancelled; nothing is left of it");
    if (b->state_fd >= 0) close(b->state_fd);
    evrt_journal_copy_finish(&b->journal);
    evrt_folder_close(&b->folder);
    atomic_store(&b->ended, true);
    uv_async_send(&b->news);
}

/* ---- On the loop ---- */

static void on_closed(uv_handle_t *handle) {
    struct evrt_host_backup *b = handle->data;
    struct evrt_host *h = b->host;
    evrt_buf_finish(&b->manifest);
    free(b->dir);
    free(b);
    h->reads--;
    host_progress(h);
}

static void on_news(uv_async_t *handle) {
    struct evrt_host_backup *b = handle->data;
    if (!atomic_load(&b->ended)) {
        b->options.progress(b->options.arg, atomic_load(&b->bytes), atomic_load(&b->total));
        return;
    }
    uv_thread_join(&b->thread);
    b->host->backup = NULL;
    b->options.done(b->options.arg, b->rc,
                    b->rc < 0 ? evrt_slice_of(b->err.message) : evrt_buf_slice(&b->manifest));
    uv_close((uv_handle_t *)&b->news, on_closed);
}

/* It can be made. */
static int check_parent(const char *dir, struct evrt_error *err) {
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    while (n > 1 && dir[n - 1] != '/')
        n--;
    char *parent = evrt_strndup(dir, n);
    int rc = access(parent, W_OK | X_OK) == 0
                 ? 0
                 : evrt_error_set(err, -EINVAL, "dir: %s: %s", dir, strerror(errno));
    free(parent);
    return rc;
}

/* A folder that is not there, or has nothing in it: looked at on the loop, so that who asks is told what is wrong;
 * made on the thread, as that waits for the disk. */
static int check_dir(const char *dir, bool *there, struct evrt_error *err) {
    *there = false;
    if (dir[0] != '/') return evrt_error_set(err, -EINVAL, "dir: expected an absolute path");
    DIR *d = opendir(dir);
    if (d == NULL && errno == ENOENT) return check_parent(dir, err);
    if (d == NULL) return evrt_error_set(err, -EINVAL, "dir: %s: %s", dir, strerror(errno));
    size_t entries = 0;
    while (readdir(d) != NULL)
        entries++;
    closedir(d);
    *there = true;
    if (entries <= 2) return 0;
    return evrt_error_set(err, -EEXIST, "dir: %s is not empty; name a folder that does not exist",
                          dir);
}

static int refuse(const struct evrt_host *h, struct evrt_error *err) {
    if (h->phase >= HOST_CLOSING) return evrt_error_set(err, -ESHUTDOWN, "shutting down");
    if (h->backup != NULL)
        return evrt_error_set(err, -EBUSY, "a backup to %s is being made", h->backup->dir);
    if (strcmp(h->config->store.durability, "memory") == 0)
        return evrt_error_set(err, -ENOTSUP, "store.durability is memory: nothing is on the disk");
    return 0;
}

/* All is pinned from here on, before the keeper looks again. */
static int start_thread(struct evrt_host_backup *b, struct evrt_error *err) {
    int rc = uv_async_init(b->host->loop, &b->news, on_news);
    if (rc == 0 && (rc = uv_thread_create(&b->thread, run, b)) < 0)
        uv_close((uv_handle_t *)&b->news, on_closed);
    else if (rc < 0)
        on_closed((uv_handle_t *)&b->news);
    return rc < 0 ? evrt_error_set(err, rc, "cannot start a thread: %s", uv_strerror(rc)) : 0;
}

int evrt_host_backup_start(struct evrt_host_backup **out, struct evrt_host *h,
                           const struct evrt_host_backup_options *options, struct evrt_error *err) {
    bool there;
    int rc = refuse(h, err);
    if (rc == 0) rc = check_dir(options->dir, &there, err);
    if (rc < 0) return rc;
    struct evrt_host_backup *b = evrt_zalloc(sizeof *b);
    b->host = h;
    b->options = *options;
    b->dir = evrt_strdup(options->dir);
    b->state_fd = -1;
    b->made = !there;
    b->news.data = b;
    h->reads++;
    h->backup = b;
    rc = start_thread(b, err);
    if (rc < 0) h->backup = NULL;
    *out = b;
    return rc;
}

void evrt_host_backup_cancel(struct evrt_host_backup *b) {
    atomic_store(&b->cancelled, true);
}

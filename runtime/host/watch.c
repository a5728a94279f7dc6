/* Watching the folders of the scripts: never files, which editors replace. inotify says that something
 * changed and a reload finds out what; a slow look at names and times is the net under it (a queue that
 * overflowed, a file system without it, a folder that was exchanged for another).
 *
 *     change ──quiet for a moment──▶ reload          every few seconds: another signature? ──▶ reload
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "host/node.h"

#include "core/clock.h"

enum {
    QUIET_MS = 100,
    DISTURBED_MAX_MS = 1000, /* then it is acted on, though changes go on coming */
    RESCAN_MS = 5000,
};

/* One that is watched, or was. Freed when its handle is closed. */
struct host_folder {
    uv_fs_event_t event;
    struct evrt_host *host;
    struct host_folder *next;
    bool wanted;
    dev_t dev; /* the folder that stood at the path: another may, later */
    ino_t ino;
    char path[];
};

/* ---- Changes ---- */

static void on_quiet(uv_timer_t *timer) {
    struct evrt_host *h = timer->data;
    h->reload.disturbed_ns = 0;
    host_reload_look(h);
}

static void disturbed(struct evrt_host *h) {
    struct host_reload *r = &h->reload;
    int64_t now = evrt_mono_ns();
    if (r->disturbed_ns == 0) r->disturbed_ns = now;
    int64_t left = DISTURBED_MAX_MS - (now - r->disturbed_ns) / 1000000;
    int64_t wait = left < QUIET_MS ? left : QUIET_MS;
    uv_timer_start(&r->quiet, on_quiet, wait < 0 ? 0 : (uint64_t)wait, 0);
}

/* Scripts count, and what may be a folder; the temporary files of editors do not. */
static bool counts(const char *name) {
    if (name == NULL) return true;
    const char *dot = strrchr(name, '.');
    return name[0] != '.' && (dot == NULL || strcmp(dot, ".lua") == 0);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status) {
    struct host_folder *f = event->data;
    (void)events;
    if (status < 0 || counts(name)) disturbed(f->host);
}

/* ---- Folders ---- */

static void on_closed(uv_handle_t *handle) {
    struct host_folder *f = handle->data;
    struct evrt_host *h = f->host;
    free(f);
    h->handles--;
    host_progress(h);
}

static void add(struct evrt_host *h, const char *path, const struct stat *st) {
    size_t n = strlen(path);
    struct host_folder *f = evrt_zalloc(sizeof *f + n + 1);
    memcpy(f->path, path, n);
    f->host = h;
    f->wanted = true;
    f->dev = st->st_dev;
    f->ino = st->st_ino;
    f->event.data = f;
    f->next = h->reload.folders;
    h->reload.folders = f;
    uv_fs_event_init(h->loop, &f->event);
    h->handles++;
    int rc = uv_fs_event_start(&f->event, on_event, path, 0);
    if (rc < 0)
        evrt_log_event(h->log, FOLDER_NOT_WATCHED, EVRT_F_CSTR("path", path),
                       EVRT_F_CSTR("error", uv_strerror(rc)));
}

static void drop_unwanted(struct evrt_host *h) {
    struct host_folder **at = &h->reload.folders;
    while (*at != NULL) {
        struct host_folder *f = *at;
        if (f->wanted) {
            at = &f->next;
            continue;
        }
        *at = f->next;
        uv_close((uv_handle_t *)&f->event, on_closed);
    }
}

static struct host_folder *find(const struct evrt_host *h, const char *path,
                                const struct stat *st) {
    struct host_folder *f = h->reload.folders;
    while (f != NULL &&
           (strcmp(f->path, path) != 0 || f->dev != st->st_dev || f->ino != st->st_ino))
        f = f->next;
    return f;
}

/* What was saved in a folder between its reading and its watch would be missed: one more look then. */
static void watch_folders(struct evrt_host *h, char *const *paths, size_t count) {
    bool more = false;
    struct stat st;
    for (struct host_folder *f = h->reload.folders; f != NULL; f = f->next)
        f->wanted = false;
    for (size_t i = 0; i < count; i++) {
        if (stat(paths[i], &st) < 0) continue;
        struct host_folder *f = find(h, paths[i], &st);
        if (f != NULL)
            f->wanted = true;
        else
            add(h, paths[i], &st);
        more = more || f == NULL;
    }
    drop_unwanted(h);
    if (more) disturbed(h);
}

/* ---- The net ---- */

struct look_job {
    uv_work_t work;
    struct evrt_host *host;
    uint64_t signature;
};

static void look(uv_work_t *work) {
    struct look_job *job = work->data;
    job->signature = evrt_scripts_signature(job->host->config);
}

static void on_looked(uv_work_t *work, int status) {
    struct look_job *job = work->data;
    struct evrt_host *h = job->host;
    struct host_reload *r = &h->reload;
    (void)status;
    h->reads--;
    r->looking = false;
    bool act = h->phase == HOST_SERVING && r->step == HOST_RELOAD_IDLE;
    if (act && job->signature != r->signature) r->again = true;
    free(job);
    host_reload_start(h); /* waited while the configuration was looked at */
    host_progress(h);
}

/* Not beside a reload, which reads for itself and may change the configuration; one waits for this. */
static void on_rescan(uv_timer_t *timer) {
    struct evrt_host *h = timer->data;
    struct host_reload *r = &h->reload;
    if (r->looking || r->step != HOST_RELOAD_IDLE) return;
    struct look_job *job = evrt_zalloc(sizeof *job);
    job->work.data = job;
    job->host = h;
    r->looking = true;
    h->reads++;
    int rc = uv_queue_work(h->loop, &job->work, look, on_looked);
    if (rc < 0) on_looked(&job->work, rc);
}

/* ---- From reload.c ---- */

void host_watch(struct evrt_host *h, const struct evrt_scripts *read) {
    struct host_reload *r = &h->reload;
    r->signature = read->signature;
    if (uv_is_active((uv_handle_t *)&r->rescan) && read->snapshot >= 0)
        watch_folders(h, read->folders, read->folder_count);
}

void host_watch_start(struct evrt_host *h) {
    const struct evrt_scripts *s = &h->serving->scripts;
    if (!h->config->reload.watch) {
        host_watch_stop(h);
        return;
    }
    if (uv_is_active((uv_handle_t *)&h->reload.rescan)) return;
    uv_timer_start(&h->reload.rescan, on_rescan, RESCAN_MS, RESCAN_MS);
    host_watch(h, s);
}

void host_watch_stop(struct evrt_host *h) {
    uv_timer_stop(&h->reload.quiet);
    uv_timer_stop(&h->reload.rescan);
    h->reload.disturbed_ns = 0;
    watch_folders(h, NULL, 0);
}

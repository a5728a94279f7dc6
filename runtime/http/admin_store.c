/* The admin API's changes to the store: cleanup and backup. Each is an operator's action and is logged as
 * one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/jsonout.h"
#include "host/host.h"
#include "http/admin_answer.h"
#include "http/admin_body.h"
#include "http/admin_routes.h"
#include "http/parameter.h"
#include "http/request.h"
#include "json/json.h"

enum { PROGRESS_MS = 250 };

/* ---- Cleanup ---- */

static void on_cleaned(void *arg, int status, struct evrt_slice json) {
    struct evrt_http_request *r = arg;
    if (status == 0)
        evrt_admin_put(r, 200, json);
    else
        evrt_admin_fail(r, status, json);
    char outcome[96];
    struct evrt_slice segments = evrt_json_at(json, EVRT_STR("dropped.segments"));
    snprintf(outcome, sizeof outcome, "%.*s segment%s dropped", (int)segments.n, segments.p,
             evrt_slice_eq(segments, EVRT_STR("1")) ? "" : "s");
    if (r->stream != NULL) /* a dry run changes nothing */
        evrt_request_audit(r, "cleanup", "journal", status == 0 ? outcome : strerror(-status));
    evrt_request_release(r);
}

void evrt_post_cleanup(struct evrt_http_request *r) {
    struct evrt_buf before;
    bool dry_run = false;
    int64_t ms = 0;
    evrt_buf_init(&before);
    const struct evrt_admin_member members[] = {
        {"before", .text = &before}, {"dry_run", .flag = &dry_run}, {NULL}};
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0 || evrt_admin_read_body(r, members) < 0)
        goto out;
    if (!evrt_parameter_time(evrt_buf_slice(&before), &ms)) {
        evrt_request_fail(r, EVRT_REFUSE_BAD_REQUEST, "before: expected %s",
                          evrt_parameter_time_form);
        goto out;
    }
    evrt_request_hold(r);
    evrt_request_park(r);
    r->stream = dry_run ? NULL : r;
    evrt_host_cleanup(evrt_request_host(r), ms, dry_run, on_cleaned, r);
out:
    evrt_buf_finish(&before);
}

/* ---- Backup: lines of progress, then the manifest or the reason ---- */

struct backup {
    struct evrt_http_request *request; /* held until done, though the client may go */
    struct evrt_host_backup *job;
    int64_t told_ns;
    char *dir;
};

static void on_progress(void *arg, uint64_t bytes, uint64_t total) {
    struct backup *b = arg;
    struct evrt_buf line;
    int64_t now = evrt_mono_ns();
    if (now - b->told_ns < PROGRESS_MS * INT64_C(1000000)) return;
    b->told_ns = now;
    evrt_buf_init(&line);
    evrt_buf_printf(&line, "{\"progress\":{\"bytes\":%llu,\"total\":%llu}}\n",
                    (unsigned long long)bytes, (unsigned long long)total);
    evrt_request_put(b->request, evrt_buf_slice(&line));
    evrt_buf_finish(&line);
}

static void on_done(void *arg, int status, struct evrt_slice json) {
    struct backup *b = arg;
    struct evrt_buf line;
    evrt_buf_init(&line);
    if (status == 0)
        evrt_buf_printf(&line, "{\"backup\":%.*s}", (int)json.n, json.p);
    else
        evrt_request_error_json(&line, status == -ECANCELED ? "cancelled" : "failed", json);
    evrt_buf_putc(&line, '\n');
    evrt_request_put(b->request, evrt_buf_slice(&line));
    char *outcome = status == 0 ? evrt_strdup("made") : evrt_strndup(json.p, json.n);
    evrt_request_audit(b->request, "backup", b->dir, outcome);
    evrt_request_end(b->request);
    evrt_request_release(b->request);
    evrt_buf_finish(&line);
    free(outcome);
    free(b->dir);
    free(b);
}

static void on_drained(struct evrt_http_request *r) {
    (void)r; /* progress does not wait for anyone */
}

/* Whoever asked for it does not want it any more. */
static void on_gone(struct evrt_http_request *r) {
    struct backup *b = r->stream;
    evrt_host_backup_cancel(b->job);
}

static int refuse_backup(struct evrt_http_request *r, int rc, const char *dir,
                         const struct evrt_error *err) {
    bool of_dir = rc == -ENOENT || rc == -ENOTDIR || rc == -EACCES; /* a place that cannot be */
    evrt_admin_fail(r, of_dir ? -EINVAL : rc, evrt_slice_of(err->message));
    evrt_request_audit(r, "backup", dir, err->message);
    return rc;
}

void evrt_post_backup(struct evrt_http_request *r) {
    static const struct evrt_stream_events events = {on_drained, on_gone};
    struct evrt_buf dir;
    struct evrt_error err;
    bool copy = false;
    evrt_buf_init(&dir);
    const struct evrt_admin_member members[] = {
        {"dir", .text = &dir}, {"copy", .flag = &copy}, {NULL}};
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0 || evrt_admin_read_body(r, members) < 0)
        goto out;
    struct backup *b = evrt_zalloc(sizeof *b);
    b->request = r;
    b->dir = evrt_strdup(evrt_buf_cstr(&dir));
    struct evrt_host_backup_options options = {
        .dir = b->dir, .copy = copy, .progress = on_progress, .done = on_done, .arg = b};
    int rc = evrt_host_backup_start(&b->job, evrt_request_host(r), &options, &err);
    if (rc == 0) {
        evrt_request_hold(r);
        evrt_request_stream(r, &events, b);
    } else {
        refuse_backup(r, rc, b->dir, &err);
        free(b->dir);
        free(b);
    }
out:
    evrt_buf_finish(&dir);
}

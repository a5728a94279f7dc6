/* See admin.h. What the host answers is passed on as it is. */
#include "http/admin.h"

#include <errno.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/jsonout.h"
#include "core/units.h"
#include "host/host.h"
#include "http/admin_answer.h"
#include "http/admin_body.h"
#include "http/admin_routes.h"
#include "http/http.h"
#include "http/request.h"

static void get_livez(struct evrt_http_request *r) {
    evrt_buf_puts(&r->out, "{\"status\":\"ok\"}\n");
    evrt_request_answer(r, 200);
}

static void get_readyz(struct evrt_http_request *r) {
    const char *why = "";
    bool ready = evrt_host_ready(evrt_request_host(r), &why);
    evrt_buf_puts(&r->out, ready ? "{\"status\":\"ready\",\"reasons\":["
                                 : "{\"status\":\"not_ready\",\"reasons\":[");
    if (!ready) evrt_json_quote(&r->out, evrt_slice_of(why));
    evrt_buf_puts(&r->out, "]}\n");
    if (!ready) r->retry_after = 1;
    evrt_request_answer(r, ready ? 200 : 503);
}

int evrt_no_parameters(void *arg, struct evrt_http_request *r, struct evrt_slice name,
                       struct evrt_slice value) {
    (void)arg, (void)r, (void)name, (void)value;
    return 0; /* not reached: the route takes none */
}

static void get_handlers(struct evrt_http_request *r) {
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return;
    evrt_host_handlers(evrt_request_host(r), &r->out);
    evrt_buf_putc(&r->out, '\n');
    evrt_request_answer(r, 200);
}

static void get_stats(struct evrt_http_request *r) {
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return;
    evrt_host_stats(evrt_request_host(r), &r->out);
    r->out.n--; /* the object goes on */
    evrt_buf_puts(&r->out, ",\"http\":");
    evrt_http_counts(evrt_request_http(r), &r->out);
    evrt_buf_puts(&r->out, "}\n");
    evrt_request_answer(r, 200);
}

static void get_dashboard(struct evrt_http_request *r) {
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return;
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_host_dashboard(evrt_request_host(r), evrt_admin_json, r);
}

/* ---- Reload ---- */

static void on_reloaded(void *arg, int status, struct evrt_slice json) {
    struct evrt_http_request *r = arg;
    evrt_buf_put(&r->out, json.p, json.n);
    evrt_buf_putc(&r->out, '\n');
    evrt_request_audit(r, "reload", "scripts and configuration",
                       status == 0         ? "decided"
                       : status == -EINVAL ? "refused"
                                           : "shutting down");
    evrt_request_answer(r, status == 0 ? 200 : status == -EINVAL ? 422 : 503);
    evrt_request_release(r);
}

static void post_reload(struct evrt_http_request *r) {
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return;
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_host_reload(evrt_request_host(r), on_reloaded, r);
}

/* ---- What there is ---- */

static void put_route(struct evrt_jsonout *o, const struct evrt_route *route) {
    evrt_jsonout_object(o);
    evrt_jsonout_put_cstr(o, "method", route->method);
    evrt_jsonout_put_cstr(o, "path", route->pattern);
    evrt_jsonout_key(o, "parameters");
    evrt_jsonout_array(o);
    for (const char *p = route->query; *p != '\0';) {
        size_t n = strcspn(p, ",");
        evrt_jsonout_str(o, (struct evrt_slice){p, n});
        p += n + (p[n] == ',');
    }
    evrt_jsonout_end(o);
    evrt_jsonout_put_cstr(o, "help", route->help);
    evrt_jsonout_end(o);
}

static void get_routes(struct evrt_http_request *r) {
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return;
    struct evrt_jsonout o = evrt_jsonout_start(&r->out);
    evrt_jsonout_object(&o);
    evrt_jsonout_key(&o, "items");
    evrt_jsonout_array(&o);
    for (size_t i = 0; i < evrt_admin_route_count; i++)
        if (strncmp(evrt_admin_routes[i].pattern, "/api/", 5) == 0)
            put_route(&o, &evrt_admin_routes[i]);
    evrt_jsonout_end(&o);
    evrt_jsonout_put_null(&o, "next");
    evrt_jsonout_end(&o);
    evrt_buf_putc(&r->out, '\n');
    evrt_request_answer(r, 200);
}

const struct evrt_route evrt_admin_routes[] = {
    {"GET", "/metrics", evrt_get_metrics, NULL, false, "",
     "Everything counted, for Prometheus: text format 0.0.4 or OpenMetrics 1.0, as Accept says."},
    {"GET", "/livez", get_livez, NULL, true, "", "200 while the process turns its loop."},
    {"GET", "/readyz", get_readyz, NULL, true, "",
     "200 when events are taken in and handled, else 503 with the reasons."},
    {"GET", "/api/v1", get_routes, NULL, false, "",
     "What there is under /api/v1: method, path, parameters of the query, help."},
    {"GET", "/api/v1/handlers", get_handlers, NULL, false, "",
     "Every handler: its patterns, state and counts; those that left the scripts too."},
    {"DELETE", "/api/v1/handlers/{name}", evrt_delete_handler, NULL, false, "",
     "Forgets a handler that left the scripts; what it had pending is discarded and counted."},
    {"POST", "/api/v1/handlers/{name}/pause", evrt_post_pause, NULL, false, "",
     "Pauses a handler until it is resumed; answers once that is durable."},
    {"POST", "/api/v1/handlers/{name}/resume", evrt_post_resume, NULL, false, "",
     "Lets a paused handler go on where it was."},
    {"POST", "/api/v1/reload", post_reload, NULL, false, "",
     "Reloads configuration and scripts; answers once decided: 200 what changed, 422 the errors."},
    {"GET", "/api/v1/dashboard", get_dashboard, NULL, false, "",
     "Queues, events of the last hour and of today, rates over 1, 5 and 15 minutes, quantiles, a row "
     "for each handler and type, the slowest and the most failing handlers."},
    {"GET", "/api/v1/stats", get_stats, NULL, false, "", "Counts of the node, store and workers."},
    {"GET", "/api/v1/events", evrt_get_events, NULL, false,
     "type,source,subject,from,to,handler,state,after,limit",
     "Stored events, oldest first. type is a pattern; from and to are times, or how long ago; state "
     "(pending, running, retrying, done, dead, discarded) is that of handler."},
    {"GET", "/api/v1/events/{seq}", evrt_get_event, NULL, false, "",
     "One event, with what became of it per handler."},
    {"GET", "/api/v1/events/{seq}/why", evrt_get_why, NULL, false, "",
     "Why an event became what it did: handlers, policies, attempts, what it published, what caused "
     "it. Its id will do, among the newest events."},
    {"GET", "/api/v1/tail", evrt_get_tail, NULL, false, "type,source,subject,from,after",
     "Events as they are stored, one JSON object a line, from now on or from a time or sequence; "
     "what a slow client misses is told by a line with gap, and why it ends by one with end."},
    {"GET", "/api/v1/retries", evrt_get_retries, NULL, false, "handler,after,limit",
     "What failed and will be tried again, by handler and sequence."},
    {"POST", "/api/v1/retries/{id}/run", evrt_post_retry_run, NULL, false, "",
     "Makes a retry due now."},
    {"DELETE", "/api/v1/retries/{id}", evrt_delete_retry, NULL, false, "",
     "Discards a retry, which is counted; answers once that is durable."},
    {"POST", "/api/v1/replays", evrt_post_replay, evrt_admin_body, false, "wait",
     "Delivers stored events once more to one handler: {handler,type,source,subject,from,to,from_seq,"
     "to_seq,limit,rate,dry_run}. 202 with its id; with wait=true 200 with the result."},
    {"GET", "/api/v1/replays", evrt_get_replays, NULL, false, "",
     "Replays, newest first: state and progress."},
    {"GET", "/api/v1/replays/{id}", evrt_get_replay, NULL, false, "",
     "One of them: state, replayed_count, failed_count, skipped_count, duration_ms, failures."},
    {"DELETE", "/api/v1/replays/{id}", evrt_delete_replay, NULL, false, "",
     "Cancels one: nothing more is delivered, what is in flight ends."},
    {"GET", "/api/v1/dead-letters", evrt_get_letters, NULL, false,
     "handler,type,reason,from,to,after,limit,full",
     "Dead letters, newest first. type is a pattern; from and to are times, or how long ago; full: with "
     "event, history and traceback."},
    {"DELETE", "/api/v1/dead-letters", evrt_delete_letters, NULL, false,
     "handler,type,reason,from,to,all",
     "Gives up those chosen: discarded, and counted; answers once that is durable."},
    {"POST", "/api/v1/dead-letters/reprocess", evrt_post_letters_reprocess, evrt_admin_body, false,
     "wait",
     "A job that gives those of {handler,type,reason,from,to,limit,rate}, or of {all:true}, to their "
     "handlers once more; 202, or with wait=true 200 at its end."},
    {"GET", "/api/v1/dead-letters/{id}", evrt_get_letter, NULL, false, "",
     "One dead letter: event, handler, reason, error, every attempt."},
    {"DELETE", "/api/v1/dead-letters/{id}", evrt_delete_letter, NULL, false, "",
     "Gives one up: discarded, and counted; answers once that is durable."},
    {"POST", "/api/v1/dead-letters/{id}/reprocess", evrt_post_letter_reprocess, NULL, false, "wait",
     "Gives one to its handler once more; answers what came of it, with wait=false at once."},
    {"GET", "/api/v1/jobs", evrt_get_jobs, NULL, false, "",
     "Replays and reprocessings of dead letters, newest first: state and progress."},
    {"GET", "/api/v1/jobs/{id}", evrt_get_job, NULL, false, "",
     "One job: its state and how far it has got."},
    {"DELETE", "/api/v1/jobs/{id}", evrt_delete_job, NULL, false, "",
     "Cancels one: nothing more is delivered, what is in flight ends."},
    {"GET", "/api/v1/log-level", evrt_get_log_level, NULL, false, "",
     "The level in force: log lines below it are not written."},
    {"PUT", "/api/v1/log-level", evrt_put_log_level, evrt_admin_body, false, "",
     "Sets it to {level}, debug, info, warn or error, until it is set again, a reload changes "
     "logging.level, or a restart."},
    {"GET", "/api/v1/scheduled", evrt_get_scheduled, NULL, false, "after,limit",
     "Events that wait for their time, soonest first."},
    {"DELETE", "/api/v1/scheduled/{id}", evrt_delete_scheduled, NULL, false, "",
     "Cancels one of them; answers once that is durable."},
    {"GET", "/api/v1/kv", evrt_get_kv, NULL, false, "namespace,key,prefix,after,limit",
     "A key's value; without key the keys of the namespace; without both the namespaces, by page too."},
    {"PUT", "/api/v1/kv", evrt_put_kv, evrt_kv_body, false, "namespace,key,ttl",
     "Sets a key to the body: JSON, or bytes (application/octet-stream); answers once durable."},
    {"DELETE", "/api/v1/kv", evrt_delete_kv, NULL, false, "namespace,key",
     "Removes a key; answers once that is durable."},
    {"POST", "/api/v1/cleanup", evrt_post_cleanup, evrt_admin_body, false, "",
     "Drops segments that ended before the time in {before,dry_run} and that nobody needs; answers "
     "what went, what stays and why."},
    {"POST", "/api/v1/backup", evrt_post_backup, evrt_admin_body, false, "",
     "Copies the store of the running node into {dir,copy}, on its machine: lines of progress, then "
     "backup or error. Ends when the client goes."},
};
const size_t evrt_admin_route_count = sizeof evrt_admin_routes / sizeof evrt_admin_routes[0];

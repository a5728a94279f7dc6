/* The composition root: config, log, host and listeners put together as the C API (include/evrt.h). Owner:
 * the embedding program; everything on its loop's thread. */
#include "evrt.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "config/config.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "host/host.h"
#include "http/http.h"
#include "telemetry/log_events.h"
#include "telemetry/manager.h"
#include "telemetry/metrics_render.h"
#include "telemetry/trace_json.h"

struct evrt {
    struct evrt_config config;
    struct evrt_telemetry telemetry;
    struct evrt_host *host;
    struct evrt_http *http;
    char *worker_path;
    /* How the configuration was read, to read it again: the same file, environment and overrides. */
    char *config_path;              /* NULL: none */
    char **overrides;               /* NULL: none */
    struct evrt_http_tokens tokens; /* of a reload that is not decided */
    evrt_reload_watch_cb reload_cb;
    void *reload_arg;
    evrt_span_cb span_cb; /* NULL: nobody watches */
    void *span_arg;
    bool draining;
    evrt_drain_cb drain_cb;
    void *drain_arg;
};

const char *evrt_version(void) {
    return EVRT_VERSION;
}

static void on_span(void *arg, const struct evrt_span *span) {
    struct evrt *rt = arg;
    struct evrt_buf json;
    evrt_buf_init(&json);
    evrt_span_json(&json, span, evrt_slice_of(rt->config.service.name), evrt_unix_ns());
    rt->span_cb(rt->span_arg, (struct evrt_slice){json.p, json.n - 1});
    evrt_buf_finish(&json);
}

static struct evrt_telemetry_options telemetry_options(struct evrt *rt) {
    const struct evrt_config *c = &rt->config;
    return (struct evrt_telemetry_options){
        .log = {.level = (enum evrt_log_level)evrt_log_level_parse(evrt_slice_of(c->logging.level)),
                .console = strcmp(c->logging.encoding, "console") == 0,
                .caller = c->logging.caller,
                .stacktrace = c->logging.stacktrace,
                .outputs = (const char *const *)c->logging.outputs.v,
                .sample_first = (uint32_t)c->logging.sampling.first,
                .sample_then = (uint32_t)c->logging.sampling.then_every},
        .trace = {.exporter = c->tracing.exporter,
                  .endpoint = c->tracing.endpoint,
                  .keep = c->tracing.keep,
                  .compression = c->tracing.compression,
                  .service = c->service.name,
                  .version = c->service.version,
                  .environment = c->service.environment,
                  .sample_rate = (double)c->tracing.sample_rate / 1000,
                  .max_spans_per_second = c->tracing.max_spans_per_second,
                  .batch_size = c->tracing.batch_size,
                  .queue_size = c->tracing.queue_size,
                  .batch_delay_ms = c->tracing.batch_delay,
                  .timeout_ms = c->tracing.timeout},
        .environment = (const char *const *)environ,
        .span = {rt->span_cb == NULL ? NULL : on_span, rt},
    };
}

static char **copy_texts(const char *const *texts) {
    size_t n = 0;
    if (texts == NULL) return NULL;
    while (texts[n] != NULL)
        n++;
    char **out = evrt_zalloc((n + 1) * sizeof *out);
    while (n-- > 0)
        out[n] = evrt_strdup(texts[n]);
    return out;
}

int evrt_create(struct evrt **out, const char *config_path, const struct evrt_options *options,
                struct evrt_error *err) {
    struct evrt *rt = evrt_zalloc(sizeof *rt);
    int rc = evrt_config_load(&rt->config, config_path, options == NULL ? NULL : options->overrides,
                              err);
    if (rc < 0) {
        free(rt);
        return rc;
    }
    if (config_path != NULL) rt->config_path = evrt_strdup(config_path);
    if (options != NULL) rt->overrides = copy_texts(options->overrides);
    if (options != NULL && options->worker_path != NULL)
        rt->worker_path = evrt_strdup(options->worker_path);
    *out = rt;
    return 0;
}

/* ---- Reload ---- */

static int read_anew(void *arg, struct evrt_config *out, evrt_config_error_cb each,
                     evrt_config_change_cb changed, void *each_arg) {
    struct evrt *rt = arg;
    struct evrt_error err;
    struct evrt_config_source source = {
        .file = rt->config_path,
        .environment = (const char *const *)environ,
        .overrides = (const char *const *)rt->overrides,
        .each = each,
        .arg = each_arg,
        .running = &rt->config,
        .changed = changed,
    };
    int rc = evrt_config_load_from(out, &source, NULL);
    if (rc < 0) return rc;
    evrt_http_tokens_finish(&rt->tokens);
    rc = evrt_http_tokens_read(&rt->tokens, out, rt->telemetry.log, &err);
    if (rc < 0) each(each_arg, &err);
    return rc;
}

static void apply(void *arg) {
    struct evrt *rt = arg;
    struct evrt_telemetry_options options = telemetry_options(rt);
    if (evrt_telemetry_apply(&rt->telemetry, &options))
        evrt_host_set_log_level(rt->host, (int)rt->telemetry.level);
    evrt_http_tokens_exchange(rt->http, &rt->tokens);
    evrt_http_tokens_finish(&rt->tokens);
}

static void begun(void *arg) {
    struct evrt *rt = arg;
    if (rt->reload_cb != NULL) rt->reload_cb(rt->reload_arg, 1, (struct evrt_slice){NULL, 0});
}

static void decided(void *arg, int status, struct evrt_slice json) {
    struct evrt *rt = arg;
    if (rt->reload_cb != NULL) rt->reload_cb(rt->reload_arg, status, json);
}

static const struct evrt_host_reload_ops reload_ops = {read_anew, apply, begun, decided};

void evrt_reload(struct evrt *rt, evrt_reload_cb cb, void *arg) {
    evrt_host_reload(rt->host, cb, arg);
}

void evrt_watch_reloads(struct evrt *rt, evrt_reload_watch_cb cb, void *arg) {
    rt->reload_cb = cb;
    rt->reload_arg = arg;
}

/* ---- Start, check ---- */

static struct evrt_host_options host_options(struct evrt *rt) {
    return (struct evrt_host_options){
        .config = &rt->config,
        .log = rt->telemetry.log,
        .tracer = rt->telemetry.tracer,
        .worker_path = rt->worker_path,
        .reload = &reload_ops,
        .reload_arg = rt,
    };
}

int evrt_start(struct evrt *rt, struct uv_loop_s *loop, struct evrt_error *err) {
    struct evrt_telemetry_options telemetry = telemetry_options(rt);
    int rc = evrt_telemetry_start(&rt->telemetry, &telemetry, err);
    if (rc < 0) return rc;
    evrt_log_event(rt->telemetry.log, STARTING, EVRT_F_CSTR("version", EVRT_VERSION),
                   EVRT_F_I64("pid", getpid()), EVRT_F_CSTR("service", rt->config.service.name),
                   EVRT_F_CSTR("environment", rt->config.service.environment),
                   EVRT_F_CSTR("config", rt->config.file));
    struct evrt_host_options options = host_options(rt);
    rc = evrt_host_create(&rt->host, &options, loop, err);
    if (rc == 0) rc = evrt_http_create(&rt->http, rt->host, err);
    if (rc < 0) evrt_host_destroy(rt->host);
    if (rc < 0) rt->host = NULL;
    return rc;
}

int evrt_check(struct evrt *rt, void (*each)(void *arg, const struct evrt_error *err), void *arg,
               unsigned *handlers) {
    struct evrt_host_options options = host_options(rt);
    return evrt_host_check(&options, each, arg, handlers);
}

/* ---- Publishing ---- */

struct publish {
    struct evrt *rt;
    evrt_publish_cb durable; /* one of the two */
    evrt_handled_cb handled;
    int64_t timeout_ms;
    void *arg;
    uint64_t seq;
    int what; /* EVRT_DUPLICATE */
    size_t n;
    char id[];
};

static void on_handled(void *arg, unsigned pending, struct evrt_slice outcomes) {
    struct publish *p = arg;
    p->handled(p->arg, p->seq, pending, outcomes);
    free(p);
}

static void on_durable(void *arg, uint64_t seq) {
    struct publish *p = arg;
    p->seq = seq;
    if (p->handled != NULL && (p->what & EVRT_SCHEDULED) != 0) {
        on_handled(p, 0, EVRT_STR("[]"));
        return;
    }
    if (p->handled != NULL) {
        evrt_host_wait_settled(p->rt->host, seq, p->timeout_ms, on_handled, p);
        return;
    }
    if (p->durable != NULL) p->durable(p->arg, p->what, seq, (struct evrt_slice){p->id, p->n});
    free(p);
}

static int publish(struct evrt *rt, const struct evrt_event *event, struct publish as,
                   struct evrt_error *err) {
    struct evrt_event e = *event;
    struct evrt_host_scratch scratch;
    e.flags &= ~(uint32_t)(EVRT_EVENT_OWN_ID | EVRT_EVENT_TRACED | EVRT_EVENT_UNSAMPLED);
    e.cause_seq = e.cause_handler = 0; /* a delivery's business */
    int rc = evrt_host_complete(rt->host, &e, &scratch, err);
    if (rc == 0) rc = evrt_host_check_data(&e, err);
    if (rc < 0) return rc;
    struct publish *p = evrt_alloc(sizeof *p + e.id.n);
    as.n = e.id.n;
    *p = as;
    memcpy(p->id, e.id.p, e.id.n);
    rc = evrt_host_publish(rt->host, &e, on_durable, p, err);
    if (rc < 0) {
        free(p);
        return rc;
    }
    p->what = rc; /* it is told later, never within that call */
    return 0;
}

int evrt_publish(struct evrt *rt, const struct evrt_event *event, evrt_publish_cb cb, void *arg,
                 struct evrt_error *err) {
    return publish(rt, event, (struct publish){.rt = rt, .durable = cb, .arg = arg}, err);
}

int evrt_publish_wait(struct evrt *rt, const struct evrt_event *event, int64_t timeout_ms,
                      evrt_handled_cb cb, void *arg, struct evrt_error *err) {
    return publish(rt, event,
                   (struct publish){.rt = rt, .handled = cb, .timeout_ms = timeout_ms, .arg = arg},
                   err);
}

int evrt_ready(const struct evrt *rt, const char **why) {
    return evrt_host_ready(rt->host, why);
}

void evrt_totals(const struct evrt *rt, struct evrt_totals *out) {
    evrt_host_totals(rt->host, out);
}

int evrt_metrics(struct evrt *rt, int openmetrics, evrt_text_cb cb, void *arg) {
    struct evrt_metrics *m = evrt_host_metrics(rt->host);
    struct evrt_buf text = {0};
    if (m == NULL) return -ENOTSUP;
    evrt_host_collect(rt->host);
    evrt_http_collect(rt->http);
    struct evrt_metrics_shot *shot = evrt_metrics_shoot(m);
    evrt_metrics_shot_process(shot);
    evrt_metrics_render(shot, openmetrics != 0, &text);
    evrt_metrics_shot_end(shot);
    cb(arg, evrt_buf_slice(&text));
    evrt_buf_finish(&text);
    return 0;
}

const char *evrt_durability(const struct evrt *rt) {
    return evrt_host_durability(rt->host);
}

void evrt_watch_spans(struct evrt *rt, evrt_span_cb cb, void *arg) {
    rt->span_cb = cb;
    rt->span_arg = arg;
}

void evrt_reopen_logs(struct evrt *rt) {
    evrt_log_reopen(rt->telemetry.log);
}

/* ---- The end: intake closes first, then deliveries, then the store, then the admin listener ---- */

static void on_http_stopped(void *arg) {
    struct evrt *rt = arg;
    evrt_http_destroy(rt->http);
    rt->http = NULL;
    rt->drain_cb(rt->drain_arg);
}

static void on_host_drained(void *arg) {
    struct evrt *rt = arg;
    evrt_http_stop(rt->http, on_http_stopped, rt);
}

void evrt_drain(struct evrt *rt, evrt_drain_cb cb, void *arg) {
    if (!rt->draining) {
        rt->draining = true;
        rt->drain_cb = cb;
        rt->drain_arg = arg;
        evrt_http_quiesce(rt->http);
    }
    evrt_host_drain(rt->host, on_host_drained, rt);
}

void evrt_destroy(struct evrt *rt) {
    if (rt == NULL) return;
    enum { FLUSH_MS = 5000 };
    evrt_host_destroy(rt->host);
    evrt_telemetry_stop(&rt->telemetry, FLUSH_MS);
    evrt_http_tokens_finish(&rt->tokens);
    evrt_config_finish(&rt->config);
    for (size_t i = 0; rt->overrides != NULL && rt->overrides[i] != NULL; i++)
        free(rt->overrides[i]);
    free(rt->overrides);
    free(rt->config_path);
    free(rt->worker_path);
    free(rt);
}

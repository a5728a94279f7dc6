/* GET /metrics. The figures are copied on the loop, which takes as long as copying does; the text is made, and
 * compressed, by a thread of the pool. */
#include <stdlib.h>
#include <uv.h>

#include "host/host.h"
#include "http/accept.h"
#include "http/admin_routes.h"
#include "http/http.h"
#include "http/request.h"
#include "telemetry/gzip.h"
#include "telemetry/metrics_render.h"

struct scrape {
    uv_work_t work;
    struct evrt_http_request *request;
    struct evrt_metrics_shot *shot;
    bool openmetrics, gzip;
    struct evrt_buf text;
};

static void render(uv_work_t *work) {
    struct scrape *s = work->data;
    struct evrt_buf packed = {0};
    evrt_metrics_shot_process(s->shot);
    evrt_metrics_render(s->shot, s->openmetrics, &s->text);
    if (!s->gzip) return;
    evrt_gzip(evrt_buf_slice(&s->text), &packed);
    evrt_buf_finish(&s->text);
    s->text = packed;
}

static void on_rendered(uv_work_t *work, int status) {
    struct scrape *s = work->data;
    struct evrt_http_request *r = s->request;
    evrt_metrics_shot_end(s->shot);
    if (status < 0) {
        evrt_request_fail(r, EVRT_REFUSE_SHUTTING_DOWN, "this node is shutting down");
    } else {
        evrt_buf_finish(&r->out);
        r->out = s->text;
        s->text = (struct evrt_buf){0};
        r->content_type = s->openmetrics ? EVRT_METRICS_OPENMETRICS : EVRT_METRICS_TEXT;
        if (s->gzip) r->content_encoding = "gzip";
        r->vary = true;
        evrt_request_answer(r, 200);
    }
    evrt_buf_finish(&s->text);
    free(s);
    evrt_request_release(r);
}

void evrt_get_metrics(struct evrt_http_request *r) {
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return;
    struct evrt_host *h = evrt_request_host(r);
    struct evrt_slice accept = evrt_headers_get(r->headers, r->header_count, "accept");
    struct evrt_slice coding = evrt_headers_get(r->headers, r->header_count, "accept-encoding");
    int open = evrt_accept_weight(accept, "application/openmetrics-text", "1.0.0");
    struct scrape *s = evrt_zalloc(sizeof *s);
    s->request = r;
    s->work.data = s;
    s->openmetrics = open > 0 && open > evrt_accept_weight(accept, "text/plain", "0.0.4");
    s->gzip = evrt_accept_weight(coding, "gzip", NULL) > 0;
    evrt_host_collect(h);
    evrt_http_collect(evrt_request_http(r));
    s->shot = evrt_metrics_shoot(evrt_host_metrics(h));
    evrt_request_hold(r);
    evrt_request_park(r);
    int rc = uv_queue_work(evrt_host_loop(h), &s->work, render, on_rendered);
    if (rc < 0) on_rendered(&s->work, rc);
}

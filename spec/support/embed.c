/* A program that embeds evrt: once it is ready publishes one event, waits until handlers are done with it, drains. Built by
 * spec/integration/install_spec.lua against an installation, as a user would build it.
 *     embed CONFIG WORKER */
#define _GNU_SOURCE
#include <evrt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct program {
    struct evrt *rt;
    uv_timer_t timer;
    bool published;
    unsigned spans;
    uint64_t seq;
};

static void on_drained(void *arg) {
    struct program *p = arg;
    printf("drained\n");
    evrt_destroy(p->rt);
}

static void on_durable(void *arg, int status, uint64_t seq, struct evrt_slice id) {
    struct program *p = arg;
    printf("durable %d seq %llu id %.*s\n", status, (unsigned long long)seq, (int)id.n, id.p);
    p->seq = seq;
}

static void on_metrics(void *arg, struct evrt_slice text) {
    static const char wanted[] = "events_handled_total{event_type=\"a.b\",handler=\"";
    (void)arg;
    printf("metrics %s\n",
           memmem(text.p, text.n, wanted, sizeof wanted - 1) != NULL ? "good" : "bad");
}

static void on_span(void *arg, struct evrt_slice json) {
    static const char wanted[] = "\"name\":\"EventHandler.Handle\"";
    struct program *p = arg;
    p->spans += memmem(json.p, json.n, wanted, sizeof wanted - 1) != NULL;
}

static void must(int rc, const struct evrt_error *err) {
    if (rc == 0) return;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static void publish(struct program *p) {
    const struct evrt_event event = {
        .id = EVRT_STR("one"), .type = EVRT_STR("a.b"), .data = EVRT_STR("{\"n\":1}")};
    struct evrt_error err;
    must(evrt_publish(p->rt, &event, on_durable, p, &err), &err);
    p->published = true;
}

static void on_tick(uv_timer_t *timer) {
    struct program *p = timer->data;
    struct evrt_totals totals;
    if (!p->published && evrt_ready(p->rt, NULL)) publish(p);
    evrt_totals(p->rt, &totals);
    if (p->seq == 0 || totals.done == 0) return;
    printf("done %llu of %llu\n", (unsigned long long)totals.done,
           (unsigned long long)totals.events);
    if (evrt_metrics(p->rt, 0, on_metrics, NULL) < 0) exit(1);
    printf("spans %u\n", p->spans);
    uv_close((uv_handle_t *)timer, NULL);
    evrt_drain(p->rt, on_drained, p);
}

int main(int argc, char **argv) {
    struct evrt_error err;
    struct program p = {0};
    if (argc != 3) return 64;
    printf("version %s\n", evrt_version());
    must(evrt_create(&p.rt, argv[1], &(struct evrt_options){.worker_path = argv[2]}, &err), &err);
    evrt_watch_spans(p.rt, on_span, &p);
    must(evrt_start(p.rt, uv_default_loop(), &err), &err);
    p.timer.data = &p;
    uv_timer_init(uv_default_loop(), &p.timer);
    uv_timer_start(&p.timer, on_tick, 1, 1);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return uv_loop_close(uv_default_loop()) == 0 ? 0 : 2;
}

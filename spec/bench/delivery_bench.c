/* What the host counts for one event and its one delivery, by its own functions and nothing else, and what all of
 * telemetry takes for one delivery when nothing is sampled out:
 *
 *     delivery_bench
 *
 * Prints one JSON object: nanoseconds an event from append to settlement, of one type and of many, beyond what
 * the loop around it takes (off); nanoseconds a delivery with its clock, metrics, span and line. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/clock.h"
#include "core/event.h"
#include "host/node.h"
#include "telemetry/trace_options.h"

enum { TYPES = 256, EVENTS = 500000, ROUNDS = 9 };

struct bench {
    struct evrt_host host;
    struct evrt_config config;
    uv_loop_t loop;
    struct evrt_sub *sub;
    struct evrt_slice events[TYPES], types[TYPES];
    uint64_t positions[TYPES];
};

/* As it is stored when its trace is sampled. */
static struct evrt_slice encode(const char *type, uint64_t seq) {
    struct evrt_buf extensions = {0};
    struct evrt_slice parent = EVRT_STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    if (evrt_extensions_add(&extensions, EVRT_STR("traceparent"), 's', parent) < 0) abort();
    struct evrt_event e = {.id = EVRT_STR("0199f7a0-7b7c-7e0e-8d8a-5a3c1d2e3f40"),
                           .type = evrt_slice_of(type),
                           .source = EVRT_STR("SocialService"),
                           .time = EVRT_STR("2025-01-07T10:30:45.123Z"),
                           .data = EVRT_STR("{\"user_id\":1}"),
                           .seq = seq,
                           .extensions = evrt_buf_slice(&extensions),
                           .flags = EVRT_EVENT_JSON | EVRT_EVENT_HAS_DATA | EVRT_EVENT_TRACED};
    size_t n = evrt_event_size(&e);
    char *at = evrt_alloc(n);
    evrt_event_encode(&e, at);
    evrt_buf_finish(&extensions);
    return (struct evrt_slice){at, n};
}

static void prepare(struct bench *b) {
    *b = (struct bench){0};
    b->config.metrics.enabled = true;
    b->config.metrics.max_series = 10000;
    static char none[] = "", fsync[] = "fsync";
    b->config.service.name = b->config.service.version = b->config.service.environment = none;
    b->config.store.durability = fsync;
    b->host.config = &b->config;
    uv_loop_init(&b->loop);
    b->host.loop = &b->loop;
    host_meters_create(&b->host);
    b->sub = evrt_sub_create(1, EVRT_STR("SocialStatisticsHandler"), TYPES, TYPES, 1);
    for (int i = 0; i < TYPES; i++) {
        char type[32];
        snprintf(type, sizeof type, "social.like.kind%d", i);
        b->events[i] = encode(type, (uint64_t)i + 1);
        b->types[i] = evrt_event_field(b->events[i].p, EVRT_FIELD_TYPE);
        b->positions[i] = evrt_sub_push(b->sub, (uint64_t)i + 1, 0);
    }
}

/* Committed and sent 64 at a time, as they come in batches. */
static void pass(struct bench *b, int types, int64_t now) {
    struct evrt_host *h = &b->host;
    enum { BATCH = 64 };
    for (int i = 0; i < BATCH; i++) {
        h->appended++;
        host_meter_appended(h);
    }
    host_meter_group(h, BATCH, 130000);
    for (int i = 0; i < BATCH; i++) {
        int k = (int)(h->committed++ % (uint64_t)types);
        host_meter_stored(h, b->types[k], b->events[k], 130000, now);
        host_meter_sent(h, b->sub, b->positions[k], b->events[k]);
        struct evrt_delivery d = *evrt_sub_at(b->sub, b->positions[k]);
        d.sent_ns = now - 200000;
        host_meter_done(h, &d, now);
    }
    h->submitted = h->appended;
}

/* Of this thread alone: others may want the core, too. */
static int64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static double event_ns(struct bench *b, int types) {
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t begin = cpu_ns();
        for (int i = 0; i < EVENTS / 64; i++)
            pass(b, types, begin + i);
        double ns = (double)(cpu_ns() - begin) / EVENTS;
        if (ns < best) best = ns;
    }
    return best;
}

/* ---- Everything of a delivery ---- */

struct everything {
    struct evrt_trace_options options;
    struct evrt_tracer *tracer;
    struct evrt_log *log;
    struct host_generation generation;
    struct host_worker worker;
};

/* Nobody takes the spans: what finds no room is left out, so that only the loop's part is measured. Lines go to a
 * ring that holds a round's. */
static void turn_on(struct everything *all, struct bench *b) {
    static const struct evrt_trace_config config = {.exporter = "otlp",
                                                    .endpoint = "http://127.0.0.1:1",
                                                    .keep = "sampled",
                                                    .compression = "auto",
                                                    .sample_rate = 1,
                                                    .max_spans_per_second = 1000000000,
                                                    .batch_size = 512,
                                                    .queue_size = 512,
                                                    .batch_delay_ms = 5000,
                                                    .timeout_ms = 1000};
    static const char *const outputs[] = {"/dev/null", NULL};
    const struct evrt_log_options lines = {
        .level = EVRT_LOG_INFO, .caller = true, .outputs = outputs, .buffer = 1 << 20};
    *all = (struct everything){.generation.number = 1};
    evrt_trace_options_init(&all->options, &config, NULL, NULL, NULL);
    if (evrt_tracer_create(&all->tracer, &all->options, NULL, NULL) < 0) abort();
    if (evrt_log_create(&all->log, &lines, NULL) < 0) abort();
    b->host.tracing = host_tracing_create(all->tracer);
    b->host.log = all->log;
    all->worker.host = &b->host;
    all->worker.generation = &all->generation;
}

static void turn_off(struct everything *all, struct bench *b) {
    host_tracing_destroy(b->host.tracing);
    b->host.tracing = NULL;
    b->host.log = NULL;
    evrt_tracer_destroy(all->tracer, 0);
    evrt_trace_options_finish(&all->options);
    evrt_log_destroy(all->log);
}

/* From sending to its end: what it is called, the clock, counters, gauge, histogram, span and line. */
static void deliver(struct everything *all, struct bench *b, int k) {
    struct evrt_host *h = &b->host;
    host_meter_sent(h, b->sub, b->positions[k], b->events[k]);
    host_trace_sent(h, b->sub, b->positions[k], b->events[k].p);
    struct evrt_delivery d = *evrt_sub_at(b->sub, b->positions[k]);
    int64_t now = evrt_mono_ns();
    d.attempt = 1;
    d.sent_ns = now - 200000;
    host_meter_done(h, &d, now);
    host_trace_handled(h, b->sub, &d, now, NULL);
    host_log_handled(&all->worker, b->sub, &d, now);
}

static double everything_ns(struct bench *b) {
    enum { DELIVERIES = 512, TYPES_USED = 16, SHORT_ROUNDS = 3000 };
    struct everything all;
    uint64_t dropped, sampled;
    double best = 1e9;
    turn_on(&all, b);
    for (int round = 0; round < SHORT_ROUNDS; round++) {
        int64_t begin = evrt_mono_ns();
        for (int i = 0; i < DELIVERIES; i++)
            deliver(&all, b, i % TYPES_USED);
        double ns = (double)(evrt_mono_ns() - begin) / DELIVERIES;
        if (ns < best) best = ns;
        evrt_log_flush(all.log, 5000);
    }
    evrt_log_counts(all.log, &dropped, &sampled);
    if (dropped + sampled != 0) abort();
    turn_off(&all, b);
    return best;
}

int main(void) {
    struct bench b;
    prepare(&b);
    const int types[] = {1, 16, TYPES};
    struct host_meters *meters = b.host.meters;
    for (int i = 0; i < 3; i++) {
        double with = event_ns(&b, types[i]);
        b.host.meters = NULL; /* off: what the loop around it takes */
        double without = event_ns(&b, types[i]);
        b.host.meters = meters;
        printf("%s\"metrics_%d_types_ns\":%.1f,\"off_%d_types_ns\":%.1f", i == 0 ? "{" : ",",
               types[i], with - without, types[i], without);
    }
    printf(",\"everything_ns\":%.1f}\n", everything_ns(&b));
    host_meters_destroy(&b.host);
    evrt_sub_destroy(b.sub);
    for (int i = 0; i < TYPES; i++)
        free((char *)b.events[i].p);
    uv_loop_close(&b.loop);
    return 0;
}

/* What telemetry's parts cost by themselves, on the hot path and when they are looked at:
 *
 *     telemetry_bench
 *
 * Prints one JSON object: nanoseconds an operation, and of a scrape the time on the loop and off it. */
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/event.h"
#include "core/random.h"
#include "telemetry/gzip.h"
#include "telemetry/log_events.h"
#include "telemetry/metrics_render.h"
#include "telemetry/trace.h"
#include "telemetry/trace_options.h"
#include "telemetry/trace_otlp.h"
#include "telemetry/trace_record.h"

enum { SERIES = 64, VALUES = 4096, OPERATIONS = 20000000, ROUNDS = 5 };

struct bench {
    struct evrt_metrics *metrics;
    struct evrt_series *counters[SERIES], *histograms[SERIES];
    int64_t values[VALUES];
};

/* Durations as they are: most below a millisecond, some far above. */
static void prepare(struct bench *b) {
    struct evrt_random random;
    evrt_random_init(&random);
    b->metrics = evrt_metrics_create(100000);
    for (int i = 0; i < SERIES; i++) {
        char type[32];
        snprintf(type, sizeof type, "like.kind%d", i);
        const struct evrt_slice *pair = EVRT_LABELS(evrt_slice_of(type), EVRT_STR("/app"));
        b->counters[i] = evrt_metrics_series(b->metrics, EVRT_METRIC_PUBLISHED, pair);
        b->histograms[i] = evrt_metrics_series(b->metrics, EVRT_METRIC_PUBLISH_DURATION, pair);
    }
    for (int i = 0; i < VALUES; i++)
        b->values[i] = (int64_t)(50000 + evrt_random_u64(&random) % 400000)
                       << (evrt_random_u64(&random) % 8 == 0 ? 6 : 0);
}

/* The quickest of some rounds: what the operation needs, not what else ran. */
static double counter_ns(struct bench *b) {
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t begin = evrt_mono_ns();
        for (uint32_t i = 0; i < OPERATIONS; i++) {
            evrt_series_add(b->counters[i % SERIES], 1);
            __asm__ volatile("" ::: "memory");
        }
        double ns = (double)(evrt_mono_ns() - begin) / OPERATIONS;
        if (ns < best) best = ns;
    }
    return best;
}

static double histogram_ns(struct bench *b) {
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t begin = evrt_mono_ns();
        for (uint32_t i = 0; i < OPERATIONS; i++) {
            evrt_series_observe(b->histograms[i % SERIES], b->values[i % VALUES]);
            __asm__ volatile("" ::: "memory");
        }
        double ns = (double)(evrt_mono_ns() - begin) / OPERATIONS;
        if (ns < best) best = ns;
    }
    return best;
}

static size_t count_lines(const struct evrt_buf *text) {
    size_t lines = 0;
    for (size_t i = 0; i < text->n; i++)
        lines += text->p[i] == '\n' && i > 0;
    return lines;
}

/* As many handlers and types as make some 10,000 lines. */
static void fill(struct bench *b) {
    for (int i = 0; i < 240; i++) {
        char type[32], handler[32];
        snprintf(type, sizeof type, "order.kind%d", i);
        snprintf(handler, sizeof handler, "Handler%d", i % 40);
        struct evrt_slice t = evrt_slice_of(type), h = evrt_slice_of(handler);
        evrt_series_observe(
            evrt_metrics_series(b->metrics, EVRT_METRIC_HANDLING_DURATION, EVRT_LABELS(t, h)), 7);
        for (int k = 0; k < 12; k++) {
            char number[8];
            snprintf(number, sizeof number, "%d", k);
            evrt_metrics_count(b->metrics, EVRT_METRIC_RETRIED,
                               EVRT_LABELS(t, h, evrt_slice_of(number)), 123456);
        }
    }
}

static void scrape(struct bench *b) {
    double shoot = 1e9, render = 1e9, packed = 1e9;
    struct evrt_buf text = {0}, zip = {0};
    fill(b);
    for (int round = 0; round < 20; round++) {
        evrt_buf_clear(&text);
        evrt_buf_clear(&zip);
        int64_t t0 = evrt_mono_ns();
        struct evrt_metrics_shot *shot = evrt_metrics_shoot(b->metrics);
        int64_t t1 = evrt_mono_ns();
        evrt_metrics_render(shot, true, &text);
        int64_t t2 = evrt_mono_ns();
        evrt_gzip(evrt_buf_slice(&text), &zip);
        int64_t t3 = evrt_mono_ns();
        evrt_metrics_shot_end(shot);
        if ((double)(t1 - t0) < shoot) shoot = (double)(t1 - t0);
        if ((double)(t2 - t1) < render) render = (double)(t2 - t1);
        if ((double)(t3 - t2) < packed) packed = (double)(t3 - t2);
    }
    printf("\"scrape_lines\":%zu,\"scrape_bytes\":%zu,\"scrape_packed_bytes\":%zu,"
           "\"scrape_loop_ms\":%.4f,\"scrape_render_ms\":%.4f,\"scrape_gzip_ms\":%.4f",
           count_lines(&text), text.n, zip.n, shoot / 1e6, render / 1e6, packed / 1e6);
    evrt_buf_finish(&text);
    evrt_buf_finish(&zip);
}

/* ---- Spans ---- */

/* Short rounds, so that some are not interrupted. */
enum { SPANS = 50000, SPAN_ROUNDS = 100, BATCH = 512 };

struct tracing {
    struct evrt_trace_options options;
    struct evrt_tracer *tracer;
    struct evrt_random random;
    struct evrt_span span;
    char event[512]; /* with a traceparent */
};

/* Nobody takes the spans: what finds no room is left out, so that only the loop's part is measured. */
static void prepare_tracing(struct tracing *t, double ratio) {
    static const struct evrt_trace_config config = {
        .exporter = "otlp",
        .endpoint = "http://127.0.0.1:1",
        .keep = "sampled",
        .compression = "auto",
        .sample_rate = 1,
        .max_spans_per_second = 1000000000,
        .batch_size = BATCH,
        .queue_size = BATCH,
        .batch_delay_ms = 5000,
        .timeout_ms = 1000,
    };
    struct evrt_event e = {.id = EVRT_STR("01a208f5-b381-7400-b46d-319e3ab78e93"),
                           .type = EVRT_STR("like.added"),
                           .source = EVRT_STR("/social"),
                           .time = EVRT_STR("2026-01-01T00:00:00.000Z"),
                           .flags = EVRT_EVENT_TRACED,
                           .seq = 7};
    struct evrt_buf extensions;
    evrt_trace_options_init(&t->options, &config, NULL, NULL, NULL);
    if (evrt_tracer_create(&t->tracer, &t->options, NULL, NULL) < 0) abort();
    evrt_tracer_set(t->tracer, ratio, 1000000000);
    evrt_random_init(&t->random);
    evrt_buf_init(&extensions);
    if (evrt_extensions_add(&extensions, EVRT_STR("traceparent"), 's',
                            EVRT_STR("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")) <
        0)
        abort();
    e.extensions = evrt_buf_slice(&extensions);
    evrt_event_encode(&e, t->event);
    evrt_buf_finish(&extensions);
    t->span = (struct evrt_span){.kind = EVRT_SPAN_HANDLE,
                                 .status = EVRT_SPAN_OK,
                                 .number = 1,
                                 .seq = 7,
                                 .type = e.type,
                                 .event_id = e.id,
                                 .handler = EVRT_STR("SocialStatisticsHandler")};
}

static void finish_tracing(struct tracing *t) {
    evrt_tracer_destroy(t->tracer, 0);
    evrt_trace_options_finish(&t->options);
}

/* As the host does it: where the event stands, the span's id, the span. */
static double span_ns(struct tracing *t) {
    double best = 1e9;
    for (int round = 0; round < SPAN_ROUNDS; round++) {
        int64_t begin = evrt_mono_ns();
        for (uint32_t i = 0; i < SPANS; i++) {
            struct evrt_event_trace of;
            evrt_event_trace(t->event, 0, &of);
            t->span.high = of.context.high;
            t->span.low = of.context.low;
            t->span.parent = of.context.span;
            t->span.id = evrt_handle_span_id(&of.context, i, 1);
            t->span.start_ns = begin + i;
            t->span.end_ns = begin + i + 1000;
            evrt_tracer_put(t->tracer, &t->span);
        }
        double ns = (double)(evrt_mono_ns() - begin) / SPANS;
        if (ns < best) best = ns;
    }
    return best;
}

static double decision_ns(struct tracing *t) {
    double best = 1e9;
    for (int round = 0; round < SPAN_ROUNDS; round++) {
        int64_t begin = evrt_mono_ns();
        for (uint32_t i = 0; i < SPANS; i++) {
            struct evrt_trace_context context;
            (void)evrt_tracer_begin(t->tracer, &t->random, begin, &context);
            __asm__ volatile("" ::: "memory");
        }
        double ns = (double)(evrt_mono_ns() - begin) / SPANS;
        if (ns < best) best = ns;
    }
    return best;
}

/* In the exporter's thread. */
static void spans_out(struct tracing *t) {
    struct evrt_otlp *otlp = evrt_otlp_create(evrt_buf_slice(&t->options.resource));
    struct evrt_buf records, packed;
    double encode = 1e9, zip = 1e9;
    struct evrt_slice body = {NULL, 0};
    evrt_buf_init(&records);
    evrt_buf_init(&packed);
    for (int i = 0; i < BATCH; i++)
        evrt_span_put(&records, &t->span);
    for (int round = 0; round < 20; round++) {
        int64_t begin = evrt_mono_ns();
        body = evrt_otlp_encode(otlp, evrt_buf_slice(&records), 0);
        int64_t encoded = evrt_mono_ns();
        evrt_buf_clear(&packed);
        evrt_gzip(body, &packed);
        int64_t zipped = evrt_mono_ns();
        if ((double)(encoded - begin) < encode) encode = (double)(encoded - begin);
        if ((double)(zipped - encoded) < zip) zip = (double)(zipped - encoded);
    }
    printf("\"span_encode_ns\":%.0f,\"span_gzip_ns\":%.0f,\"span_bytes\":%zu,"
           "\"span_packed_bytes\":%zu",
           encode / BATCH, zip / BATCH, body.n / BATCH, packed.n / BATCH);
    evrt_buf_finish(&records);
    evrt_buf_finish(&packed);
    evrt_otlp_destroy(otlp);
}

static void spans(void) {
    struct tracing t = {.tracer = NULL};
    prepare_tracing(&t, 1);
    printf(",\"span_ns\":%.1f,", span_ns(&t));
    spans_out(&t);
    finish_tracing(&t);
    prepare_tracing(&t, 0.1);
    printf(",\"decision_ns\":%.1f", decision_ns(&t));
    finish_tracing(&t);
}

/* ---- Lines ---- */

/* As many as the ring has room for, then it is emptied: none is dropped, and writing them out is not counted. */
enum { LINES = 512, LINE_ROUNDS = 2000 };

static void log_lines(void) {
    static const char *const outputs[] = {"/dev/null", NULL};
    const struct evrt_log_options options = {
        .level = EVRT_LOG_INFO, .caller = true, .outputs = outputs, .buffer = 1 << 20};
    struct evrt_log *log;
    uint64_t dropped, sampled;
    double best = 1e9;
    if (evrt_log_create(&log, &options, NULL) < 0) abort();
    for (int round = 0; round < LINE_ROUNDS; round++) {
        int64_t begin = evrt_mono_ns();
        for (uint64_t i = 0; i < LINES; i++)
            evrt_log_event(log, EVENT_HANDLED, EVRT_F_STR("event_type", EVRT_STR("like.added")),
                           EVRT_F_STR("event_id", EVRT_STR("01a208f5-b381-7400-b46d-319e3ab78e93")),
                           EVRT_F_CSTR("handler", "SocialStatisticsHandler"),
                           EVRT_F_DURATION("duration", (int64_t)i * 1000),
                           EVRT_F_CSTR("status", "success"), EVRT_F_U64("attempt", 1),
                           EVRT_F_U64("seq", i));
        double ns = (double)(evrt_mono_ns() - begin) / LINES;
        if (ns < best) best = ns;
        evrt_log_flush(log, 5000);
    }
    evrt_log_counts(log, &dropped, &sampled);
    if (dropped != 0) abort();
    evrt_log_destroy(log);
    printf(",\"log_line_ns\":%.1f", best);
}

int main(void) {
    struct bench b;
    prepare(&b);
    printf("{\"counter_ns\":%.3f,\"histogram_ns\":%.3f,", counter_ns(&b), histogram_ns(&b));
    scrape(&b);
    spans();
    log_lines();
    printf("}\n");
    evrt_metrics_destroy(b.metrics);
    return 0;
}

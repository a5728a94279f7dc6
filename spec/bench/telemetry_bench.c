/* What telemetry's parts cost by themselves, on the hot path and when they are looked at:
 *
 *     telemetry_bench
 *
 * Prints one JSON object: nanoseconds an operation, and of a scrape the time on the loop and off it. */
#include <stdio.h>

#include "core/clock.h"
#include "core/random.h"
#include "telemetry/gzip.h"
#include "telemetry/metrics_render.h"

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

int main(void) {
    struct bench b;
    prepare(&b);
    printf("{\"counter_ns\":%.3f,\"histogram_ns\":%.3f,", counter_ns(&b), histogram_ns(&b));
    scrape(&b);
    printf("}\n");
    evrt_metrics_destroy(b.metrics);
    return 0;
}

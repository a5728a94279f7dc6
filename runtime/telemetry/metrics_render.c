/* See metrics_render.h. Series and families live as long as a shot does, and what of them changes (figures,
 * exemplars) is copied, so that rendering shares nothing with the loop. A line is a name, the labels as they
 * were made once, and a number: no printf for what is whole. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "telemetry/metrics_internal.h"
#include "telemetry/metrics_render.h"
#include "telemetry/process_stats.h"

struct shot_series {
    const struct evrt_series *series;
    union {
        uint64_t u;
        double d;
    } v;
    size_t counts;    /* in shot->counts; of histograms */
    size_t exemplars; /* in shot->exemplars + 1; 0: none */
};

struct shot_family {
    const struct evrt_family *family;
    size_t first, count;
};

struct evrt_metrics_shot {
    struct evrt_metrics *metrics;
    struct shot_family *families;
    size_t family_count;
    struct shot_series *series;
    uint64_t *counts;
    struct evrt_exemplar *exemplars;
    size_t series_count, counts_count, exemplar_count;
};

/* ---- On the loop ---- */

/* Counts, or with the arrays there also copies. */
static void take_series(struct evrt_metrics_shot *shot, const struct evrt_series *s) {
    size_t buckets = s->buckets == NULL ? 0 : s->buckets->n + 1;
    if (shot->series != NULL) {
        struct shot_series *to = &shot->series[shot->series_count];
        *to = (struct shot_series){.series = s, .counts = shot->counts_count};
        memcpy(&to->v, &s->v, sizeof to->v);
        memcpy(shot->counts + shot->counts_count, s->counts, buckets * sizeof s->counts[0]);
        if (s->exemplars != NULL) {
            memcpy(shot->exemplars + shot->exemplar_count, s->exemplars,
                   buckets * sizeof *s->exemplars);
            to->exemplars = shot->exemplar_count + 1;
        }
    }
    shot->series_count++;
    shot->counts_count += buckets;
    if (s->exemplars != NULL) shot->exemplar_count += buckets;
}

static void take_family(struct evrt_metrics_shot *shot, const struct evrt_family *f) {
    if (f->count == 0) return;
    if (shot->families != NULL)
        shot->families[shot->family_count] = (struct shot_family){f, shot->series_count, f->count};
    shot->family_count++;
    for (size_t i = 0; i < f->count; i++)
        take_series(shot, f->list[i]);
}

static void take(struct evrt_metrics_shot *shot) {
    const struct evrt_metrics *m = shot->metrics;
    shot->family_count = shot->series_count = shot->counts_count = shot->exemplar_count = 0;
    for (unsigned id = 0; id < EVRT_METRIC_COUNT; id++)
        take_family(shot, &m->table[id]);
    for (const struct evrt_family *f = m->own; f != NULL; f = f->next)
        if (f->shown) take_family(shot, f);
}

struct evrt_metrics_shot *evrt_metrics_shoot(struct evrt_metrics *m) {
    struct evrt_metrics_shot *shot = evrt_zalloc(sizeof *shot);
    shot->metrics = m;
    take(shot);
    shot->families = evrt_alloc(shot->family_count * sizeof *shot->families);
    shot->series = evrt_alloc(shot->series_count * sizeof *shot->series);
    shot->counts = evrt_alloc((shot->counts_count + 1) * sizeof *shot->counts);
    shot->exemplars = evrt_alloc((shot->exemplar_count + 1) * sizeof *shot->exemplars);
    take(shot);
    m->shots++;
    return shot;
}

void evrt_metrics_shot_end(struct evrt_metrics_shot *shot) {
    shot->metrics->shots--;
    evrt_metrics_bury(shot->metrics);
    free(shot->families);
    free(shot->series);
    free(shot->counts);
    free(shot->exemplars);
    free(shot);
}

/* ---- On any thread ---- */

static struct shot_series *find_plain(struct evrt_metrics_shot *shot, enum evrt_metric_id id) {
    const struct evrt_family *family = &shot->metrics->table[id];
    size_t i = 0;
    while (shot->families[i].family != family)
        i++;
    return &shot->series[shot->families[i].first];
}

void evrt_metrics_shot_process(struct evrt_metrics_shot *shot) {
    struct evrt_process_stats s;
    evrt_process_stats(&s);
    find_plain(shot, EVRT_METRIC_PROCESS_CPU)->v.u = s.cpu_ns;
    find_plain(shot, EVRT_METRIC_PROCESS_OPEN_FDS)->v.d = s.open_fds;
    find_plain(shot, EVRT_METRIC_PROCESS_MAX_FDS)->v.d = s.max_fds;
    find_plain(shot, EVRT_METRIC_PROCESS_VIRTUAL)->v.d = s.virtual_bytes;
    find_plain(shot, EVRT_METRIC_PROCESS_VIRTUAL_MAX)->v.d = s.virtual_max;
    find_plain(shot, EVRT_METRIC_PROCESS_RESIDENT)->v.d = s.resident_bytes;
    find_plain(shot, EVRT_METRIC_PROCESS_START)->v.d = (double)s.start_ms / 1000;
    find_plain(shot, EVRT_METRIC_PROCESS_THREADS)->v.d = s.threads;
}

/* ---- Numbers ---- */

void evrt_metrics_put_double(struct evrt_buf *out, double v) {
    char text[32];
    if (v == floor(v) && fabs(v) < 9007199254740992.0) {
        evrt_buf_put_i64(out, (int64_t)v);
        return;
    }
    if (isnan(v) || isinf(v)) {
        evrt_buf_puts(out, isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) break;
    }
    evrt_buf_puts(out, text);
}

/* Nanoseconds as seconds. */
static void put_seconds(struct evrt_buf *out, uint64_t ns) {
    uint64_t rest = ns % 1000000000;
    evrt_buf_put_u64(out, ns / 1000000000);
    if (rest == 0) return;
    char digits[10] = {'.'};
    int n = 9;
    for (int i = 9; i > 0; i--, rest /= 10)
        digits[i] = (char)('0' + rest % 10);
    while (digits[n] == '0')
        n--;
    evrt_buf_put(out, digits, (size_t)n + 1);
}

static void put_value(struct evrt_buf *out, const struct evrt_family *f,
                      const struct shot_series *s) {
    if (f->own || f->type == EVRT_METRIC_TYPE_GAUGE)
        evrt_metrics_put_double(out, s->v.d);
    else if (f->seconds)
        put_seconds(out, s->v.u);
    else
        evrt_buf_put_u64(out, s->v.u);
}

/* ---- Lines ---- */

struct rendering {
    struct evrt_buf *out;
    const struct evrt_metrics_shot *shot;
    const struct evrt_family *family;
    bool openmetrics;
};

/* NAME SUFFIX {LABELS,le="LE"} and a space */
static void put_name(const struct rendering *r, const struct shot_series *s, const char *suffix,
                     const char *le) {
    struct evrt_buf *out = r->out;
    evrt_buf_puts(out, r->family->name);
    evrt_buf_puts(out, suffix);
    if (s->series->labels_n != 0 || le != NULL) {
        evrt_buf_putc(out, '{');
        evrt_buf_put(out, s->series->labels, s->series->labels_n);
        if (le != NULL) {
            if (s->series->labels_n != 0) evrt_buf_putc(out, ',');
            evrt_buf_puts(out, "le=\"");
            evrt_buf_puts(out, le);
            evrt_buf_putc(out, '"');
        }
        evrt_buf_putc(out, '}');
    }
    evrt_buf_putc(out, ' ');
}

static void put_exemplar(struct evrt_buf *out, const struct evrt_exemplar *x) {
    char ms[8];
    evrt_buf_puts(out, " # {trace_id=\"");
    evrt_buf_puts(out, x->trace);
    evrt_buf_puts(out, "\"} ");
    evrt_metrics_put_double(out, x->value);
    evrt_buf_putc(out, ' ');
    evrt_buf_put_i64(out, x->ms / 1000);
    snprintf(ms, sizeof ms, ".%03d", (int)(x->ms % 1000));
    evrt_buf_puts(out, ms);
}

static void put_histogram(const struct rendering *r, const struct shot_series *s) {
    const struct evrt_buckets *b = s->series->buckets;
    const uint64_t *counts = r->shot->counts + s->counts;
    uint64_t sum = 0;
    for (uint32_t i = 0; i <= b->n; i++) {
        put_name(r, s, "_bucket", i < b->n ? b->le[i] : "+Inf");
        evrt_buf_put_u64(r->out, sum += counts[i]);
        if (r->openmetrics && s->exemplars != 0) {
            const struct evrt_exemplar *x = &r->shot->exemplars[s->exemplars - 1 + i];
            if (x->trace[0] != '\0') put_exemplar(r->out, x);
        }
        evrt_buf_putc(r->out, '\n');
    }
    put_name(r, s, "_sum", NULL);
    put_value(r->out, r->family, s);
    evrt_buf_putc(r->out, '\n');
    put_name(r, s, "_count", NULL);
    evrt_buf_put_u64(r->out, sum);
    evrt_buf_putc(r->out, '\n');
}

static void put_help(const struct rendering *r, const char *help) {
    for (; *help != '\0'; help++) {
        if (*help == '\n') {
            evrt_buf_puts(r->out, "\\n");
            continue;
        }
        if (*help == '\\' || (*help == '"' && r->openmetrics)) evrt_buf_putc(r->out, '\\');
        evrt_buf_putc(r->out, *help);
    }
}

/* OpenMetrics names a counter's family without _total. */
static void put_head(const struct rendering *r) {
    static const char *const types[] = {"counter", "gauge", "histogram"};
    const struct evrt_family *f = r->family;
    size_t n = strlen(f->name);
    if (r->openmetrics && f->type == EVRT_METRIC_TYPE_COUNTER) n -= sizeof "_total" - 1;
    evrt_buf_puts(r->out, "# HELP ");
    evrt_buf_put(r->out, f->name, n);
    evrt_buf_putc(r->out, ' ');
    put_help(r, f->help);
    evrt_buf_puts(r->out, "\n# TYPE ");
    evrt_buf_put(r->out, f->name, n);
    evrt_buf_putc(r->out, ' ');
    evrt_buf_puts(r->out, types[f->type]);
    evrt_buf_putc(r->out, '\n');
}

void evrt_metrics_render(const struct evrt_metrics_shot *shot, bool openmetrics,
                         struct evrt_buf *out) {
    for (size_t i = 0; i < shot->family_count; i++) {
        const struct shot_family *of = &shot->families[i];
        struct rendering r = {out, shot, of->family, openmetrics};
        put_head(&r);
        for (size_t k = 0; k < of->count; k++) {
            const struct shot_series *s = &shot->series[of->first + k];
            if (of->family->type == EVRT_METRIC_TYPE_HISTOGRAM) {
                put_histogram(&r, s);
                continue;
            }
            put_name(&r, s, "", NULL);
            put_value(out, of->family, s);
            evrt_buf_putc(out, '\n');
        }
    }
    if (openmetrics) evrt_buf_puts(out, "# EOF\n");
}

/* See metrics.h: interning of label sets, the cap, and what is dropped. A series is found by its label values,
 * cleaned and joined by NUL, which no clean value holds. */
#include <stdio.h>
#include <stdlib.h>

#include "core/utf8.h"
#include "telemetry/metrics_internal.h"

/* ---- Buckets ---- */

/* 50 us to 10 s. */
static const int64_t seconds_at[] = {50000,      100000,     250000,    500000,     1000000,
                                     2500000,    5000000,    10000000,  25000000,   50000000,
                                     100000000,  250000000,  500000000, 1000000000, 2500000000,
                                     5000000000, 10000000000};
static const int64_t count_at[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000};

void evrt_buckets_init(struct evrt_buckets *b) {
    for (uint32_t bits = 0; bits <= 64; bits++) {
        int64_t least = bits == 0   ? 0
                        : bits > 63 ? INT64_MAX
                                    : (int64_t)(UINT64_C(1) << (bits - 1));
        uint32_t i = 0;
        while (i < b->n && b->at[i] < least)
            i++;
        b->start[bits] = (uint8_t)i;
    }
}

static void fill(struct evrt_buckets *b, const int64_t *at, size_t n, double scale) {
    b->n = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        b->at[i] = at[i];
        snprintf(b->le[i], sizeof b->le[i], "%g", (double)at[i] * scale);
        if (strpbrk(b->le[i], ".e") == NULL) strcat(b->le[i], ".0"); /* as OpenMetrics wants it */
    }
    evrt_buckets_init(b);
}

/* ---- Label values ---- */

/* As UTF-8 without NUL, cut at a character's start. */
static void put_clean(struct evrt_buf *out, struct evrt_slice s) {
    size_t end = out->n + EVRT_LABEL_VALUE_MAX;
    while (s.n > 0 && out->n < end) {
        const char *nul = memchr(s.p, '\0', s.n);
        size_t n = nul == NULL ? s.n : (size_t)(nul - s.p);
        if (n > end - out->n) n = end - out->n;
        size_t good = evrt_utf8_check(s.p, n);
        evrt_buf_put(out, s.p, good);
        s.p += good;
        s.n -= good;
        if (s.n == 0 || out->n >= end) return;
        if (end - out->n < 4) return; /* a character that does not fit whole */
        evrt_buf_puts(out, "\xef\xbf\xbd");
        s.p++;
        s.n--;
    }
}

static void put_escaped(struct evrt_buf *out, struct evrt_slice s) {
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\n') {
            evrt_buf_puts(out, "\\n");
            continue;
        }
        if (s.p[i] == '"' || s.p[i] == '\\') evrt_buf_putc(out, '\\');
        evrt_buf_putc(out, s.p[i]);
    }
}

static struct evrt_slice key_piece(const struct evrt_series *s, uint32_t index) {
    const char *p = s->key, *end = s->key + s->key_n;
    for (;; index--) {
        const char *nul = memchr(p, '\0', (size_t)(end - p));
        const char *stop = nul == NULL ? end : nul;
        if (index == 0) return (struct evrt_slice){p, (size_t)(stop - p)};
        p = stop + 1;
    }
}

static void put_labels(struct evrt_buf *out, const struct evrt_family *f,
                       const struct evrt_series *s) {
    for (uint32_t i = 0; i < f->label_count; i++) {
        if (i > 0) evrt_buf_putc(out, ',');
        evrt_buf_put(out, f->labels[i], f->label_n[i]);
        evrt_buf_puts(out, "=\"");
        put_escaped(out, key_piece(s, i));
        evrt_buf_putc(out, '"');
    }
}

/* ---- Series ---- */

static struct evrt_series *new_series(struct evrt_family *f) {
    size_t counts = f->buckets == NULL ? 0 : f->buckets->n + 1;
    struct evrt_series *s = evrt_zalloc(sizeof *s + counts * sizeof s->counts[0]);
    s->family = f;
    s->buckets = f->buckets;
    return s;
}

static void enlist(struct evrt_family *f, struct evrt_series *s) {
    if (f->count == f->cap) {
        f->cap = f->cap == 0 ? 4 : f->cap * 2;
        f->list = evrt_realloc(f->list, f->cap * sizeof(struct evrt_series *));
    }
    s->index = f->count;
    f->list[f->count++] = s;
}

static void free_series(struct evrt_series *s) {
    free((char *)s->key);
    free(s->labels);
    free(s->exemplars);
    free(s);
}

struct evrt_series *evrt_family_overflow(struct evrt_family *f, uint64_t n) {
    if (f->overflow == NULL) {
        static const char labels[] = "overflow=\"true\"";
        f->overflow = new_series(f);
        f->overflow->labels = evrt_strdup(labels);
        f->overflow->labels_n = sizeof labels - 1;
        enlist(f, f->overflow);
        f->overflowed = evrt_metrics_series(f->metrics, EVRT_METRIC_METRICS_OVERFLOW,
                                            EVRT_LABELS(evrt_slice_of(f->name)));
    }
    evrt_series_add(f->overflowed, n);
    evrt_metrics_limit(f->metrics, EVRT_LIMIT_SERIES, n);
    return f->overflow;
}

struct evrt_series *evrt_family_series(struct evrt_family *f, const struct evrt_slice *values) {
    char room[512];
    struct evrt_buf key = {room, 0, sizeof room};
    struct evrt_buf large = {0};
    size_t need = f->label_count * (EVRT_LABEL_VALUE_MAX + 1u);
    if (need > sizeof room) evrt_buf_room(&large, need), key = large;
    for (uint32_t i = 0; i < f->label_count; i++) {
        if (i > 0) evrt_buf_putc(&key, '\0');
        put_clean(&key, values[i]);
    }
    struct evrt_series *s = evrt_map_get(&f->by_key, evrt_buf_slice(&key));
    if (s == NULL && f->count >= f->metrics->max_series && f->label_count != 0) {
        s = evrt_family_overflow(f, 1);
    } else if (s == NULL) {
        struct evrt_buf labels = {0};
        s = new_series(f);
        char *own_key = evrt_alloc(key.n + 1); /* not strndup: it holds NULs */
        memcpy(own_key, key.p, key.n);
        s->key = own_key;
        s->key_n = (uint32_t)key.n;
        put_labels(&labels, f, s);
        s->labels_n = (uint32_t)labels.n;
        s->labels = evrt_buf_release(&labels);
        evrt_map_set(&f->by_key, evrt_buf_slice(&key), s);
        enlist(f, s);
    }
    if (key.p != room) evrt_buf_finish(&key);
    return s;
}

void evrt_series_exemplar(struct evrt_series *s, uint32_t bucket, const char *trace, double value,
                          int64_t ms) {
    if (s->exemplars == NULL)
        s->exemplars = evrt_zalloc((s->buckets->n + 1) * sizeof *s->exemplars);
    struct evrt_exemplar *x = &s->exemplars[bucket];
    memcpy(x->trace, trace, 32);
    x->value = value;
    x->ms = ms;
}

/* ---- Families ---- */

static void split_labels(struct evrt_family *f) {
    for (const char *p = f->label_names; *p != '\0' && f->label_count < EVRT_LABELS_MAX;) {
        size_t n = strcspn(p, ",");
        f->labels[f->label_count] = p;
        f->label_n[f->label_count++] = (uint8_t)n;
        p += n + (p[n] == ',');
    }
}

void evrt_family_init(struct evrt_metrics *m, struct evrt_family *f) {
    f->metrics = m;
    evrt_map_init(&f->by_key);
    split_labels(f);
}

void evrt_family_finish(struct evrt_family *f) {
    for (size_t i = 0; i < f->count; i++)
        free_series(f->list[i]);
    free(f->list);
    evrt_map_finish(&f->by_key);
}

static void discard(struct evrt_metrics *m, struct evrt_series *s) {
    if (m->shots == 0) {
        free_series(s);
        return;
    }
    if (m->dead_n == m->dead_cap) {
        m->dead_cap = m->dead_cap == 0 ? 64 : m->dead_cap * 2;
        m->dead = evrt_realloc(m->dead, m->dead_cap * sizeof(struct evrt_series *));
    }
    m->dead[m->dead_n++] = s;
}

void evrt_family_clear(struct evrt_family *f) {
    for (size_t i = 0; i < f->count; i++)
        discard(f->metrics, f->list[i]);
    f->count = 0;
    f->overflow = NULL;
    evrt_map_finish(&f->by_key);
}

void evrt_metrics_bury(struct evrt_metrics *m) {
    if (m->shots != 0) return;
    for (size_t i = 0; i < m->dead_n; i++)
        free_series(m->dead[i]);
    m->dead_n = 0;
    while (m->dead_families != NULL) {
        struct evrt_family *f = m->dead_families;
        m->dead_families = f->next;
        evrt_family_destroy_own(f);
    }
}

static void drop_series(struct evrt_family *f, struct evrt_series *s) {
    struct evrt_series *last = f->list[--f->count];
    f->list[s->index] = last;
    last->index = s->index;
    evrt_map_remove(&f->by_key, (struct evrt_slice){s->key, s->key_n});
    discard(f->metrics, s);
}

void evrt_metrics_drop(struct evrt_metrics *m, const char *label, struct evrt_slice value,
                       bool gauges_only) {
    for (unsigned id = 0; id < EVRT_METRIC_COUNT; id++) {
        struct evrt_family *f = &m->table[id];
        uint32_t at = 0;
        if (gauges_only && f->type != EVRT_METRIC_TYPE_GAUGE) continue;
        while (at < f->label_count && !(strlen(label) == f->label_n[at] &&
                                        memcmp(f->labels[at], label, f->label_n[at]) == 0))
            at++;
        for (size_t i = f->count; at < f->label_count && i-- > 0;)
            if (f->list[i] != f->overflow && evrt_slice_eq(key_piece(f->list[i], at), value))
                drop_series(f, f->list[i]);
    }
}

/* ---- The registry ---- */

static const struct table_row {
    const char *name, *labels, *help;
    enum evrt_metric_type type;
    enum { UNIT_ONE, UNIT_SECONDS, UNIT_COUNT } unit;
} rows[] = {
#define X(id, name, type, unit, labels, help) \
    [EVRT_METRIC_##id] = {name, labels, help, EVRT_METRIC_TYPE_##type, UNIT_##unit},
    EVRT_METRICS(X)
#undef X
};

static const char *const limit_keys[] = {
#define X(id, key, meaning) [EVRT_LIMIT_##id] = key,
    EVRT_LIMITS(X)
#undef X
};

const char *evrt_limit_key(enum evrt_limit_id limit) {
    return limit_keys[limit];
}

enum evrt_limit_id evrt_limit_find(struct evrt_slice key) {
    unsigned i = 0;
    while (i < EVRT_LIMIT_COUNT && !evrt_slice_eq(key, evrt_slice_of(limit_keys[i])))
        i++;
    return i;
}

struct evrt_metrics *evrt_metrics_create(uint32_t max_series) {
    struct evrt_metrics *m = evrt_zalloc(sizeof *m);
    m->max_series = UINT32_MAX; /* for those of the table, which are few */
    fill(&m->seconds, seconds_at, sizeof seconds_at / sizeof seconds_at[0], 1e-9);
    fill(&m->count, count_at, sizeof count_at / sizeof count_at[0], 1);
    for (unsigned id = 0; id < EVRT_METRIC_COUNT; id++) {
        struct evrt_family *f = &m->table[id];
        f->name = (char *)rows[id].name;
        f->help = (char *)rows[id].help;
        f->label_names = (char *)rows[id].labels;
        f->type = rows[id].type;
        f->seconds = rows[id].unit == UNIT_SECONDS;
        if (f->type == EVRT_METRIC_TYPE_HISTOGRAM)
            f->buckets = rows[id].unit == UNIT_SECONDS ? &m->seconds : &m->count;
        evrt_family_init(m, f);
        if (f->label_count == 0) m->plain[id] = evrt_family_series(f, NULL);
    }
    for (unsigned i = 0; i < EVRT_LIMIT_COUNT; i++)
        m->limits[i] = evrt_metrics_series(m, EVRT_METRIC_LIMIT_HITS,
                                           EVRT_LABELS(evrt_slice_of(limit_keys[i])));
    m->max_series = max_series;
    return m;
}

void evrt_metrics_destroy(struct evrt_metrics *m) {
    if (m == NULL) return;
    m->shots = 0;
    evrt_metrics_bury(m);
    free(m->dead);
    for (unsigned id = 0; id < EVRT_METRIC_COUNT; id++)
        evrt_family_finish(&m->table[id]);
    while (m->own != NULL) {
        struct evrt_family *f = m->own;
        m->own = f->next;
        evrt_family_destroy_own(f);
    }
    free(m);
}

struct evrt_series *evrt_metrics_series(struct evrt_metrics *m, enum evrt_metric_id id,
                                        const struct evrt_slice *values) {
    return m->plain[id] != NULL ? m->plain[id] : evrt_family_series(&m->table[id], values);
}

struct evrt_series *evrt_metrics_overflow(struct evrt_metrics *m, enum evrt_metric_id id) {
    return evrt_family_overflow(&m->table[id], 0);
}

void evrt_metrics_count(struct evrt_metrics *m, enum evrt_metric_id id,
                        const struct evrt_slice *values, uint64_t n) {
    evrt_metrics_series(m, id, values)->v.u += n;
}

void evrt_metrics_total(struct evrt_metrics *m, enum evrt_metric_id id,
                        const struct evrt_slice *values, uint64_t total) {
    evrt_metrics_series(m, id, values)->v.u = total;
}

void evrt_metrics_gauge(struct evrt_metrics *m, enum evrt_metric_id id,
                        const struct evrt_slice *values, double v) {
    evrt_metrics_series(m, id, values)->v.d = v;
}

void evrt_metrics_limit(struct evrt_metrics *m, enum evrt_limit_id limit, uint64_t n) {
    if (m != NULL) m->limits[limit]->v.u += n;
}

void evrt_metrics_limit_total(struct evrt_metrics *m, enum evrt_limit_id limit, uint64_t total) {
    m->limits[limit]->v.u = total;
}

void evrt_metrics_clear(struct evrt_metrics *m, enum evrt_metric_id id) {
    evrt_family_clear(&m->table[id]);
}

size_t evrt_metrics_count_series(const struct evrt_metrics *m) {
    size_t n = 0;
    for (unsigned id = 0; id < EVRT_METRIC_COUNT; id++)
        n += m->table[id].count;
    for (const struct evrt_family *f = m->own; f != NULL; f = f->next)
        n += f->count;
    return n;
}

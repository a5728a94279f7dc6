/* Families of scripts. Workers define them when scripts do; several workers, and generations, share one as
 * long as its definition is the same. Of those with one name that differ only the newest generation's is shown:
 * the other is what a generation that drains still counts in. */
#include <stdio.h>
#include <stdlib.h>

#include "telemetry/metrics_internal.h"

/* ---- Families ---- */

static void show_bound(char *out, size_t size, double v) {
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(out, size, "%.*g", digits, v);
        if (strtod(out, NULL) == v) break;
    }
    if (strpbrk(out, ".en") == NULL) strcat(out, ".0");
}

static struct evrt_buckets *make_buckets(const struct evrt_metric_definition *d) {
    struct evrt_buckets *b = evrt_zalloc(sizeof *b);
    b->n = d->bound_count;
    for (uint32_t i = 0; i < b->n; i++)
        show_bound(b->le[i], sizeof b->le[i], d->bounds[i]);
    return b;
}

static struct evrt_family *create(struct evrt_metrics *m, const struct evrt_metric_definition *d) {
    struct evrt_family *f = evrt_zalloc(sizeof *f);
    f->own = true;
    f->name = evrt_strndup(d->name.p, d->name.n);
    f->help =
        d->help.n == 0 ? evrt_strdup("Counted by scripts.") : evrt_strndup(d->help.p, d->help.n);
    f->label_names = evrt_strndup(d->labels.n == 0 ? "" : d->labels.p, d->labels.n);
    f->type = d->type;
    if (d->type == EVRT_METRIC_TYPE_HISTOGRAM) f->buckets = f->own_buckets = make_buckets(d);
    evrt_family_init(m, f);
    f->next = m->own;
    m->own = f;
    m->own_count++;
    return f;
}

void evrt_family_destroy_own(struct evrt_family *f) {
    evrt_family_finish(f);
    free(f->own_buckets);
    free(f->name);
    free(f->help);
    free(f->label_names);
    free(f);
}

static bool same(const struct evrt_family *f, const struct evrt_metric_definition *d) {
    char le[26];
    if (f->type != d->type || !evrt_slice_eq(evrt_slice_of(f->name), d->name) ||
        !evrt_slice_eq(evrt_slice_of(f->label_names), d->labels))
        return false;
    if (f->buckets == NULL) return true;
    if (f->buckets->n != d->bound_count) return false;
    for (uint32_t i = 0; i < d->bound_count; i++) {
        show_bound(le, sizeof le, d->bounds[i]);
        if (strcmp(le, f->buckets->le[i]) != 0) return false;
    }
    return true;
}

/* Which of those with one name is shown: the newest generation's, of several the one that was first. */
static void choose(struct evrt_metrics *m, const char *name) {
    struct evrt_family *best = NULL;
    for (struct evrt_family *f = m->own; f != NULL; f = f->next) {
        if (strcmp(f->name, name) != 0) continue;
        f->shown = false;
        if (best == NULL || f->generation >= best->generation) best = f;
    }
    if (best != NULL) best->shown = true;
}

struct evrt_family *evrt_metrics_define(struct evrt_metrics *m,
                                        const struct evrt_metric_definition *d) {
    struct evrt_family *f = m->own;
    while (f != NULL && !same(f, d))
        f = f->next;
    if (f == NULL && m->own_count >= m->max_series) return NULL;
    if (f == NULL) f = create(m, d);
    if (d->generation > f->generation) f->generation = d->generation;
    f->users++;
    f->unused_ns = 0;
    choose(m, f->name);
    return f;
}

void evrt_metrics_undefine(struct evrt_family *f, int64_t now_ns) {
    if (--f->users == 0) f->unused_ns = now_ns;
}

struct evrt_series *evrt_metrics_own(struct evrt_family *f, const struct evrt_slice *values) {
    return values == NULL ? evrt_family_overflow(f, 1) : evrt_family_series(f, values);
}

uint32_t evrt_family_labels(const struct evrt_family *f) {
    return f->label_count;
}

enum evrt_metric_type evrt_family_type(const struct evrt_family *f) {
    return f->type;
}

void evrt_metrics_expire(struct evrt_metrics *m, int64_t before_ns) {
    for (struct evrt_family **at = &m->own; *at != NULL;) {
        struct evrt_family *f = *at;
        if (f->users != 0 || f->unused_ns >= before_ns) {
            at = &f->next;
            continue;
        }
        *at = f->next;
        m->own_count--;
        f->next = m->dead_families;
        m->dead_families = f;
        if (f->shown) choose(m, f->name);
    }
    evrt_metrics_bury(m);
}

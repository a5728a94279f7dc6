/* See model_jobs.h. */
#include "state/model_jobs.h"

#include <stdlib.h>

static struct evrt_slice copy(struct evrt_slice s) {
    return (struct evrt_slice){evrt_strndup(s.p == NULL ? "" : s.p, s.n), s.n};
}

static void free_texts(struct evrt_record_job *r) {
    free((char *)r->kind.p);
    free((char *)r->spec.p);
    free((char *)r->error.p);
    free((char *)r->ended.p);
}

void evrt_model_jobs_finish(struct evrt_model_jobs *m) {
    for (size_t i = 0; i < m->count; i++)
        free_texts(&m->all[i].r);
    free(m->all);
    free(m->gone);
    *m = (struct evrt_model_jobs){0};
}

static size_t place_of(const struct evrt_model_jobs *m, uint64_t id) {
    size_t at = m->count;
    while (at > 0 && m->all[at - 1].r.id >= id)
        at--;
    return at;
}

static void take_out(struct evrt_model_jobs *m, size_t at) {
    m->gone = evrt_realloc(m->gone, (m->gone_count + 1) * sizeof *m->gone);
    m->gone[m->gone_count++] = m->all[at].r.id;
    free_texts(&m->all[at].r);
    memmove(m->all + at, m->all + at + 1, (--m->count - at) * sizeof *m->all);
}

static struct evrt_model_job *insert(struct evrt_model_jobs *m, size_t at) {
    m->all = evrt_grow(m->all, m->count, &m->cap, sizeof *m->all);
    memmove(m->all + at + 1, m->all + at, (m->count++ - at) * sizeof *m->all);
    m->all[at] = (struct evrt_model_job){0};
    return &m->all[at];
}

void evrt_model_jobs_apply(struct evrt_model_jobs *m, const struct evrt_record_job *r) {
    size_t at = place_of(m, r->id);
    bool known = at < m->count && m->all[at].r.id == r->id;
    m->changed = true;
    if (r->state == EVRT_JOB_GONE) {
        if (known) take_out(m, at);
        return;
    }
    struct evrt_model_job *j = known ? &m->all[at] : insert(m, at);
    struct evrt_record_job before = j->r;
    j->r = *r;
    j->r.kind = copy(r->kind);
    j->r.error = copy(r->error);
    j->r.ended = copy(r->ended);
    j->r.spec = copy(r->spec.n == 0 && known ? before.spec : r->spec);
    j->changed = true;
    free_texts(&before);
}

void evrt_model_jobs_committed(struct evrt_model_jobs *m) {
    for (size_t i = 0; i < m->count && m->changed; i++)
        m->all[i].changed = false;
    m->gone_count = 0;
    m->changed = false;
}

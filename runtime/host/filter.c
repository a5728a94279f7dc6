/* See filter.h. */
#include "host/filter.h"

#include <errno.h>
#include <stdlib.h>

#include "core/pattern.h"

static char *copy(struct evrt_slice s) {
    return s.p == NULL ? NULL : evrt_strndup(s.p, s.n);
}

int host_filter_init(struct host_filter *f, const struct evrt_host_filter *want) {
    *f = (struct host_filter){.source = copy(want->source),
                              .subject = copy(want->subject),
                              .from_ms = want->from_ms,
                              .to_ms = want->to_ms};
    if (want->type.n == 0) return 0;
    f->types = evrt_pattern_set_create(want->type);
    return f->types == NULL ? -EINVAL : 0;
}

void host_filter_finish(struct host_filter *f) {
    evrt_pattern_set_unref(f->types);
    free(f->source);
    free(f->subject);
    *f = (struct host_filter){0};
}

static bool equal(const char *want, struct evrt_slice is) {
    return want == NULL || evrt_slice_eq(evrt_slice_of(want), is);
}

bool host_filter_wants(const struct host_filter *f, const struct evrt_event *e) {
    if (f->from_ms != 0 && e->stored_ms < f->from_ms) return false;
    if (f->types != NULL && !evrt_pattern_set_match(f->types, e->type)) return false;
    return equal(f->source, e->source) && equal(f->subject, e->subject);
}

/* Which events are wanted, by what they say of themselves. Embedded (init/finish); immutable in between, so
 * a job in the thread pool may use it. */
#ifndef EVRT_HOST_FILTER_H
#define EVRT_HOST_FILTER_H

#include "host/host.h"

struct evrt_pattern_set;

struct host_filter {
    struct evrt_pattern_set *types; /* NULL: all */
    char *source, *subject;         /* NULL: all */
    int64_t from_ms, to_ms;         /* 0: open */
};

/* -EINVAL: type is not a pattern. To be finished then, too. */
EVRT_MUST_CHECK int host_filter_init(struct host_filter *f, const struct evrt_host_filter *want);
void host_filter_finish(struct host_filter *f);
/* `to` is not looked at: where a scan ends is for its owner. */
bool host_filter_wants(const struct host_filter *f, const struct evrt_event *e);

#endif

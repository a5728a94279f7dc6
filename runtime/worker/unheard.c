/* See unheard.h. */
#include "worker/unheard.h"

#include <sched.h>

#include "core/clock.h"
#include "core/cpu.h"
#include "frame/page.h"

/* A small write of a quick disk takes less, and the host may do it itself. */
enum { LONG_NS = 400000 };

void evrt_unheard_yield(struct evrt_unheard *u, const struct evrt_page *page) {
    uint64_t heard = page == NULL ? u->heard + 1 : evrt_page_load(&page->heard);
    int64_t now = evrt_mono_ns();
    if (heard != u->heard || !u->wrote) u->since_ns = now;
    if (heard != u->heard) u->wrote = false;
    u->heard = heard;
    if (now - u->since_ns > LONG_NS)
        evrt_cpu_rest();
    else
        sched_yield();
}

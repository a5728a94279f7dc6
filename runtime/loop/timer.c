/* See timer.h.
 *
 *     uv's time      |....n....|...n+1...|       a whole millisecond, and where the kernel's coarse clock is
 *     the clock           ^ now     ^ due        as good as that, one more behind
 *
 * uv counts from the start of the millisecond it is in, so "in 1 ms" from `now` would end at n+1: early by what
 * is cut off. Both are the monotonic clock, so the moment itself is asked for instead: the first millisecond
 * that begins when it is due, or later. */
#include "loop/timer.h"

enum { MS = 1000000 };

void evrt_timer_start(uv_timer_t *timer, uv_timer_cb cb, int64_t due_ns) {
    uv_loop_t *loop = uv_handle_get_loop((uv_handle_t *)timer);
    uv_update_time(loop);
    int64_t due = due_ns / MS + (due_ns % MS > 0), now = (int64_t)uv_now(loop);
    uv_timer_start(timer, cb, due > now ? (uint64_t)(due - now) : 0, 0);
}

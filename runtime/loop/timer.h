/* Timers that never end early. Any owner of a uv timer; the loop's thread. */
#ifndef EVRT_LOOP_TIMER_H
#define EVRT_LOOP_TIMER_H

#include <stdint.h>
#include <uv.h>

/* Starts the timer, once: it fires when evrt_mono_ns() has reached `due_ns`, and within a millisecond or two of
 * that if the loop is free. One that is active is started anew. */
void evrt_timer_start(uv_timer_t *timer, uv_timer_cb cb, int64_t due_ns);

#endif

/* The worker's Lua state: its libraries, evrt's own modules, and the only place that calls lua_pcall. */
#ifndef EVRT_WORKER_STATE_H
#define EVRT_WORKER_STATE_H

#include "core/buf.h"

struct evrt_worker;
struct lua_State;

/* Makes w->L with its libraries. -ENOMEM, or -EINVAL with the reason. */
EVRT_MUST_CHECK int evrt_worker_state_open(struct evrt_worker *w, struct evrt_error *err);
/* Loads the scripts. 0: *text is the READY text and the runner's loop is on the stack; -EINVAL: *text
 * says what is wrong. The text belongs to Lua: valid until the state is used again. */
EVRT_MUST_CHECK int evrt_state_load(struct evrt_worker *w, struct evrt_slice *text);
void evrt_worker_state_close(struct evrt_worker *w);

#endif

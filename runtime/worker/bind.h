/* The C side of evrt's Lua modules: each binding is one subsystem, `require`d by lua/evrt/ only, under
 * the name here. Bindings convert and call; what decides is in Lua above or in C below them. */
#ifndef EVRT_WORKER_BIND_H
#define EVRT_WORKER_BIND_H

struct lua_State;

#define EVRT_BINDINGS(X)                     \
    X("evrt.c.clock", evrt_clock_open)       \
    X("evrt.c.delivery", evrt_delivery_open) \
    X("evrt.c.event", evrt_event_open)       \
    X("evrt.c.kv", evrt_kv_open)             \
    X("evrt.c.log", evrt_log_open)           \
    X("evrt.c.metrics", evrt_metrics_open)   \
    X("evrt.c.policy", evrt_policy_open)     \
    X("evrt.c.publish", evrt_publish_open)   \
    X("evrt.c.script", evrt_script_open)     \
    X("evrt.c.shared", evrt_shared_open)     \
    X("evrt.c.trace", evrt_trace_open)       \
    X("evrt.c.stack", evrt_stack_open)

#define X(module, open) int open(struct lua_State *L);
EVRT_BINDINGS(X)
#undef X

#endif

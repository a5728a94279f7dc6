/* Lua's memory, counted and limited. LuaJIT neither collects when an allocation fails nor can it be told
 * to wait, so the allocator refuses once at the limit and remembers it: the delivery that ran is failed,
 * the worker says so and ends, and a fresh one takes its place. Before it comes to that, memory is
 * collected fully between deliveries when it nears the limit. One Lua state's thread. */
#ifndef EVRT_WORKER_MEMORY_H
#define EVRT_WORKER_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

struct lua_State;

struct evrt_memory {
    void *(*allocate)(void *arg, void *p, size_t old_size, size_t size); /* LuaJIT's own */
    void *arg;
    size_t used;
    size_t limit;
    size_t collect_at; /* collect fully when `used` is beyond it */
    bool exhausted;    /* an allocation was refused */
};

/* A Lua state whose memory is counted in *m, which must not move. NULL: out of memory. */
struct lua_State *evrt_memory_open(struct evrt_memory *m, size_t limit);
/* The memory that the state counts in: a way from any lua_State to what owns it. */
struct evrt_memory *evrt_memory_of(struct lua_State *L);

static inline bool evrt_memory_is_high(const struct evrt_memory *m) {
    return m->used > m->collect_at;
}
/* Collects all garbage and sets when to do so next. Outside of any running Lua function that allocates. */
void evrt_memory_collect(struct evrt_memory *m, struct lua_State *L);

#endif

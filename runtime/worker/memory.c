/* See memory.h. LuaJIT's own allocator does the work (faster than malloc for its sizes); this one stands
 * before it and counts. */
#include "worker/memory.h"

#include <lauxlib.h>
#include <lua.h>

enum {
    COLLECT_PERCENT = 75, /* of the limit */
    SPARE = 4 << 20,      /* what may be used beyond the limit to report that it was reached */
};

static void *allocate(void *arg, void *p, size_t old_size, size_t size) {
    struct evrt_memory *m = arg;
    if (size > old_size && m->used + (size - old_size) > m->limit) {
        if (!m->exhausted) m->limit += SPARE;
        m->exhausted = true;
        return NULL;
    }
    void *q = m->allocate(m->arg, p, old_size, size);
    if (q != NULL || size == 0) m->used += size - old_size;
    return q;
}

struct lua_State *evrt_memory_open(struct evrt_memory *m, size_t limit) {
    lua_State *L = luaL_newstate();
    if (L == NULL) return NULL;
    *m = (struct evrt_memory){.limit = limit, .collect_at = limit / 100 * COLLECT_PERCENT};
    m->allocate = lua_getallocf(L, &m->arg);
    m->used = (size_t)lua_gc(L, LUA_GCCOUNT, 0) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB, 0);
    lua_setallocf(L, allocate, m);
    return L;
}

struct evrt_memory *evrt_memory_of(struct lua_State *L) {
    void *arg;
    lua_getallocf(L, &arg);
    return arg;
}

/* A state that lives near its limit must not be collected fully after every delivery: the next time is
 * when half of what is left has been used. Its collector also starts earlier from then on: with the usual
 * pause of 200 % a live heap above half of the limit would reach the limit before a cycle begins. */
void evrt_memory_collect(struct evrt_memory *m, struct lua_State *L) {
    lua_gc(L, LUA_GCCOLLECT, 0);
    size_t usual = m->limit / 100 * COLLECT_PERCENT;
    size_t halfway = m->used + (m->limit > m->used ? (m->limit - m->used) / 2 : 0);
    m->collect_at = halfway > usual ? halfway : usual;
    size_t pause = m->used == 0 ? 200 : m->limit * 90 / m->used;
    lua_gc(L, LUA_GCSETPAUSE, pause > 200 ? 200 : pause < 110 ? 110 : (int)pause);
}

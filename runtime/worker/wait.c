/* See wait.h. */
#include "worker/wait.h"

#include <lua.h>

#include "worker/process.h"

int evrt_wait_check(struct lua_State *L) {
    struct evrt_delivery *d = evrt_worker_of(L)->deliveries.running;
    if (d == NULL)
        lua_pushliteral(L, "outside");
    else if (evrt_delivery_expire(d))
        lua_pushliteral(L, "timeout");
    else if (!lua_isyieldable(L))
        lua_pushliteral(L, "blocked");
    else
        return 0;
    return 1;
}

/* An address that is nothing else. */
static const char mark;

void evrt_wait_push_mark(struct lua_State *L) {
    lua_pushlightuserdata(L, (void *)&mark);
}

int evrt_wait_yield(struct lua_State *L) {
    evrt_wait_push_mark(L);
    return lua_yield(L, 1);
}

/* Waiting from Lua: a binding checks that it may wait, starts what will end the wait, and yields. The
 * values it is resumed with are its results: "timeout" first when the deadline passed, else nil and then
 * whatever the wait was for. */
#ifndef EVRT_WORKER_WAIT_H
#define EVRT_WORKER_WAIT_H

struct lua_State;

/* 0 when the running delivery may wait; else 1, what stands in the way pushed: "timeout" (its deadline
 * has passed), "outside" (no event is being handled), "blocked" (a C function would have to yield). */
int evrt_wait_check(struct lua_State *L);
/* Gives the runner back. `return evrt_wait_yield(L)` ends a binding. */
int evrt_wait_yield(struct lua_State *L);
/* Pushes the value that a wait yields, so that coroutines of scripts can pass it on. */
void evrt_wait_push_mark(struct lua_State *L);

#endif

/* JSON text to Lua values; see bind_json.h.
 *
 * Checking and building are two passes: the scanner is the one place that knows what is wrong with a
 * text, and an event's data was checked when it came in. What is built here is trusted to keep to the
 * grammar; a text that does not still cannot make it read outside or forget a limit.
 *
 * Members and elements gather on the Lua stack and go into their table at once, so that the table is made
 * with the right size. 304 bytes with 13 names take 1.1 us so (1.45 with the check) and lua-cjson 2.0 us,
 * which is why no document is decoded by lua-cjson, not even one that it would decode exactly; strings,
 * tables and sets through Lua's C API alone are 0.87 us of it. */
#include "worker/bind_json.h"

#include <lauxlib.h>
#include <lua.h>

#include "core/error.h"
#include "worker/json_value.h"
#include "json/json.h"
#include "json/number.h"
#include "json/text.h"

enum {
    GATHER = 16, /* members or elements that wait on the stack; bounds it to about 34 a level */
    UNESCAPE_ON_STACK = 1024,
};

struct decode {
    lua_State *L;
    const char *at, *end;
    int depth;
    int array_mark; /* stack index of the array metatable */
};

static void push_value(struct decode *d);

static void malformed(const struct decode *d) {
    luaL_error(d->L, "JSON that was said to be checked is malformed");
}

static char next_byte(struct decode *d) {
    d->at = evrt_json_space(d->at, d->end);
    if (d->at == d->end) malformed(d);
    return *d->at;
}

static void push_unescaped(lua_State *L, const char *p, size_t n) {
    char small[UNESCAPE_ON_STACK] __attribute__((uninitialized));
    if (n <= sizeof small) {
        lua_pushlstring(L, small, evrt_json_unescape(p, n, small));
        return;
    }
    /* In Lua's memory: pushing the string may raise. */
    char *large = lua_newuserdata(L, n);
    lua_pushlstring(L, large, evrt_json_unescape(p, n, large));
    lua_remove(L, -2);
}

/* at: the opening quote. */
static void push_string(struct decode *d) {
    bool escaped;
    const char *from = d->at + 1;
    const char *quote = evrt_json_string_end(from, d->end, &escaped);
    if (quote == d->end) malformed(d);
    d->at = quote + 1;
    if (escaped)
        push_unescaped(d->L, from, (size_t)(quote - from));
    else
        lua_pushlstring(d->L, from, (size_t)(quote - from));
}

/* A LuaJIT 64-bit integer: its C API can make one only through the ctype. */
static void push_int64(lua_State *L, enum evrt_json_mark mark, uint64_t value) {
    evrt_json_push_mark(L, mark);
    lua_call(L, 0, 1);
    memcpy((void *)(uintptr_t)lua_topointer(L, -1), &value, sizeof value);
}

static void push_long_number(lua_State *L, struct evrt_slice text) {
    struct evrt_json_number number;
    evrt_json_number_read(text, &number);
    switch (number.kind) {
    case EVRT_JSON_DOUBLE: lua_pushnumber(L, number.d); return;
    case EVRT_JSON_INT64: push_int64(L, EVRT_JSON_MARK_INT64, number.u); return;
    case EVRT_JSON_UINT64: push_int64(L, EVRT_JSON_MARK_UINT64, number.u); return;
    case EVRT_JSON_BIG:
        memcpy(lua_newuserdata(L, text.n), text.p, text.n);
        evrt_json_push_mark(L, EVRT_JSON_MARK_INTEGER);
        lua_setmetatable(L, -2);
    }
}

static bool in_number(char c) {
    return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
}

static void push_number(struct decode *d) {
    const char *from = d->at, *p = from;
    unsigned v = 0;
    while (p < d->end && *p >= '0' && *p <= '9' && p - from < 9)
        v = v * 10 + (unsigned)(*p++ - '0');
    if (p > from && (p == d->end || !in_number(*p))) {
        d->at = p;
        lua_pushinteger(d->L, (lua_Integer)v);
        return;
    }
    while (p < d->end && in_number(*p))
        p++;
    if (p == from) malformed(d);
    d->at = p;
    push_long_number(d->L, (struct evrt_slice){from, (size_t)(p - from)});
}

static void push_word(struct decode *d, char first) {
    size_t n = first == 'f' ? 5 : 4;
    if ((size_t)(d->end - d->at) < n) malformed(d);
    d->at += n;
    if (first == 'n')
        lua_pushlightuserdata(d->L, NULL);
    else
        lua_pushboolean(d->L, first == 't');
}

/* Moves the n members above `table` into it; `made` says whether it is one yet. Sizes it for what is
 * known to come: an object that is not at its end is taken to have twice as many. */
static void gather_members(lua_State *L, int table, int n, bool made, bool last) {
    if (!made) {
        lua_createtable(L, 0, last ? n : 2 * GATHER);
        lua_replace(L, table);
    }
    for (; n > 0; n--)
        lua_rawset(L, table);
}

/* at: the '{'. */
static void push_object(struct decode *d) {
    lua_State *L = d->L;
    bool made = false;
    int n = 0;
    lua_pushnil(L); /* where the table goes */
    int table = lua_gettop(L);
    d->at++;
    for (char c = next_byte(d); c != '}'; c = next_byte(d)) {
        if (n == GATHER) {
            gather_members(L, table, n, made, false);
            made = true;
            n = 0;
        }
        if (c == ',') {
            d->at++;
            c = next_byte(d);
        }
        if (c != '"') malformed(d);
        push_string(d);
        if (next_byte(d) != ':') malformed(d);
        d->at++;
        push_value(d);
        n++;
    }
    d->at++;
    gather_members(L, table, n, made, true);
}

/* As gather_members(); `count` elements are in the table already. */
static void gather_elements(lua_State *L, int table, int n, int count, bool last) {
    if (count == 0) {
        lua_createtable(L, last ? n : 2 * GATHER, 0);
        lua_replace(L, table);
    }
    for (int i = 1; i <= n; i++) {
        lua_pushvalue(L, table + i);
        lua_rawseti(L, table, count + i);
    }
    lua_settop(L, table);
}

/* at: the '['. */
static void push_array(struct decode *d) {
    lua_State *L = d->L;
    int n = 0, count = 0;
    lua_pushnil(L);
    int table = lua_gettop(L);
    d->at++;
    for (char c = next_byte(d); c != ']'; c = next_byte(d)) {
        if (n == GATHER) {
            gather_elements(L, table, n, count, false);
            count += n;
            n = 0;
        }
        if (c == ',') d->at++;
        push_value(d);
        n++;
    }
    d->at++;
    gather_elements(L, table, n, count, true);
    lua_pushvalue(L, d->array_mark);
    lua_setmetatable(L, table);
}

static void push_container(struct decode *d, char first) {
    if (d->depth == EVRT_JSON_DEPTH || !lua_checkstack(d->L, 2 * GATHER + 8)) malformed(d);
    d->depth++;
    if (first == '{')
        push_object(d);
    else
        push_array(d);
    d->depth--;
}

static void push_value(struct decode *d) {
    char first = next_byte(d);
    switch (first) {
    case '"': push_string(d); return;
    case '{':
    case '[': push_container(d, first); return;
    case 't':
    case 'f':
    case 'n': push_word(d, first); return;
    default: push_number(d);
    }
}

int evrt_json_push(lua_State *L, const char *p, size_t n, unsigned event_flags) {
    if (!(event_flags & EVRT_EVENT_JSON)) {
        struct evrt_error err;
        if (evrt_json_check((struct evrt_slice){p, n}, NULL, &err) < 0)
            return luaL_error(L, "%s", err.message);
    }
    luaL_checkstack(L, 2 * GATHER + 8, "too much is on the stack to decode JSON");
    evrt_json_push_mark(L, EVRT_JSON_MARK_ARRAY);
    struct decode d = {L, p, p + n, 0, lua_gettop(L)};
    push_value(&d);
    lua_replace(L, d.array_mark);
    return 1;
}

/* Lua values to JSON text; see bind_json.h.
 *
 * Nothing here raises for a bad value: it is refused with its path, built from the steps that lead to it.
 * A table is an array when it has the array metatable or its keys are 1..n, else an object. Arrays are
 * written in the order in which lua_next() walks the array part; when that is not 1, 2, 3 ... the few
 * that live in the hash part are written again by index. */
#include "worker/bind_json.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/jsonout.h"
#include "core/jsonplain.h"
#include "core/utf8.h"
#include "worker/json_value.h"
#include "json/json.h"
#include "json/number.h"

#define CDATA 10 /* LuaJIT's type of 64-bit integers, which lua.h does not name */

/* From a table to one of its values. */
struct step {
    const void *table;
    struct evrt_slice key; /* p NULL: an array's element */
    int index;
};

struct encode {
    lua_State *L;
    struct evrt_buf *out;
    const char *name;
    struct evrt_error *err;
    size_t limit;   /* of out->n */
    int array_mark; /* stack index of the array metatable */
    bool sorted;    /* members by name, else as Lua walks them */
    int depth;
    struct step steps[EVRT_JSON_DEPTH];
};

static int put_value(struct encode *e, int idx);

static bool is_word(struct evrt_slice s) {
    if (s.n == 0 || s.n > 64 || (s.p[0] >= '0' && s.p[0] <= '9')) return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i], lower = (char)(c | 0x20);
        if (!(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9') && c != '_') return false;
    }
    return true;
}

/* "data.items[3]["odd name"]", cut in the middle of deep ones. */
static void put_path(const struct encode *e, int depth, struct evrt_buf *path) {
    evrt_buf_puts(path, e->name);
    for (int i = 0; i < depth; i++) {
        const struct step *s = &e->steps[i];
        if (depth > 12 && i == 6) {
            evrt_buf_puts(path, "...");
            i = depth - 6;
            s = &e->steps[i];
        }
        if (s->key.p == NULL) {
            evrt_buf_printf(path, "[%d]", s->index);
        } else if (is_word(s->key)) {
            evrt_buf_putc(path, '.');
            evrt_buf_put(path, s->key.p, s->key.n);
        } else {
            evrt_buf_putc(path, '[');
            evrt_json_quote(path, (struct evrt_slice){s->key.p, s->key.n < 64 ? s->key.n : 64});
            evrt_buf_putc(path, ']');
        }
    }
}

static int refuse_at(struct encode *e, int depth, int code, const char *why) {
    struct evrt_buf path;
    evrt_buf_init(&path);
    put_path(e, depth, &path);
    evrt_error_set(e->err, code, "%.500s%s: %s", evrt_buf_cstr(&path), path.n > 500 ? "..." : "",
                   why);
    evrt_buf_finish(&path);
    return code;
}

static int refuse(struct encode *e, const char *why) {
    return refuse_at(e, e->depth, -EINVAL, why);
}

static int refuse_type(struct encode *e, int type) {
    char why[64];
    snprintf(why, sizeof why, "a %s cannot be JSON", lua_typename(e->L, type));
    return refuse(e, why);
}

/* Nearly every string: nothing in it to escape or to check. */
static void put_plain(struct evrt_buf *out, struct evrt_slice s) {
    char *at = evrt_buf_room(out, s.n + 2);
    at[0] = '"';
    memcpy(at + 1, s.p, s.n);
    at[s.n + 1] = '"';
    out->n += s.n + 2;
}

static int put_string(struct encode *e, struct evrt_slice s) {
    if (evrt_json_plain(s.p, s.n) == s.n) {
        put_plain(e->out, s);
        return 0;
    }
    size_t good = evrt_utf8_check(s.p, s.n);
    if (good < s.n) {
        char why[96];
        snprintf(why, sizeof why,
                 "a string that is not UTF-8 (byte %zu); encode binary data, as base64 say",
                 good + 1);
        return refuse(e, why);
    }
    evrt_json_quote(e->out, s);
    return 0;
}

static int put_number(struct encode *e, double v) {
    if (!isfinite(v)) return refuse(e, isnan(v) ? "NaN cannot be JSON" : "infinity cannot be JSON");
    evrt_buf_room(e->out, EVRT_JSON_NUMBER_SIZE);
    e->out->n += evrt_json_number_write(e->out->p + e->out->n, v);
    return 0;
}

/* LuaJIT's own tostring says whether it is an integer, and which: "9007199254740993LL", "1ULL". */
static int put_cdata(struct encode *e, int idx) {
    if (!luaL_callmeta(e->L, idx, "__tostring")) return refuse_type(e, CDATA);
    size_t n, digits;
    const char *s = lua_tolstring(e->L, -1, &n);
    size_t sign = s != NULL && *s == '-';
    digits = s == NULL ? 0 : strspn(s + sign, "0123456789");
    bool integer = digits > 0 && strspn(s + sign + digits, "UL") == n - sign - digits;
    if (integer) evrt_buf_put(e->out, s, sign + digits);
    lua_pop(e->L, 1);
    return integer ? 0 : refuse_type(e, CDATA);
}

static int put_userdata(struct encode *e, int idx) {
    evrt_json_push_mark(e->L, EVRT_JSON_MARK_INTEGER);
    bool integer = lua_getmetatable(e->L, idx);
    if (integer) {
        integer = lua_rawequal(e->L, -1, -2);
        lua_pop(e->L, 1);
    }
    lua_pop(e->L, 1);
    if (!integer) return refuse_type(e, LUA_TUSERDATA);
    evrt_buf_put(e->out, lua_touserdata(e->L, idx), lua_objlen(e->L, idx));
    return 0;
}

static int put_light(struct encode *e, int idx) {
    const void *p = lua_touserdata(e->L, idx);
    bool empty_array = p == &evrt_json_mark[EVRT_JSON_MARK_ARRAY];
    if (p != NULL && !empty_array) return refuse_type(e, LUA_TLIGHTUSERDATA);
    evrt_buf_puts(e->out, empty_array ? "[]" : "null");
    return 0;
}

/* The value on top, under that step. */
static int put_step(struct encode *e, struct evrt_slice key, int index) {
    struct step *s = &e->steps[e->depth - 1];
    s->key = key;
    s->index = index;
    return put_value(e, lua_gettop(e->L));
}

static int refuse_key(struct encode *e, int type) {
    char why[96];
    e->depth--;
    if (type == LUA_TNUMBER)
        return refuse(e, "a table with both list items and named members, or whose numbers as keys "
                         "are not 1 to n");
    snprintf(why, sizeof why, "a %s as a key: names are strings", lua_typename(e->L, type));
    return refuse(e, why);
}

/* Key and value are on top. */
static int put_member(struct encode *e, bool first) {
    size_t n;
    int type = lua_type(e->L, -2);
    if (type != LUA_TSTRING) return refuse_key(e, type);
    const char *p = lua_tolstring(e->L, -2, &n);
    if (!first) evrt_buf_putc(e->out, ',');
    e->steps[e->depth - 1].key = (struct evrt_slice){p, n};
    int code = put_string(e, (struct evrt_slice){p, n});
    if (code < 0) return code;
    evrt_buf_putc(e->out, ':');
    return put_step(e, (struct evrt_slice){p, n}, 0);
}

/* The first key and value are on top; leaves nothing of them. */
static int put_object(struct encode *e, int idx) {
    evrt_buf_putc(e->out, '{');
    bool first = true;
    do {
        int code = put_member(e, first);
        if (code < 0) return code;
        first = false;
        lua_pop(e->L, 1);
    } while (lua_next(e->L, idx));
    evrt_buf_putc(e->out, '}');
    return 0;
}

static int by_name(const void *a, const void *b) {
    const struct evrt_slice *x = a, *y = b;
    int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return order != 0 ? order : (x->n > y->n) - (x->n < y->n);
}

/* The same in the order of names: text that is to be compared. The names are in a userdata, which a raise
 * does not leak. */
static int put_sorted(struct encode *e, int idx) {
    lua_State *L = e->L;
    size_t count = 0, i = 0;
    lua_settop(L, lua_gettop(L) - 2);
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1), count++)
        if (lua_type(L, -2) != LUA_TSTRING) return refuse_key(e, lua_type(L, -2));
    struct evrt_slice *names = lua_newuserdata(L, count * sizeof *names);
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1), i++)
        names[i].p = lua_tolstring(L, -2, &names[i].n);
    qsort(names, count, sizeof *names, by_name);
    evrt_buf_putc(e->out, '{');
    for (i = 0; i < count; i++) {
        lua_pushlstring(L, names[i].p, names[i].n);
        lua_pushvalue(L, -1);
        lua_rawget(L, idx);
        int code = put_member(e, i == 0);
        if (code < 0) return code;
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
    evrt_buf_putc(e->out, '}');
    return 0;
}

/* A table whose items lua_next() does not give in order: by index, if its keys are 1..n. */
static int put_scattered(struct encode *e, int idx) {
    lua_State *L = e->L;
    double most = 0;
    int count = 0;
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
        int type = lua_type(L, -2);
        if (type != LUA_TNUMBER) return refuse_key(e, type == LUA_TSTRING ? LUA_TNUMBER : type);
        double key = lua_tonumber(L, -2);
        if (key < 1 || key != floor(key)) return refuse_key(e, LUA_TNUMBER);
        if (key > most) most = key;
        count++;
    }
    if (most != count) {
        e->depth--;
        return refuse(e, "a list with holes: put evrt.json.null where there is nothing");
    }
    for (int i = 1; i <= count; i++) {
        evrt_buf_putc(e->out, i == 1 ? '[' : ',');
        lua_rawgeti(L, idx, i);
        int code = put_step(e, (struct evrt_slice){NULL, 0}, i);
        if (code < 0) return code;
        lua_pop(L, 1);
    }
    evrt_buf_putc(e->out, ']');
    return 0;
}

/* The first key and value are on top; leaves nothing of them. */
static int put_array(struct encode *e, int idx) {
    size_t start = e->out->n;
    int i = 1;
    do {
        if (lua_type(e->L, -2) != LUA_TNUMBER || lua_tonumber(e->L, -2) != i) {
            lua_settop(e->L, lua_gettop(e->L) - 2);
            e->out->n = start;
            return put_scattered(e, idx);
        }
        evrt_buf_putc(e->out, i == 1 ? '[' : ',');
        int code = put_step(e, (struct evrt_slice){NULL, 0}, i++);
        if (code < 0) return code;
        lua_pop(e->L, 1);
    } while (lua_next(e->L, idx));
    evrt_buf_putc(e->out, ']');
    return 0;
}

static bool is_array(struct encode *e, int idx) {
    if (!lua_getmetatable(e->L, idx)) return false;
    bool array = lua_rawequal(e->L, -1, e->array_mark);
    lua_pop(e->L, 1);
    return array;
}

static int refuse_depth(struct encode *e, const void *table) {
    for (int i = 0; i < e->depth; i++)
        if (e->steps[i].table == table)
            return refuse_at(e, i, -E2BIG, "a table that contains itself");
    return refuse_at(e, e->depth, -E2BIG, "nested too deep");
}

static int put_table(struct encode *e, int idx) {
    const void *table = lua_topointer(e->L, idx);
    if (e->depth == EVRT_JSON_DEPTH || !lua_checkstack(e->L, 8)) return refuse_depth(e, table);
    bool array = is_array(e, idx);
    int code = 0;
    lua_pushnil(e->L);
    if (!lua_next(e->L, idx)) {
        evrt_buf_puts(e->out, array ? "[]" : "{}");
        return 0;
    }
    e->steps[e->depth++].table = table;
    if (array || lua_type(e->L, -2) == LUA_TNUMBER)
        code = put_array(e, idx);
    else
        code = e->sorted ? put_sorted(e, idx) : put_object(e, idx);
    if (code == 0) e->depth--;
    return code;
}

static int put_value(struct encode *e, int idx) {
    int type = lua_type(e->L, idx);
    if (e->out->n > e->limit) return refuse_at(e, e->depth, -EMSGSIZE, "more text than allowed");
    switch (type) {
    case LUA_TNIL: evrt_buf_puts(e->out, "null"); return 0;
    case LUA_TBOOLEAN: evrt_buf_puts(e->out, lua_toboolean(e->L, idx) ? "true" : "false"); return 0;
    case LUA_TNUMBER: return put_number(e, lua_tonumber(e->L, idx));
    case LUA_TSTRING: {
        struct evrt_slice s;
        s.p = lua_tolstring(e->L, idx, &s.n);
        return put_string(e, s);
    }
    case LUA_TTABLE: return put_table(e, idx);
    case LUA_TLIGHTUSERDATA: return put_light(e, idx);
    case LUA_TUSERDATA: return put_userdata(e, idx);
    case CDATA: return put_cdata(e, idx);
    default: return refuse_type(e, type);
    }
}

static int encode(lua_State *L, int idx, const char *name, size_t max, bool sorted,
                  struct evrt_buf *out, struct evrt_error *err) {
    struct encode e __attribute__((uninitialized)); /* the steps */
    size_t start = out->n;
    int top = lua_gettop(L);
    if (idx < 0 && idx > LUA_REGISTRYINDEX) idx = top + 1 + idx;
    luaL_checkstack(L, 8, "too much is on the stack to encode JSON");
    e.L = L;
    e.out = out;
    e.name = name;
    e.err = err;
    e.limit = start + max;
    e.depth = 0;
    e.sorted = sorted;
    evrt_json_push_mark(L, EVRT_JSON_MARK_ARRAY);
    e.array_mark = top + 1;
    int code = put_value(&e, idx);
    if (code == 0 && out->n > e.limit) code = refuse_at(&e, 0, -EMSGSIZE, "more text than allowed");
    if (code < 0) out->n = start;
    lua_settop(L, top);
    return code;
}

int evrt_json_encode(lua_State *L, int idx, const char *name, size_t max, struct evrt_buf *out,
                     struct evrt_error *err) {
    return encode(L, idx, name, max, false, out, err);
}

int evrt_json_encode_sorted(lua_State *L, int idx, const char *name, size_t max,
                            struct evrt_buf *out, struct evrt_error *err) {
    return encode(L, idx, name, max, true, out, err);
}

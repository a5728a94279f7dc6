/* evrt.c.kv: what a delivery writes, kept with it until it is done; and reading, through the host. Values are
 * Lua values here, and "raw" ones the bytes that are stored (core/kv.h), as Lua strings. lua/evrt/kv.lua checks
 * who may write what, and composes.
 *
 * Every function's first result is the problem, if there is one: "timeout", "outside" or "blocked" (worker/wait.h),
 * else a text that says what is wrong with the arguments. */
#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/kv.h"
#include "frame/values.h"
#include "worker/bind.h"
#include "worker/bind_json.h"
#include "worker/code.h"
#include "worker/kv.h"
#include "worker/process.h"
#include "worker/wait.h"

#define EXACT 9007199254740992.0 /* whole numbers up to it are doubles */

static struct evrt_slice text_at(lua_State *L, int idx) {
    struct evrt_slice s = {"", 0};
    if (lua_type(L, idx) == LUA_TSTRING) s.p = lua_tolstring(L, idx, &s.n);
    return s;
}

/* ---- Values ---- */

static int encode(lua_State *L, int idx, struct evrt_buf *out, struct evrt_error *err) {
    struct evrt_worker *w = evrt_worker_of(L);
    size_t max = w->hello.kv_max_value, from = out->n;
    int type = lua_type(L, idx);
    if (type == LUA_TSTRING) {
        struct evrt_slice s = text_at(L, idx);
        if (s.n > max) {
            evrt_worker_limit(w, "kv.max_value");
            return evrt_error_set(err, -EMSGSIZE, "value: %zu bytes, at most %zu (kv.max_value)",
                                  s.n, max);
        }
        evrt_buf_putc(out, 's');
        evrt_buf_put(out, s.p, s.n);
        return 0;
    }
    double n = type == LUA_TNUMBER ? lua_tonumber(L, idx) : 0.5;
    if (n == floor(n) && fabs(n) <= EXACT && (n != 0 || !signbit(n))) {
        evrt_kv_put_integer(out, (int64_t)n);
        return 0;
    }
    struct evrt_buf json = {0}; /* raises only without memory */
    int rc = evrt_json_encode(L, idx, "value", max, &json, err);
    if (rc == -EMSGSIZE) {
        evrt_worker_limit(w, "kv.max_value");
        evrt_error_set(err, rc, "value: more than %zu bytes (kv.max_value)", max);
    }
    if (rc == 0) evrt_kv_put_json(out, evrt_buf_slice(&json));
    evrt_buf_finish(&json);
    if (rc < 0) out->n = from;
    return rc;
}

/* What is a value already, or nil when there is none. false: it has to be decoded, and nothing was pushed. */
static bool push_simple(lua_State *L, struct evrt_slice raw) {
    int64_t v;
    if (raw.n == 0) {
        lua_pushnil(L);
    } else if (raw.p[0] == 's') {
        lua_pushlstring(L, raw.p + 1, raw.n - 1);
    } else {
        if (!evrt_kv_integer(raw, &v) || v > (int64_t)EXACT || v < -(int64_t)EXACT) return false;
        lua_pushnumber(L, (lua_Number)v);
    }
    return true;
}

static int push_integer(lua_State *L, int64_t v) {
    char text[24];
    struct evrt_buf digits = {text, 0, sizeof text};
    evrt_buf_put_i64(&digits, v);
    return evrt_json_push(L, digits.p, digits.n, EVRT_EVENT_JSON);
}

/* nil when there is none. May raise. */
static int push_value(lua_State *L, struct evrt_slice raw) {
    int64_t v;
    if (push_simple(L, raw)) return 1;
    if (evrt_kv_integer(raw, &v))
        push_integer(L, v);
    else
        evrt_json_push(L, raw.p + 1, raw.n - 1, EVRT_EVENT_JSON);
    return 1;
}

/* ---- What the running delivery wrote itself ---- */

/* A key as of its own writes: known, or so much is to be added to what there was. */
struct own {
    bool known;
    struct evrt_slice value; /* known; in the effects, or in sum_bytes */
    bool adds;
    int64_t sum;
    char sum_bytes[EVRT_KV_INTEGER_BYTES];
};

static void add(struct own *o, int64_t by) {
    struct evrt_buf bytes = {o->sum_bytes, 0, sizeof o->sum_bytes};
    int64_t sum;
    if (!o->known) {
        o->adds = true;
        o->sum = (int64_t)((uint64_t)o->sum + (uint64_t)by);
    } else if (evrt_kv_add(o->value, by, &sum)) {
        evrt_kv_put_integer(&bytes, sum);
        o->value = evrt_buf_slice(&bytes);
    }
}

static void look_at_own(struct evrt_delivery *d, struct evrt_slice ns, struct evrt_slice key,
                        struct own *o) {
    struct evrt_own_value v;
    evrt_own_find(&d->own, evrt_buf_slice(&d->effects), ns, key, &v);
    *o = (struct own){.known = v.known, .value = v.value};
    if (v.adds) add(o, v.sum);
}

/* With what state.db and the others have. */
static void rest_on(struct own *o, struct evrt_slice raw) {
    int64_t sum = o->sum;
    if (o->known) return;
    o->known = true;
    o->value = raw;
    if (o->adds) add(o, sum);
}

/* ---- Writing ---- */

static int problem(lua_State *L, const char *text) {
    lua_pushstring(L, text);
    return 1;
}

/* The running delivery, or NULL and the problem pushed. */
static struct evrt_delivery *running(lua_State *L) {
    struct evrt_delivery *d = evrt_worker_of(L)->deliveries.running;
    if (d == NULL)
        lua_pushliteral(L, "outside");
    else if (evrt_delivery_expire(d))
        lua_pushliteral(L, "timeout");
    else
        return d;
    return NULL;
}

/* Fills ns and key from the first two arguments. */
static int check_name(lua_State *L, struct evrt_kv_op *op, struct evrt_error *err) {
    struct evrt_worker *w = evrt_worker_of(L);
    size_t max = w->hello.kv_max_key;
    op->ns = text_at(L, 1);
    op->key = text_at(L, 2);
    if (op->key.n == 0 || op->key.n > max) {
        if (op->key.n != 0) evrt_worker_limit(w, "kv.max_key");
        return evrt_error_set(err, -EINVAL, "key: %zu bytes, expected 1 to %zu (kv.max_key)",
                              op->key.n, max);
    }
    size_t bad = evrt_kv_key_check(op->key);
    if (bad == op->key.n) return 0;
    return evrt_error_set(err, -EINVAL, "key: byte %zu is not printable UTF-8", bad + 1);
}

/* set(ns, key, value, ttl) and the like: an operation from the arguments; its value is in the scratch. */
static int build(lua_State *L, enum evrt_kv_kind kind, struct evrt_kv_op *op,
                 struct evrt_error *err) {
    struct evrt_worker *w = evrt_worker_of(L);
    *op = (struct evrt_kv_op){.kind = kind};
    int rc = check_name(L, op, err);
    evrt_buf_clear(&w->scratch);
    if (rc < 0 || kind == EVRT_KV_DELETE) return rc;
    if (kind == EVRT_KV_INCR) {
        op->number = (int64_t)lua_tonumber(L, 3);
        return 0;
    }
    if (kind == EVRT_KV_SET || !lua_isnil(L, 3)) rc = encode(L, 3, &w->scratch, err);
    op->value = evrt_buf_slice(&w->scratch);
    double ttl = lua_tonumber(L, 4);
    if (ttl > 0)
        op->number =
            evrt_mono_ns() / 1000000 + w->hello.steady_ms + (int64_t)fmin(ceil(ttl * 1000), 1e15);
    if (kind == EVRT_KV_CAS) op->expected = text_at(L, 5);
    return rc;
}

static size_t size_of(const struct evrt_kv_op *op) {
    return EVRT_KV_HEADER + op->ns.n + op->key.n + op->value.n + op->expected.n;
}

/* Adds to the delivery's last operation when that is an increment of the same key. */
static bool merge(struct evrt_delivery *d, const struct evrt_kv_op *op) {
    size_t n = size_of(op), at;
    struct evrt_kv_op last;
    if (op->kind != EVRT_KV_INCR || d->effects.n < n) return false;
    at = d->effects.n - n;
    if (d->last_effect != at || evrt_kv_next(evrt_buf_slice(&d->effects), &at, &last) != 1 ||
        last.kind != EVRT_KV_INCR || !evrt_slice_eq(last.key, op->key) ||
        !evrt_slice_eq(last.ns, op->ns))
        return false;
    struct evrt_kv_op sum = *op;
    sum.number = (int64_t)((uint64_t)last.number + (uint64_t)op->number);
    d->effects.n -= n;
    evrt_kv_put(&d->effects, &sum);
    evrt_own_merged(&d->own, evrt_buf_slice(&d->effects), op);
    return true;
}

/* By what the delivery wrote itself; what others wrote is the host's to look at. */
static int check_number(struct evrt_delivery *d, const struct evrt_kv_op *op,
                        struct evrt_error *err) {
    struct own o;
    int64_t number;
    if (op->kind != EVRT_KV_INCR || d->effects.n == 0) return 0;
    look_at_own(d, op->ns, op->key, &o);
    if (!o.known || o.value.n == 0 || evrt_kv_integer(o.value, &number)) return 0;
    return evrt_kv_not_number(op->key, err);
}

static int keep(lua_State *L, enum evrt_kv_kind kind) {
    struct evrt_worker *w = evrt_worker_of(L);
    struct evrt_delivery *d = running(L);
    struct evrt_kv_op op;
    struct evrt_error err;
    if (d == NULL) return 1;
    if (build(L, kind, &op, &err) < 0) return problem(L, err.message);
    if (merge(d, &op)) return 0;
    if (check_number(d, &op, &err) < 0) return problem(L, err.message);
    if (evrt_worker_has_room(w, d, size_of(&op), &err) < 0) return problem(L, err.message);
    d->last_effect = d->effects.n;
    evrt_kv_put(&d->effects, &op);
    return 0;
}

/* set(ns, key, value, ttl in seconds or 0) */
static int set(lua_State *L) {
    return keep(L, EVRT_KV_SET);
}

/* delete(ns, key) */
static int delete (lua_State *L) {
    return keep(L, EVRT_KV_DELETE);
}

/* incr(ns, key, by) */
static int incr(lua_State *L) {
    return keep(L, EVRT_KV_INCR);
}

/* cas(ns, key, value or nil, ttl, expected raw or nil): if it still is that when the delivery is done. */
static int cas(lua_State *L) {
    return keep(L, EVRT_KV_CAS);
}

/* ---- Reading ---- */

/* Asks the host, and waits. Resumed with nil, then: raw or nil, more; or false, message, code. `simple`: a simple
 * value comes as such, and "simple" after it. */
static int ask(lua_State *L, const struct evrt_frame_read *f, bool simple) {
    struct evrt_worker *w = evrt_worker_of(L);
    struct evrt_delivery *d = w->deliveries.running;
    struct evrt_frame_read read = *f;
    d->reads_simple = simple;
    read.token = evrt_delivery_token(d);
    evrt_frame_put_read(evrt_worker_out(w), &read);
    evrt_delivery_wait(d, INT64_MAX);
    return evrt_wait_yield(L);
}

/* What a key holds, as `ask` says. Returns how many were pushed. */
static int push_answer(lua_State *L, struct evrt_slice raw, bool more, bool simple) {
    lua_pushnil(L); /* no problem */
    if (simple && push_simple(L, raw)) {
        lua_pushliteral(L, "simple");
        return 3;
    }
    if (raw.n == 0)
        lua_pushnil(L);
    else
        lua_pushlstring(L, raw.p, raw.n);
    lua_pushboolean(L, more);
    return 3;
}

/* get(ns, key, want_raw) -> problem, value, "own" when the delivery's own writes tell; value, "simple"; else as
 * read */
static int get(lua_State *L) {
    struct evrt_delivery *d = running(L);
    struct evrt_kv_op op;
    struct evrt_error err;
    struct own o = {0};
    if (d == NULL) return 1;
    if (check_name(L, &op, &err) < 0) return problem(L, err.message);
    if (d->effects.n != 0) look_at_own(d, op.ns, op.key, &o);
    if (o.known) {
        lua_pushnil(L);
        push_value(L, o.value);
        lua_pushliteral(L, "own");
        return 3;
    }
    int refused = evrt_wait_check(L);
    if (refused != 0) return refused;
    bool simple = !o.adds && !lua_toboolean(L, 3);
    char room[EVRT_VALUES_ROOM];
    struct evrt_slice raw;
    if (evrt_reads_get(evrt_worker_of(L), op.ns, op.key, room, &raw))
        return push_answer(L, raw, false, simple);
    return ask(L, &(struct evrt_frame_read){.ns = op.ns, .key = op.key}, simple);
}

/* read(ns, key) -> problem, raw or nil | false, message, code */
static int read_key(lua_State *L) {
    struct evrt_kv_op op;
    struct evrt_error err;
    int refused = evrt_wait_check(L);
    if (refused != 0) return refused;
    if (check_name(L, &op, &err) < 0) return problem(L, err.message);
    return ask(L, &(struct evrt_frame_read){.ns = op.ns, .key = op.key}, false);
}

/* scan(ns, prefix, after, limit) -> problem, raw rows, more | false, message, code */
static int scan(lua_State *L) {
    int refused = evrt_wait_check(L);
    if (refused != 0) return refused;
    return ask(L,
               &(struct evrt_frame_read){.ns = text_at(L, 1),
                                         .key = text_at(L, 2),
                                         .after = text_at(L, 3),
                                         .limit = (uint32_t)lua_tonumber(L, 4)},
               false);
}

/* events(type, subject, after, limit) -> problem, JSON | false, message, code */
static int events(lua_State *L) {
    struct evrt_worker *w = evrt_worker_of(L);
    int refused = evrt_wait_check(L);
    if (refused != 0) return refused;
    struct evrt_delivery *d = w->deliveries.running;
    d->reads_simple = false;
    evrt_frame_put_query(evrt_worker_out(w), &(struct evrt_frame_query){
                                                 .token = evrt_delivery_token(d),
                                                 .after = (uint64_t)lua_tonumber(L, 3),
                                                 .limit = (uint32_t)lua_tonumber(L, 4),
                                                 .type = text_at(L, 1),
                                                 .subject = text_at(L, 2),
                                             });
    evrt_delivery_wait(d, INT64_MAX);
    return evrt_wait_yield(L);
}

/* decode(raw or nil) -> value */
static int decode(lua_State *L) {
    return push_value(L, text_at(L, 1));
}

/* now(ns, key, raw or nil) -> value: with the delivery's own writes */
static int now(lua_State *L) {
    struct evrt_delivery *d = evrt_worker_of(L)->deliveries.running;
    struct own o = {0};
    if (d != NULL) look_at_own(d, text_at(L, 1), text_at(L, 2), &o);
    rest_on(&o, text_at(L, 3));
    return push_value(L, o.value);
}

/* rows(raw rows) -> keys, raws, where to go on or nil */
static int rows(lua_State *L) {
    struct evrt_slice all = text_at(L, 1);
    struct evrt_kv_op op;
    int n = 0;
    lua_newtable(L);
    lua_newtable(L);
    lua_pushnil(L);
    for (size_t at = 0; evrt_kv_next(all, &at, &op) == 1;) {
        lua_pushlstring(L, op.key.p, op.key.n);
        if (op.kind == EVRT_KV_DELETE) {
            lua_replace(L, -2);
            break;
        }
        lua_rawseti(L, -4, ++n);
        lua_pushlstring(L, op.value.p, op.value.n);
        lua_rawseti(L, -3, n);
    }
    return 3;
}

/* touched(ns, prefix) -> set of the keys that the delivery wrote itself, or nil */
static int touched(lua_State *L) {
    const struct evrt_delivery *d = evrt_worker_of(L)->deliveries.running;
    struct evrt_slice ns = text_at(L, 1), prefix = text_at(L, 2);
    struct evrt_kv_op op;
    if (d == NULL || d->effects.n == 0) return 0;
    lua_newtable(L);
    for (size_t at = 0; evrt_kv_next(evrt_buf_slice(&d->effects), &at, &op) == 1;) {
        if (op.kind == EVRT_KV_EMIT || !evrt_slice_eq(op.ns, ns) || op.key.n < prefix.n ||
            memcmp(op.key.p, prefix.p, prefix.n) != 0)
            continue;
        lua_pushlstring(L, op.key.p, op.key.n);
        lua_pushboolean(L, true);
        lua_rawset(L, -3);
    }
    return 1;
}

/* ---- Outside of the delivery's effects ---- */

/* write(kind, ns, key, ...) as above -> problem, true | false, message, code. Waits until it is durable. */
static int write_now(lua_State *L) {
    static const char *const names[] = {"set", "delete", "incr", "cas", NULL};
    static const enum evrt_kv_kind kinds[] = {EVRT_KV_SET, EVRT_KV_DELETE, EVRT_KV_INCR,
                                              EVRT_KV_CAS};
    struct evrt_worker *w = evrt_worker_of(L);
    enum evrt_kv_kind kind = kinds[luaL_checkoption(L, 1, NULL, names)];
    struct evrt_kv_op op;
    struct evrt_error err;
    lua_remove(L, 1);
    int refused = evrt_wait_check(L);
    if (refused != 0) return refused;
    if (build(L, kind, &op, &err) < 0) return problem(L, err.message);
    struct evrt_delivery *d = w->deliveries.running;
    struct evrt_buf bytes = {0};
    d->reads_simple = false;
    evrt_kv_put(&bytes, &op);
    evrt_frame_put_write(
        evrt_worker_out(w),
        &(struct evrt_frame_write){evrt_delivery_token(d), d->id, evrt_buf_slice(&bytes)});
    evrt_buf_finish(&bytes);
    evrt_delivery_wait(d, INT64_MAX);
    return evrt_wait_yield(L);
}

int evrt_kv_says(struct evrt_worker *w, struct evrt_slice payload) {
    struct evrt_frame_value f;
    if (evrt_frame_get_value(payload, &f) < 0) return -EBADMSG;
    struct evrt_delivery *d = evrt_deliveries_find(&w->deliveries, f.token);
    if (d == NULL || d->runner == NULL) return 0; /* nobody waits for it any more */
    lua_State *L = evrt_runner_stack(d->runner);
    if (f.status < 0) {
        lua_pushnil(L); /* no problem */
        lua_pushboolean(L, false);
        lua_pushlstring(L, f.value.p, f.value.n);
        lua_pushstring(L, evrt_code_name(f.status));
        evrt_runner_continue(w, d, 4);
        return 0;
    }
    evrt_runner_continue(w, d, push_answer(L, f.value, f.more, d->reads_simple));
    return 0;
}

/* limits() -> kv.writers */
static int writers(lua_State *L) {
    struct evrt_slice s = evrt_worker_of(L)->hello.kv_writers;
    lua_pushlstring(L, s.n == 0 ? "" : s.p, s.n);
    return 1;
}

static const luaL_Reg functions[] = {
    {"set", set},         {"delete", delete}, {"incr", incr},       {"cas", cas},
    {"get", get},         {"read", read_key}, {"scan", scan},       {"decode", decode},
    {"now", now},         {"rows", rows},     {"write", write_now}, {"touched", touched},
    {"writers", writers}, {"events", events}, {NULL, NULL},
};

int evrt_kv_open(lua_State *L) {
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    return 1;
}

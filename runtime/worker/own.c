/* See own.h. Linear probing, at most 3/4 full; keys are not copied, they stand in the effects. */
#include "worker/own.h"

#include <stdlib.h>

#include "core/hash.h"

enum {
    START = 64,
    WALK_BYTES = 1024, /* of effects that are walked through: most have no more */
};

struct evrt_own_key {
    uint64_t hash;
    uint32_t name; /* where an operation of that key begins; */
    uint32_t set;  /* where the last one that set or deleted it does, when it is known */
    bool used, known, adds;
    int64_t sum; /* added since */
};

void evrt_own_finish(struct evrt_own *o) {
    free(o->keys);
    *o = (struct evrt_own){0};
}

static uint64_t hash_of(struct evrt_slice ns, struct evrt_slice key) {
    return evrt_hash64(key.p, key.n, evrt_hash64(ns.p, ns.n, 0));
}

static struct evrt_kv_op op_at(struct evrt_slice effects, size_t at) {
    struct evrt_kv_op op = {0};
    (void)evrt_kv_next(effects, &at, &op);
    return op;
}

/* Its place, or the one where it would be. */
static struct evrt_own_key *place(const struct evrt_own *o, struct evrt_slice effects,
                                  struct evrt_slice ns, struct evrt_slice key, uint64_t hash) {
    size_t at = hash & o->mask;
    for (; o->keys[at].used; at = (at + 1) & o->mask) {
        if (o->keys[at].hash != hash) continue;
        struct evrt_kv_op op = op_at(effects, o->keys[at].name);
        if (evrt_slice_eq(op.key, key) && evrt_slice_eq(op.ns, ns)) break;
    }
    return &o->keys[at];
}

static void grow(struct evrt_own *o) {
    struct evrt_own old = *o;
    o->mask = old.keys == NULL ? START - 1 : old.mask * 2 + 1;
    o->keys = evrt_zalloc((o->mask + (size_t)1) * sizeof *o->keys);
    for (size_t i = 0; old.keys != NULL && i <= old.mask; i++) {
        if (!old.keys[i].used) continue;
        size_t at = old.keys[i].hash & o->mask;
        while (o->keys[at].used)
            at = (at + 1) & o->mask;
        o->keys[at] = old.keys[i];
    }
    free(old.keys);
}

static void take(struct evrt_own *o, struct evrt_slice effects, uint32_t at,
                 const struct evrt_kv_op *op) {
    if (o->keys == NULL || (o->count + 1) * (size_t)4 > (o->mask + (size_t)1) * 3) grow(o);
    uint64_t hash = hash_of(op->ns, op->key);
    struct evrt_own_key *k = place(o, effects, op->ns, op->key, hash);
    if (!k->used) {
        *k = (struct evrt_own_key){.hash = hash, .name = at, .used = true};
        o->count++;
    }
    k->adds = op->kind == EVRT_KV_INCR;
    k->sum = k->adds ? (int64_t)((uint64_t)k->sum + (uint64_t)op->number) : 0;
    if (k->adds) return;
    k->known = true;
    k->set = at;
}

static void walk(struct evrt_slice effects, struct evrt_slice ns, struct evrt_slice key,
                 struct evrt_own_value *out) {
    struct evrt_kv_op op;
    for (size_t at = 0; evrt_kv_next(effects, &at, &op) == 1;) {
        if (op.kind == EVRT_KV_EMIT || !evrt_slice_eq(op.key, key) || !evrt_slice_eq(op.ns, ns))
            continue;
        out->adds = op.kind == EVRT_KV_INCR;
        out->sum = out->adds ? (int64_t)((uint64_t)out->sum + (uint64_t)op.number) : 0;
        if (out->adds) continue;
        out->known = true;
        out->value = op.value;
    }
}

void evrt_own_find(struct evrt_own *o, struct evrt_slice effects, struct evrt_slice ns,
                   struct evrt_slice key, struct evrt_own_value *out) {
    struct evrt_kv_op op;
    *out = (struct evrt_own_value){0};
    if (effects.n <= WALK_BYTES) {
        walk(effects, ns, key, out);
        return;
    }
    for (size_t at = o->upto; evrt_kv_next(effects, &at, &op) == 1; o->upto = at)
        if (op.kind != EVRT_KV_EMIT) take(o, effects, (uint32_t)o->upto, &op);
    if (o->keys == NULL) return;
    const struct evrt_own_key *k = place(o, effects, ns, key, hash_of(ns, key));
    if (!k->used) return;
    *out = (struct evrt_own_value){.known = k->known, .adds = k->adds, .sum = k->sum};
    if (k->known) out->value = op_at(effects, k->set).value;
}

void evrt_own_merged(struct evrt_own *o, struct evrt_slice effects, const struct evrt_kv_op *op) {
    if (o->upto < effects.n) return; /* it will be taken in as it is then */
    struct evrt_own_key *k = place(o, effects, op->ns, op->key, hash_of(op->ns, op->key));
    k->sum = (int64_t)((uint64_t)k->sum + (uint64_t)op->number);
}

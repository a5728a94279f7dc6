/* See kv.h. A key of two parts is one string: a namespace has no NUL in it, so keys sort as the table's do. */
#include "state/kv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/record.h"

struct evrt_kv_pending {
    struct evrt_kv_row row; /* value.p is owned */
    uint16_t ns_n;
    size_t n;
    char name[]; /* namespace, NUL, key */
};

enum { ENTRY_BYTES = 96 }; /* of memory, beside name and value */

void evrt_state_kv_init(struct evrt_state_kv *kv) {
    *kv = (struct evrt_state_kv){0};
    evrt_map_init_borrowing(&kv->keys); /* of names in entries */
}

static void clear(struct evrt_state_kv *kv) {
    struct evrt_kv_pending *p;
    for (size_t at = 0; (p = evrt_map_next(&kv->keys, &at, NULL)) != NULL;) {
        free((char *)p->row.value.p);
        free(p);
    }
    evrt_map_finish(&kv->keys);
    evrt_map_init_borrowing(&kv->keys);
    kv->bytes = 0;
    kv->sweep_ms = 0;
}

void evrt_state_kv_finish(struct evrt_state_kv *kv) {
    clear(kv);
    evrt_map_finish(&kv->keys);
}

/* ---- One key ---- */

/* Most values replace one as long: numbers above all. */
void evrt_kv_row_set(struct evrt_kv_row *to, const struct evrt_kv_row *from) {
    struct evrt_slice value = from->value;
    if (value.n == 0 || value.n != to->value.n) {
        char *copy = value.n == 0 ? NULL : evrt_alloc(value.n);
        if (copy != NULL) memcpy(copy, value.p, value.n);
        free((char *)(uintptr_t)to->value.p);
        to->value = (struct evrt_slice){copy, value.n};
    } else {
        memmove((char *)(uintptr_t)to->value.p, value.p, value.n);
    }
    to->expires_ms = value.n == 0 ? 0 : from->expires_ms;
}

static void set_row(struct evrt_state_kv *kv, struct evrt_kv_pending *p, struct evrt_slice value,
                    int64_t expires_ms) {
    kv->bytes += value.n - p->row.value.n;
    evrt_kv_row_set(&p->row, &(struct evrt_kv_row){value, expires_ms});
}

/* The entry of a key; a new one is absent until it is loaded or set. */
static struct evrt_kv_pending *entry_of(struct evrt_state_kv *kv, const struct evrt_kv_op *op,
                                        bool *is_new) {
    char stack[512], *name = stack;
    size_t n = op->ns.n + 1 + op->key.n;
    if (n > sizeof stack) name = evrt_alloc(n);
    memcpy(name, op->ns.p, op->ns.n);
    name[op->ns.n] = '\0';
    memcpy(name + op->ns.n + 1, op->key.p, op->key.n);
    struct evrt_kv_pending *p = evrt_map_get(&kv->keys, (struct evrt_slice){name, n});
    *is_new = p == NULL;
    if (p == NULL) {
        p = evrt_zalloc(sizeof *p + n);
        p->ns_n = (uint16_t)op->ns.n;
        p->n = n;
        memcpy(p->name, name, n);
        evrt_map_set(&kv->keys, (struct evrt_slice){p->name, n}, p);
        kv->bytes += n + ENTRY_BYTES;
    }
    if (name != stack) free(name);
    return p;
}

static void load(struct evrt_state_kv *kv, const struct evrt_kv_op *op, struct evrt_kv_pending *p) {
    struct evrt_kv_row row = {{NULL, 0}, 0};
    int rc = kv->load == NULL ? 0 : kv->load(kv->arg, op->ns, op->key, &row);
    if (rc < 0) kv->error = rc;
    if (rc == 0 && !evrt_kv_expired(&row, kv->sweep_ms)) set_row(kv, p, row.value, row.expires_ms);
}

static void note_not_number(struct evrt_state_kv *kv, const struct evrt_kv_op *op) {
    kv->not_numbers++;
    snprintf(kv->not_number, sizeof kv->not_number, "%.*s %.*s", (int)op->ns.n, op->ns.p,
             (int)op->key.n, op->key.p);
}

static void apply_op(struct evrt_state_kv *kv, const struct evrt_kv_op *op, int64_t at_ms) {
    bool is_new;
    struct evrt_kv_pending *p = entry_of(kv, op, &is_new);
    int64_t sum;
    if (op->kind == EVRT_KV_SET) {
        set_row(kv, p, op->value, op->number);
    } else if (op->kind == EVRT_KV_DELETE) {
        set_row(kv, p, (struct evrt_slice){NULL, 0}, 0);
    } else {
        if (is_new) load(kv, op, p);
        if (evrt_kv_expired(&p->row, at_ms)) set_row(kv, p, (struct evrt_slice){NULL, 0}, 0);
        if (!evrt_kv_add(p->row.value, op->number, &sum)) {
            note_not_number(kv, op);
            return;
        }
        struct evrt_buf value = {0};
        evrt_kv_put_integer(&value, sum);
        set_row(kv, p, evrt_buf_slice(&value), p->row.expires_ms);
        evrt_buf_finish(&value);
    }
}

/* ---- Records ---- */

static int check(struct evrt_slice ops) {
    struct evrt_kv_op op;
    int rc;
    for (size_t at = 0; (rc = evrt_kv_next(ops, &at, &op)) == 1;) {
        if (op.kind > EVRT_KV_INCR || op.ns.n == 0 || op.key.n == 0) return -EBADMSG;
        if (op.kind == EVRT_KV_SET && !evrt_kv_is_value(op.value)) return -EBADMSG;
    }
    return rc;
}

int evrt_state_kv_apply(struct evrt_state_kv *kv, struct evrt_slice payload) {
    struct evrt_record_kv r;
    struct evrt_kv_op op;
    if (evrt_record_get_kv(payload, &r) < 0 || check(r.ops) < 0) return -EBADMSG;
    for (size_t at = 0; evrt_kv_next(r.ops, &at, &op) == 1;)
        apply_op(kv, &op, r.at_ms);
    return 0;
}

int evrt_state_kv_sweep(struct evrt_state_kv *kv, struct evrt_slice payload) {
    struct evrt_record_sweep r;
    if (evrt_record_get_sweep(payload, &r) < 0) return -EBADMSG;
    struct evrt_kv_pending *p;
    for (size_t at = 0; (p = evrt_map_next(&kv->keys, &at, NULL)) != NULL;)
        if (evrt_kv_expired(&p->row, r.at_ms)) set_row(kv, p, (struct evrt_slice){NULL, 0}, 0);
    if (r.at_ms > kv->sweep_ms) kv->sweep_ms = r.at_ms;
    return 0;
}

/* ---- For the tables ---- */

static int compare(const void *a, const void *b) {
    const struct evrt_kv_pending *x = *(struct evrt_kv_pending *const *)a;
    const struct evrt_kv_pending *y = *(struct evrt_kv_pending *const *)b;
    int order = memcmp(x->name, y->name, x->n < y->n ? x->n : y->n);
    return order != 0 ? order : x->n < y->n ? -1 : x->n > y->n;
}

/* In the table's order, so that its pages are each visited once. */
int evrt_state_kv_each(const struct evrt_state_kv *kv,
                       int (*fn)(void *, struct evrt_slice, struct evrt_slice,
                                 const struct evrt_kv_row *),
                       void *arg) {
    struct evrt_kv_pending **list =
        evrt_alloc((kv->keys.count + 1) * sizeof(struct evrt_kv_pending *));
    size_t n = 0;
    int rc = 0;
    for (size_t at = 0; (list[n] = evrt_map_next(&kv->keys, &at, NULL)) != NULL;)
        n++;
    qsort(list, n, sizeof *list, compare);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct evrt_kv_pending *p = list[i];
        rc = fn(arg, (struct evrt_slice){p->name, p->ns_n},
                (struct evrt_slice){p->name + p->ns_n + 1, p->n - p->ns_n - 1}, &p->row);
    }
    free(list);
    return rc;
}

void evrt_state_kv_committed(struct evrt_state_kv *kv) {
    clear(kv);
}

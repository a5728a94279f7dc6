/* The key-value store's operations and values as bytes: one encoding for what a worker has in mind for a
 * delivery, for the frame that carries it, and for the journal's KV record. Any thread; slices of what is
 * decoded point into the input.
 *
 *     0  u16 kind                  8  u32 value's length       16  i64 number
 *     2  u16 namespace's length   12  u32 expected's length    24  those four, end to end
 *     4  u32 key's length
 *
 * A value is a kind and its bytes: 'i' a whole number (i64), 's' a string, any bytes, 'j' any other JSON
 * document. Keys are text: UTF-8 without control characters. */
#ifndef EVRT_CORE_KV_H
#define EVRT_CORE_KV_H

#include <stdbool.h>

#include "core/buf.h"

enum evrt_kv_kind {
    EVRT_KV_SET = 1,    /* value; number: when it expires, wall ms; 0: never */
    EVRT_KV_DELETE = 2, /* whatever was there */
    EVRT_KV_INCR = 3, /* number: added to a whole number; to 0 where nothing is; else to nothing */
    EVRT_KV_CAS =
        4, /* SET (without a value: DELETE) if the value is still `expected` (none: absent) */
    EVRT_KV_EMIT = 5, /* value: an encoded event that is published with the rest */
};

#define EVRT_KV_HEADER 24

struct evrt_kv_op {
    enum evrt_kv_kind kind;
    int64_t number;
    struct evrt_slice ns, key; /* ns empty: the handler's own */
    struct evrt_slice value, expected;
};

/* Lengths fit: ns and key 16 bits, the others 32. */
void evrt_kv_put(struct evrt_buf *out, const struct evrt_kv_op *op);
/* An EMIT whose value has n bytes, which go where this points. */
char *evrt_kv_put_emit(struct evrt_buf *out, size_t n);
/* Steps through: *at starts at 0. 1, 0 at the end, -EBADMSG. */
int evrt_kv_next(struct evrt_slice ops, size_t *at, struct evrt_kv_op *op);

/* Offset of the first byte that a key may not have, or n. */
size_t evrt_kv_key_check(struct evrt_slice key);

/* ---- Values ---- */

enum { EVRT_KV_INTEGER_BYTES = 9 };
void evrt_kv_put_integer(struct evrt_buf *out, int64_t v);
/* false: it is no whole number. */
bool evrt_kv_integer(struct evrt_slice value, int64_t *v);
/* What is stored for a JSON document that was checked and is no string: a whole number of 64 bits in its own
 * form, else the text. */
void evrt_kv_put_json(struct evrt_buf *out, struct evrt_slice text);
/* Whether these bytes are a value. */
bool evrt_kv_is_value(struct evrt_slice value);

/* What a value is after an increment, as an absolute value in *out; false: it stays as it is. An absent one
 * is {NULL, 0}. Sums wrap, so that they do not depend on order. */
bool evrt_kv_add(struct evrt_slice value, int64_t by, int64_t *out);
/* Says so of the key that has such a value: -EINVAL. */
int evrt_kv_not_number(struct evrt_slice key, struct evrt_error *err);

#endif

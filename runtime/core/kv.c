/* See kv.h. The header is fixed, so that what a delivery wrote itself can be walked quickly. */
#include "core/kv.h"

#include <assert.h>
#include <errno.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/utf8.h"

static char *put_header(char *p, const struct evrt_kv_op *op) {
    assert(op->ns.n <= UINT16_MAX && op->key.n <= UINT16_MAX);
    assert(op->value.n <= UINT32_MAX && op->expected.n <= UINT32_MAX);
    evrt_set_u16(p, (uint16_t)op->kind);
    evrt_set_u16(p + 2, (uint16_t)op->ns.n);
    evrt_set_u32(p + 4, (uint32_t)op->key.n);
    evrt_set_u32(p + 8, (uint32_t)op->value.n);
    evrt_set_u32(p + 12, (uint32_t)op->expected.n);
    evrt_set_u64(p + 16, (uint64_t)op->number);
    return p + EVRT_KV_HEADER;
}

void evrt_kv_put(struct evrt_buf *out, const struct evrt_kv_op *op) {
    const struct evrt_slice *const parts[] = {&op->ns, &op->key, &op->value, &op->expected};
    size_t n = EVRT_KV_HEADER + op->ns.n + op->key.n + op->value.n + op->expected.n;
    char *to = put_header(evrt_buf_room(out, n), op);
    for (int i = 0; i < 4; i++) {
        if (parts[i]->n == 0) continue;
        memcpy(to, parts[i]->p, parts[i]->n);
        to += parts[i]->n;
    }
    out->n += n;
}

char *evrt_kv_put_emit(struct evrt_buf *out, size_t n) {
    const struct evrt_kv_op op = {.kind = EVRT_KV_EMIT, .value = {NULL, n}};
    char *to = put_header(evrt_buf_room(out, EVRT_KV_HEADER + n), &op);
    out->n += EVRT_KV_HEADER + n;
    return to;
}

/* The next part, when it is there. */
static bool take(struct evrt_slice *rest, size_t n, struct evrt_slice *out) {
    if (n > rest->n) return false;
    *out = (struct evrt_slice){rest->p, n};
    rest->p += n;
    rest->n -= n;
    return true;
}

int evrt_kv_next(struct evrt_slice ops, size_t *at, struct evrt_kv_op *op) {
    if (*at == ops.n) return 0;
    if (ops.n - *at < EVRT_KV_HEADER) return -EBADMSG;
    const char *p = ops.p + *at;
    unsigned kind = evrt_get_u16(p);
    struct evrt_slice rest = {p + EVRT_KV_HEADER, ops.n - *at - EVRT_KV_HEADER};
    if (kind < EVRT_KV_SET || kind > EVRT_KV_EMIT) return -EBADMSG;
    op->kind = kind;
    op->number = (int64_t)evrt_get_u64(p + 16);
    if (!take(&rest, evrt_get_u16(p + 2), &op->ns) || evrt_get_u32(p + 4) > UINT16_MAX ||
        !take(&rest, evrt_get_u32(p + 4), &op->key) ||
        !take(&rest, evrt_get_u32(p + 8), &op->value) ||
        !take(&rest, evrt_get_u32(p + 12), &op->expected))
        return -EBADMSG;
    *at = ops.n - rest.n;
    return 1;
}

size_t evrt_kv_key_check(struct evrt_slice key) {
    size_t bad = evrt_utf8_check(key.p, key.n);
    for (size_t i = 0; i < bad; i++)
        if ((unsigned char)key.p[i] < 0x20 || key.p[i] == 0x7f) return i;
    return bad;
}

/* ---- Values ---- */

void evrt_kv_put_integer(struct evrt_buf *out, int64_t v) {
    char *p = evrt_buf_room(out, EVRT_KV_INTEGER_BYTES);
    *p = 'i';
    evrt_set_u64(p + 1, (uint64_t)v);
    out->n += EVRT_KV_INTEGER_BYTES;
}

bool evrt_kv_integer(struct evrt_slice value, int64_t *v) {
    if (value.n != EVRT_KV_INTEGER_BYTES || value.p[0] != 'i') return false;
    *v = (int64_t)evrt_get_u64(value.p + 1);
    return true;
}

/* "-0" is a double. */
static bool parse_integer(struct evrt_slice s, int64_t *v) {
    bool minus = s.n > 0 && s.p[0] == '-';
    uint64_t sum = 0, most = (uint64_t)INT64_MAX + minus;
    if (s.n == minus || (minus && s.p[1] == '0')) return false;
    for (size_t i = minus; i < s.n; i++) {
        unsigned digit = (unsigned char)s.p[i] - '0';
        if (digit > 9 || sum > (most - digit) / 10) return false;
        sum = sum * 10 + digit;
    }
    *v = (int64_t)(minus ? 0 - sum : sum);
    return true;
}

void evrt_kv_put_json(struct evrt_buf *out, struct evrt_slice text) {
    int64_t v;
    if (parse_integer(text, &v)) {
        evrt_kv_put_integer(out, v);
        return;
    }
    evrt_buf_putc(out, 'j');
    evrt_buf_put(out, text.p, text.n);
}

bool evrt_kv_is_value(struct evrt_slice value) {
    if (value.n == 0) return false;
    return value.p[0] == 's' || (value.p[0] == 'j' && value.n > 1) ||
           (value.p[0] == 'i' && value.n == EVRT_KV_INTEGER_BYTES);
}

bool evrt_kv_add(struct evrt_slice value, int64_t by, int64_t *out) {
    int64_t is = 0;
    if (value.n != 0 && !evrt_kv_integer(value, &is)) return false;
    *out = (int64_t)((uint64_t)is + (uint64_t)by);
    return true;
}

int evrt_kv_not_number(struct evrt_slice key, struct evrt_error *err) {
    return evrt_error_set(err, -EINVAL,
                          "key \"%.*s\" holds no whole number, so it cannot be incremented; "
                          "set it to one, or use cas",
                          (int)key.n, key.p);
}

/* See base64.h. */
#include "core/base64.h"

#include <errno.h>

static int digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

/* Decodes the group of four at s, which has `pad` '=' at its end, into up to 3 bytes. */
static int group(const char *s, size_t pad, char *to, size_t *bad) {
    uint32_t bits = 0;
    for (size_t i = 0; i < 4 - pad; i++) {
        int v = digit(s[i]);
        if (v < 0) {
            *bad = i;
            return -EINVAL;
        }
        bits |= (uint32_t)v << (18 - 6 * i);
    }
    if ((bits & ((1u << (8 * pad)) - 1)) != 0) {
        *bad = 3 - pad;
        return -EINVAL;
    }
    to[0] = (char)(bits >> 16);
    to[1] = (char)(bits >> 8);
    to[2] = (char)bits;
    return 0;
}

int evrt_base64_decode(struct evrt_slice s, struct evrt_buf *out, size_t *bad) {
    char *to = evrt_buf_room(out, s.n / 4 * 3 + 3);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i += 4) {
        size_t pad = 0;
        if (s.n - i < 4) {
            *bad = s.n;
            return -EINVAL;
        }
        if (s.n - i == 4 && s.p[i + 3] == '=') pad = s.p[i + 2] == '=' ? 2 : 1;
        if (group(s.p + i, pad, to + n, bad) < 0) {
            *bad += i;
            return -EINVAL;
        }
        n += 3 - pad;
    }
    out->n += n;
    return 0;
}

void evrt_base64_encode(struct evrt_slice s, char *to) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < s.n; i += 3, to += 4) {
        const unsigned char *p = (const unsigned char *)s.p + i;
        size_t left = s.n - i;
        uint32_t bits = (uint32_t)p[0] << 16;
        if (left > 1) bits |= (uint32_t)p[1] << 8;
        if (left > 2) bits |= p[2];
        to[0] = digits[bits >> 18];
        to[1] = digits[bits >> 12 & 63];
        to[2] = left > 1 ? digits[bits >> 6 & 63] : '=';
        to[3] = left > 2 ? digits[bits & 63] : '=';
    }
}

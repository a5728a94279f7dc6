/* How much of a string JSON can hold as it is: printable ASCII but '"' and '\\'. Nearly all of what is
 * written needs no escaping, and this finds out eight bytes at a time. Any thread. */
#ifndef EVRT_CORE_JSONPLAIN_H
#define EVRT_CORE_JSONPLAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "core/bytes.h"

static inline bool evrt_json_plain_byte(char ch) {
    unsigned char c = (unsigned char)ch;
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* The high bit of each byte of x that is not plain. Only the lowest bit set is sure: a borrow can set one
 * too many, but only above a byte that is not plain. */
static inline uint64_t evrt_json_special8(uint64_t x) {
    const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
    uint64_t quote = x ^ ones * '"', slash = x ^ ones * '\\', del = x ^ ones * 0x7f;
    return (x | (x - ones * 0x20) | (quote - ones) | (slash - ones) | (del - ones)) & high;
}

/* Length of the plain prefix of p[0..n). */
static inline size_t evrt_json_plain(const char *p, size_t n) {
    size_t at = 0;
    for (; n - at >= 8; at += 8) {
        uint64_t special = evrt_json_special8(evrt_get_u64(p + at));
        if (special != 0) return at + ((size_t)__builtin_ctzll(special) >> 3);
    }
    while (at < n && evrt_json_plain_byte(p[at]))
        at++;
    return at;
}

/* Whether all of p[0..n) is plain. Short strings, which most are, take one test: their bytes are gathered
 * into one word, some twice. */
static inline bool evrt_json_is_plain(const char *p, size_t n) {
    if (n >= 8) {
        for (size_t at = 0; at + 8 < n; at += 8)
            if (evrt_json_special8(evrt_get_u64(p + at)) != 0) return false;
        return evrt_json_special8(evrt_get_u64(p + n - 8)) == 0;
    }
    if (n >= 4)
        return evrt_json_special8((uint64_t)evrt_get_u32(p) << 32 | evrt_get_u32(p + n - 4)) == 0;
    return n == 0 || (evrt_json_plain_byte(p[0]) && evrt_json_plain_byte(p[n / 2]) &&
                      evrt_json_plain_byte(p[n - 1]));
}

#endif

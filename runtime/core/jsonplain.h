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

/* Whether all eight bytes of x are plain. Each term has a high bit set where its test holds; a borrow can
 * set one too many only beside a byte that is not plain anyway. */
static inline bool evrt_json_plain8(uint64_t x) {
    const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
    uint64_t quote = x ^ ones * '"', slash = x ^ ones * '\\', del = x ^ ones * 0x7f;
    uint64_t bad = x | ((x - ones * 0x20) & ~x) | ((quote - ones) & ~quote) |
                   ((slash - ones) & ~slash) | ((del - ones) & ~del);
    return (bad & high) == 0;
}

/* Length of the plain prefix of p[0..n). */
static inline size_t evrt_json_plain(const char *p, size_t n) {
    size_t at = 0;
    while (n - at >= 8 && evrt_json_plain8(evrt_get_u64(p + at)))
        at += 8;
    while (at < n && evrt_json_plain_byte(p[at]))
        at++;
    return at;
}

#endif

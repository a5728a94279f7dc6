/* See utf8.h. */
#include "core/utf8.h"

#include "core/bytes.h"

size_t evrt_utf8_next(const char *p, size_t n, uint32_t *code) {
    const unsigned char *u = (const unsigned char *)p;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = u[0] < 0x80   ? 1
                 : u[0] < 0xc0 ? 0
                 : u[0] < 0xe0 ? 2
                 : u[0] < 0xf0 ? 3
                 : u[0] < 0xf8 ? 4
                               : 0;
    if (len == 0 || len > n) return 0;
    uint32_t c = len == 1 ? u[0] : u[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((u[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (u[i] & 0x3f);
    }
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return 0;
    *code = c;
    return len;
}

size_t evrt_utf8_check(const char *p, size_t n) {
    size_t at = 0;
    uint32_t code;
    while (at < n) {
        /* Eight ASCII bytes at a time: nearly all of most payloads. */
        if (n - at >= 8 && (evrt_get_u64(p + at) & 0x8080808080808080) == 0) {
            at += 8;
            continue;
        }
        /* What is left, together with some of what is known already. */
        if (n >= 8 && n - at < 8 && (evrt_get_u64(p + n - 8) & 0x8080808080808080) == 0) return n;
        size_t len = (signed char)p[at] >= 0 ? 1 : evrt_utf8_next(p + at, n - at, &code);
        if (len == 0) return at;
        at += len;
    }
    return n;
}

size_t evrt_utf8_put(char out[4], uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = len; --i > 0; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf00 >> len & 0xff) | c);
    return len;
}

struct evrt_slice evrt_utf8_cut(struct evrt_slice s, size_t most) {
    if (s.n <= most) return s;
    while (most > 0 && ((unsigned char)s.p[most] & 0xc0) == 0x80)
        most--;
    return (struct evrt_slice){s.p, most};
}

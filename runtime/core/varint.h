/* Integers as LEB128 varints, strings as a varint length and bytes: how journal records but the event's are
 * coded, and the numbers in an OTLP collector's answer. */
#ifndef EVRT_CORE_VARINT_H
#define EVRT_CORE_VARINT_H

#include <errno.h>

#include "core/buf.h"

static inline void evrt_varint_put(struct evrt_buf *out, uint64_t v) {
    for (; v >= 0x80; v >>= 7)
        evrt_buf_putc(out, (char)(v | 0x80));
    evrt_buf_putc(out, (char)v);
}

static inline void evrt_varint_put_slice(struct evrt_buf *out, struct evrt_slice s) {
    evrt_varint_put(out, s.n);
    evrt_buf_put(out, s.p, s.n);
}

/* A cursor over a payload; the first malformed read sticks in `bad`. */
struct evrt_varint_input {
    struct evrt_slice s;
    size_t at;
    int bad;
};

static inline uint64_t evrt_varint_get(struct evrt_varint_input *in) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (in->at >= in->s.n) break;
        uint64_t byte = (unsigned char)in->s.p[in->at++];
        if (shift == 63 && byte > 1) break;
        v |= (byte & 0x7f) << shift;
        if (byte < 0x80) return v;
    }
    in->bad = 1;
    return 0;
}

static inline uint32_t evrt_varint_get_u32(struct evrt_varint_input *in) {
    uint64_t v = evrt_varint_get(in);
    if (v > UINT32_MAX) in->bad = 1;
    return (uint32_t)v;
}

static inline struct evrt_slice evrt_varint_get_slice(struct evrt_varint_input *in) {
    uint64_t n = evrt_varint_get(in);
    if (in->bad || n > in->s.n - in->at) {
        in->bad = 1;
        return (struct evrt_slice){NULL, 0};
    }
    struct evrt_slice s = {in->s.p + in->at, (size_t)n};
    in->at += (size_t)n;
    return s;
}

static inline int evrt_varint_finish(const struct evrt_varint_input *in) {
    return in->bad || in->at != in->s.n ? -EBADMSG : 0;
}

#endif

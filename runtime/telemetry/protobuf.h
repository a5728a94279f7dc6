/* Protocol buffers' wire format, written straight into room that the caller has made: each function writes at `p`
 * and returns where it ended. A message whose length is not known yet is opened and closed:
 *
 *     char *open = p;  p = evrt_pb_open(p);  ...fields...  p = evrt_pb_close(open, p, tag);
 *
 * Private to tracing. */
#ifndef EVRT_TELEMETRY_PROTOBUF_H
#define EVRT_TELEMETRY_PROTOBUF_H

#include "core/buf.h"

enum evrt_pb_type { EVRT_PB_VARINT, EVRT_PB_FIXED64, EVRT_PB_BYTES, EVRT_PB_FIXED32 = 5 };

#define EVRT_PB_TAG(field, type) ((unsigned)(field) << 3 | (unsigned)(type))
#define EVRT_PB_MESSAGE(field) EVRT_PB_TAG(field, EVRT_PB_BYTES)

enum {
    EVRT_PB_VARINT_MAX = 10,
    /* Room that a message is opened with: a tag below 16, and a length below 16384. */
    EVRT_PB_OPEN = 3,
    EVRT_PB_HEAD_MAX = 1 + 5, /* of a message: such a tag and any length */
};

static inline size_t evrt_pb_varint_size(uint64_t v) {
    return (size_t)(70 - __builtin_clzll(v | 1)) / 7;
}

static inline char *evrt_pb_varint(char *p, uint64_t v) {
    for (; v >= 0x80; v >>= 7)
        *p++ = (char)(v | 0x80);
    *p++ = (char)v;
    return p;
}

static inline char *evrt_pb_raw(char *p, const void *from, size_t n) {
    if (n != 0) memcpy(p, from, n);
    return p + n;
}

static inline char *evrt_pb_bytes(char *p, unsigned tag, struct evrt_slice s) {
    p = evrt_pb_varint(evrt_pb_varint(p, tag), s.n);
    return evrt_pb_raw(p, s.p, s.n);
}

static inline char *evrt_pb_number(char *p, unsigned tag, uint64_t v) {
    return evrt_pb_varint(evrt_pb_varint(p, tag), v);
}

/* As they stand in memory: this runs on little-endian machines alone (core/bytes.h). */
static inline char *evrt_pb_fixed64(char *p, unsigned tag, uint64_t v) {
    return evrt_pb_raw(evrt_pb_varint(p, tag), &v, sizeof v);
}

static inline char *evrt_pb_fixed32(char *p, unsigned tag, uint32_t v) {
    return evrt_pb_raw(evrt_pb_varint(p, tag), &v, sizeof v);
}

static inline char *evrt_pb_open(char *p) {
    return p + EVRT_PB_OPEN;
}

/* What was written moves by some bytes when its length takes more or less room than most. */
static inline char *evrt_pb_close(char *open, char *p, unsigned tag) {
    size_t n = (size_t)(p - open) - EVRT_PB_OPEN, head = 1 + evrt_pb_varint_size(n);
    if (head != EVRT_PB_OPEN) memmove(open + head, open + EVRT_PB_OPEN, n);
    *open = (char)tag;
    (void)evrt_pb_varint(open + 1, n);
    return open + head + n;
}

#endif

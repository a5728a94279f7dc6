/* Base64 (RFC 4648, the standard alphabet, padded), strictly. Pure; any thread. */
#ifndef EVRT_CORE_BASE64_H
#define EVRT_CORE_BASE64_H

#include "core/buf.h"

/* Appends the bytes to out. -EINVAL: *bad is the offset of what is wrong: a foreign character, missing
 * padding, or bits that padding leaves set. */
EVRT_MUST_CHECK int evrt_base64_decode(struct evrt_slice s, struct evrt_buf *out, size_t *bad);

/* Writes the evrt_base64_size(s.n) characters of the text. */
void evrt_base64_encode(struct evrt_slice s, char *to);
static inline size_t evrt_base64_size(size_t n) {
    return (n + 2) / 3 * 4;
}

#endif

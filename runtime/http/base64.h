/* Base64 (RFC 4648, the standard alphabet, padded), strictly. Pure; any thread. */
#ifndef EVRT_HTTP_BASE64_H
#define EVRT_HTTP_BASE64_H

#include "core/buf.h"

/* Appends the bytes to out. -EINVAL: *bad is the offset of what is wrong: a foreign character, missing
 * padding, or bits that padding leaves set. */
EVRT_MUST_CHECK int evrt_base64_decode(struct evrt_slice s, struct evrt_buf *out, size_t *bad);

#endif

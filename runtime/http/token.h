/* Bearer tokens: read from a file at start, compared without telling by time how much was right. */
#ifndef EVRT_HTTP_TOKEN_H
#define EVRT_HTTP_TOKEN_H

#include <stdbool.h>

#include "core/buf.h"

enum {
    EVRT_TOKEN_MAX = 4096,
};

/* The file's first line, appended to out. *exposed: others than its owner may read it. -EINVAL: empty,
 * too long, or not printable; any other errno: it cannot be read. */
EVRT_MUST_CHECK int evrt_token_load(const char *path, struct evrt_buf *out, bool *exposed,
                                    struct evrt_error *err);

/* Takes a time that depends on `given` alone. Never true for an empty token. */
bool evrt_token_equal(struct evrt_slice token, struct evrt_slice given);

/* The token of "Bearer xyz"; {NULL, 0} for another scheme or none. */
struct evrt_slice evrt_token_bearer(struct evrt_slice authorization);

#endif

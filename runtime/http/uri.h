/* Request targets: path, query, percent-decoding. Pure; any thread; slices borrow. */
#ifndef EVRT_HTTP_URI_H
#define EVRT_HTTP_URI_H

#include <stdbool.h>

#include "core/buf.h"

/* "/a/b?x=1" into "/a/b" and "x=1" ({NULL, 0} when there is no '?'). */
void evrt_uri_split(struct evrt_slice uri, struct evrt_slice *path, struct evrt_slice *query);

/* Appends the decoded bytes to out. -EINVAL: a '%' without two hex digits, *bad is its offset. */
EVRT_MUST_CHECK int evrt_percent_decode(struct evrt_slice s, struct evrt_buf *out, size_t *bad);

/* Steps through "name=value&name=value" (not decoded); *at starts at 0. false at the end. */
bool evrt_query_next(struct evrt_slice query, size_t *at, struct evrt_slice *name,
                     struct evrt_slice *value);
/* Decodes one name or value: percent-decoding, and '+' is a space. -EINVAL as above. */
EVRT_MUST_CHECK int evrt_query_decode(struct evrt_slice s, struct evrt_buf *out, size_t *bad);

#endif

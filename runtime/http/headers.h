/* A request's header fields: looking them up, media types, and the checks that keep two parsers from
 * reading one request differently. Pure; any thread; slices borrow. */
#ifndef EVRT_HTTP_HEADERS_H
#define EVRT_HTTP_HEADERS_H

#include <stdbool.h>

#include "core/buf.h"

struct evrt_header {
    struct evrt_slice name, value; /* value without the white space around it, once checked */
};

enum {
    EVRT_HEADERS_MAX = 100, /* fields of one request */
};

/* The value of the first field of that name (in lower case), or {NULL, 0}. */
struct evrt_slice evrt_headers_get(const struct evrt_header *h, size_t n, const char *name);

/* Whether the fields stand in memory exactly as line after line, each ended by CRLF: the first name at
 * `from`, the empty line's end at `to`. False when a parser before us took a bare LF, a folded line, a
 * NUL or white space for something that another parser would not. */
bool evrt_headers_contiguous(const struct evrt_header *h, size_t n, const char *from,
                             const char *to);

/* Refuses what proxies and servers read differently, and what CloudEvents leaves undefined: names that
 * are no tokens, control characters, Content-Length that is repeated, not digits or beside a
 * Transfer-Encoding, any coding but one `chunked`, repeated Host, Content-Type, Authorization or ce-*.
 * Trims the values. -EINVAL with the reason. */
EVRT_MUST_CHECK int evrt_headers_check(struct evrt_header *h, size_t n, bool http10,
                                       struct evrt_error *err);

/* "application/json; charset=utf-8" taken apart; absent parts are {NULL, 0}. */
struct evrt_media {
    struct evrt_slice type, charset;
};
struct evrt_media evrt_media_parse(struct evrt_slice value);
/* Equal but for case; `text` is in lower case. */
bool evrt_caseless_eq(struct evrt_slice s, const char *text);

#endif

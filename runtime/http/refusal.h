/* Why a request is refused: for each reason one code and one status, on both listeners. One table, read by the
 * code that refuses, by README's list and by specs. Pure; any thread. */
#ifndef EVRT_HTTP_REFUSAL_H
#define EVRT_HTTP_REFUSAL_H

/* id, status, code, seconds of Retry-After (0: none), the host's errno for it (0: none), what it means. */
#define EVRT_REFUSALS(X)                                                                        \
    X(BAD_EVENT, 400, "bad_event", 0, 0, "the event: what is wrong, and where")                 \
    X(BAD_PARAMETER, 400, "bad_parameter", 0, EINVAL, "a parameter of the query")               \
    X(BAD_REQUEST, 400, "bad_request", 0, 0, "the path, the headers or the body")               \
    X(UNAUTHORIZED, 401, "unauthorized", 0, 0, "a token is missing")                            \
    X(FORBIDDEN, 403, "forbidden", 0, 0, "the token is another one")                            \
    X(NOT_FOUND, 404, "not_found", 0, ENOENT, "there is no such thing")                         \
    X(METHOD, 405, "method_not_allowed", 0, 0, "the path answers to others, which Allow lists") \
    X(IN_USE, 409, "in_use", 0, EBUSY, "something that goes on now stands in the way")          \
    X(REFUSED, 409, "refused", 0, ENOTSUP, "this node cannot, or would overwrite something")    \
    X(TOO_LARGE, 413, "too_large", 0, EMSGSIZE, "body, event or value; the limit is named")     \
    X(BATCH, 413, "batch_too_large", 0, E2BIG, "more events than http.max_batch")               \
    X(MEDIA_TYPE, 415, "unsupported_media_type", 0, EMEDIUMTYPE, "not a form of CloudEvents")   \
    X(BUSY, 429, "busy", 1, EAGAIN, "too much is under way; the limit is named")                \
    X(ADDRESS, 429, "too_many_connections", 1, 0, "of this address")                            \
    X(HEADERS, 431, "headers_too_large", 0, 0, "more than http.max_header_size")                \
    X(INTERNAL, 500, "internal", 0, 0, "state.db cannot be read, or the like")                  \
    X(STORE_FULL, 503, "store_full", 5, ENOSPC, "there is no space; nothing was kept")          \
    X(CONNECTIONS, 503, "too_many_connections", 1, 0, "of all")                                 \
    X(SHUTTING_DOWN, 503, "shutting_down", 1, ESHUTDOWN, "the node ends")

enum evrt_refusal {
#define X(id, status, code, pause, rc, help) EVRT_REFUSE_##id,
    EVRT_REFUSALS(X)
#undef X
        EVRT_REFUSAL_COUNT
};

struct evrt_refusal_answer {
    unsigned status, retry_after;
    const char *code, *help;
};
const struct evrt_refusal_answer *evrt_refusal_answer(enum evrt_refusal why);
/* That of a negative errno of the host; INTERNAL for one that is not in the table. */
enum evrt_refusal evrt_refusal_of(int rc);

#endif

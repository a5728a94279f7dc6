/* See request.h: what needs nothing of the server behind. */
#include "http/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/jsonout.h"
#include "http/uri.h"

void evrt_request_error_json(struct evrt_buf *out, const char *code, struct evrt_slice message) {
    struct evrt_jsonout o = evrt_jsonout_start(out);
    evrt_jsonout_object(&o);
    evrt_jsonout_key(&o, "error");
    evrt_jsonout_object(&o);
    evrt_jsonout_put_cstr(&o, "code", code);
    evrt_jsonout_put_str(&o, "message", message);
    evrt_jsonout_end(&o);
    evrt_jsonout_end(&o);
}

void evrt_request_fail(struct evrt_http_request *r, enum evrt_refusal why, const char *fmt, ...) {
    const struct evrt_refusal_answer *answer = evrt_refusal_answer(why);
    char message[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    evrt_buf_clear(&r->out);
    evrt_request_error_json(&r->out, answer->code, evrt_slice_of(message));
    evrt_buf_putc(&r->out, '\n');
    r->retry_after = answer->retry_after;
    evrt_request_answer(r, answer->status);
}

static int bad_query(struct evrt_http_request *r, const char *what, struct evrt_slice name) {
    const char *takes = r->match.route->query;
    evrt_request_fail(r, EVRT_REFUSE_BAD_PARAMETER, "query parameter \"%.*s\": %s; %s%s",
                      (int)(name.n < 80 ? name.n : 80), name.p, what,
                      *takes == '\0' ? "there are none here" : "there are: ", takes);
    return -EINVAL;
}

/* Copies to r->text, whose memory may move: offsets are turned into slices at the very end of each use. */
static int decode_pair(struct evrt_http_request *r, struct evrt_slice *name,
                       struct evrt_slice *value) {
    size_t bad, from = r->text.n;
    if (evrt_query_decode(*name, &r->text, &bad) < 0) return bad_query(r, "malformed", *name);
    size_t name_n = r->text.n - from;
    evrt_buf_putc(&r->text, '\0');
    size_t at = r->text.n;
    if (evrt_query_decode(*value, &r->text, &bad) < 0)
        return bad_query(r, "a '%' is not followed by two hex digits", *name);
    *value = (struct evrt_slice){NULL, r->text.n - at};
    evrt_buf_putc(&r->text, '\0');
    *name = (struct evrt_slice){r->text.p + from, name_n};
    value->p = r->text.p + at;
    return 0;
}

static bool seen_before(struct evrt_slice query, size_t until, struct evrt_slice name) {
    struct evrt_slice other, value;
    for (size_t at = 0; evrt_query_next(query, &at, &other, &value) && at < until;)
        if (evrt_slice_eq(other, name)) return true;
    return false;
}

int evrt_request_query(struct evrt_http_request *r,
                       int (*each)(void *arg, struct evrt_http_request *r, struct evrt_slice name,
                                   struct evrt_slice value),
                       void *arg) {
    struct evrt_slice name, value;
    evrt_buf_clear(&r->text);
    evrt_buf_room(&r->text, 2 * r->query.n + 2); /* so that what was decoded stays where it is */
    for (size_t at = 0; evrt_query_next(r->query, &at, &name, &value);) {
        if (seen_before(r->query, at, name)) return bad_query(r, "given twice", name);
        if (decode_pair(r, &name, &value) < 0) return -EINVAL;
        if (!evrt_route_takes(r->match.route->query, name)) return bad_query(r, "unknown", name);
        int rc = each(arg, r, name, value);
        if (rc < 0) return rc;
    }
    return 0;
}

/* See admin_body.h. */
#include "http/admin_body.h"

#include <errno.h>

#include "core/error.h"
#include "http/parameter.h"
#include "http/request.h"
#include "json/json.h"

enum { BODY_BYTES = 16 << 10, NAME_SHOWN = 80 };

uint64_t evrt_admin_body(struct evrt_http_request *r) {
    (void)r;
    return BODY_BYTES;
}

static int take_number(const struct evrt_admin_member *x, struct evrt_slice value,
                       struct evrt_error *err) {
    if (evrt_parameter_u64(value, x->number) && *x->number <= INT64_MAX) return 0;
    return evrt_error_set(err, -EINVAL, "%s: expected a whole number from 0", x->name);
}

static int take(const struct evrt_admin_member *x, const struct evrt_json_member *m,
                struct evrt_error *err) {
    bool text = x->text != NULL;
    if (x->number != NULL) return take_number(x, m->value, err);
    if (m->info.type != (text ? EVRT_JSON_STRING : EVRT_JSON_BOOL))
        return evrt_error_set(err, -EINVAL, "%s: expected %s", x->name,
                              text ? "a string" : "true or false");
    if (text)
        evrt_json_unquote(m->value, x->text);
    else
        *x->flag = evrt_slice_eq(m->value, EVRT_STR("true"));
    return 0;
}

static int on_member(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    for (const struct evrt_admin_member *x = arg; x->name != NULL; x++)
        if (evrt_slice_eq(evrt_slice_of(x->name), m->key)) return take(x, m, err);
    int shown = (int)(m->key.n < NAME_SHOWN ? m->key.n : NAME_SHOWN);
    return evrt_error_set(err, -EINVAL, "\"%.*s\": unknown", shown, m->key.p);
}

int evrt_admin_read_body(struct evrt_http_request *r, const struct evrt_admin_member *members) {
    struct evrt_json_info info = {EVRT_JSON_NULL};
    struct evrt_error err;
    if (r->body.n == 0) return 0;
    int rc = evrt_json_members(evrt_buf_slice(&r->body), on_member, (void *)members, &info, &err);
    if (rc == 0 && info.type != EVRT_JSON_OBJECT)
        rc = evrt_error_set(&err, -EINVAL, "expected a JSON object");
    if (rc < 0) evrt_request_fail(r, EVRT_REFUSE_BAD_REQUEST, "%s", err.message);
    return rc;
}

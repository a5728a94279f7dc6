/* The admin API's key-value store: keys read, listed, written and removed by an operator, who may write any
 * namespace. A value is JSON; bytes that are no text are told in base64, and taken with Content-Type
 * application/octet-stream. */
#include <strings.h>

#include "config/config.h"
#include "core/base64.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/jsonout.h"
#include "core/kv.h"
#include "core/units.h"
#include "core/utf8.h"
#include "host/host.h"
#include "http/admin_answer.h"
#include "http/admin_routes.h"
#include "http/parameter.h"
#include "http/request.h"
#include "telemetry/metrics_table.h"
#include "json/json.h"

struct parameters {
    struct evrt_slice ns, key, prefix, after;
    uint32_t limit;
    int64_t ttl_ms;
};

static int take_parameter(void *arg, struct evrt_http_request *r, struct evrt_slice name,
                          struct evrt_slice value) {
    struct parameters *p = arg;
    if (evrt_slice_eq(name, EVRT_STR("namespace"))) {
        if (value.n == 0) return evrt_admin_bad(r, "namespace", "a name");
        p->ns = value;
    } else if (evrt_slice_eq(name, EVRT_STR("key"))) {
        if (value.n == 0) return evrt_admin_bad(r, "key", "a key");
        p->key = value;
    } else if (evrt_slice_eq(name, EVRT_STR("prefix"))) {
        p->prefix = value;
    } else if (evrt_slice_eq(name, EVRT_STR("after"))) {
        p->after = value;
    } else if (evrt_slice_eq(name, EVRT_STR("ttl"))) {
        if (evrt_duration_parse(value, &p->ttl_ms) < 0 || p->ttl_ms <= 0)
            return evrt_admin_bad(r, "ttl", "a duration above 0 such as 5m");
    } else {
        return evrt_admin_limit(r, value, &p->limit);
    }
    return 0;
}

static void put_base64(struct evrt_jsonout *o, const char *name, struct evrt_slice bytes) {
    struct evrt_buf text = {0};
    evrt_base64_encode(bytes, evrt_buf_room(&text, evrt_base64_size(bytes.n)));
    text.n = evrt_base64_size(bytes.n);
    evrt_jsonout_put_str(o, name, evrt_buf_slice(&text));
    evrt_buf_finish(&text);
}

static void put_value(struct evrt_jsonout *o, struct evrt_slice value) {
    struct evrt_slice rest = {value.p + 1, value.n - 1};
    int64_t v;
    if (value.p[0] == 's' && evrt_utf8_check(rest.p, rest.n) != rest.n) {
        put_base64(o, "value_base64", rest);
        return;
    }
    evrt_jsonout_key(o, "value");
    if (evrt_kv_integer(value, &v))
        evrt_jsonout_i64(o, v);
    else if (value.p[0] == 's')
        evrt_jsonout_str(o, rest);
    else
        evrt_jsonout_raw(o, rest);
}

/* ---- Reading ---- */

static void on_key(void *arg, int status, bool more, struct evrt_slice value) {
    struct evrt_http_request *r = arg;
    (void)more;
    if (status < 0) {
        evrt_admin_fail(r, status, value);
    } else if (value.n == 0) {
        evrt_request_fail(r, EVRT_REFUSE_NOT_FOUND, "there is no such key");
    } else {
        struct evrt_jsonout o = evrt_jsonout_start(&r->out);
        evrt_jsonout_object(&o);
        put_value(&o, value);
        evrt_jsonout_end(&o);
        evrt_buf_putc(&r->out, '\n');
        evrt_request_answer(r, 200);
    }
    evrt_request_release(r);
}

static void put_items(struct evrt_http_request *r, bool namespaces, bool more,
                      struct evrt_slice list) {
    struct evrt_jsonout o = evrt_jsonout_start(&r->out);
    struct evrt_slice next = {NULL, 0};
    struct evrt_kv_op op;
    evrt_jsonout_object(&o);
    evrt_jsonout_key(&o, "items");
    evrt_jsonout_array(&o);
    for (size_t at = 0; evrt_kv_next(list, &at, &op) == 1;) {
        if (op.kind == EVRT_KV_DELETE) {
            next = op.key;
            continue;
        }
        evrt_jsonout_object(&o);
        evrt_jsonout_put_str(&o, namespaces ? "namespace" : "key", op.key);
        if (!namespaces) put_value(&o, op.value);
        evrt_jsonout_end(&o);
    }
    evrt_jsonout_end(&o);
    evrt_jsonout_key(&o, "next");
    if (more)
        evrt_jsonout_str(&o, next);
    else
        evrt_jsonout_null(&o);
    evrt_jsonout_end(&o);
    evrt_buf_putc(&r->out, '\n');
}

static void answer_list(struct evrt_http_request *r, bool namespaces, int status, bool more,
                        struct evrt_slice list) {
    if (status < 0) {
        evrt_admin_fail(r, status, list);
    } else {
        put_items(r, namespaces, more, list);
        evrt_request_answer(r, 200);
    }
    evrt_request_release(r);
}

static void on_list(void *arg, int status, bool more, struct evrt_slice list) {
    answer_list(arg, false, status, more, list);
}

static void on_namespaces(void *arg, int status, bool more, struct evrt_slice list) {
    answer_list(arg, true, status, more, list);
}

void evrt_get_kv(struct evrt_http_request *r) {
    struct parameters p = {.limit = EVRT_ADMIN_LIMIT_DEFAULT};
    if (evrt_request_query(r, take_parameter, &p) < 0) return;
    if (p.ns.n == 0 && (p.key.n != 0 || p.prefix.n != 0)) {
        (void)evrt_admin_bad(r, "namespace", "the name of the namespace that the key is in");
        return;
    }
    struct evrt_host_kv_range range = {p.ns, p.key, p.after, 0};
    if (p.key.n == 0) {
        range.key = p.prefix;
        range.limit = p.limit;
    }
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_host_kv_read(evrt_request_host(r), &range,
                      p.key.n != 0  ? on_key
                      : p.ns.n != 0 ? on_list
                                    : on_namespaces,
                      r);
}

/* ---- Writing ---- */

static void write_one(struct evrt_http_request *r, const struct evrt_kv_op *op, const char *action,
                      const char *done) {
    struct evrt_buf bytes = {0}, target = {0};
    struct evrt_error err;
    evrt_kv_put(&bytes, op);
    evrt_buf_put(&target, op->ns.p, op->ns.n);
    evrt_buf_putc(&target, '/');
    evrt_buf_put(&target, op->key.p, op->key.n);
    evrt_request_hold(r);
    evrt_request_park(r);
    struct evrt_jsonout o = evrt_jsonout_start(&r->out);
    size_t before = r->out.n;
    evrt_jsonout_object(&o);
    evrt_jsonout_put_str(&o, "namespace", op->ns);
    evrt_jsonout_put_str(&o, "key", op->key);
    evrt_jsonout_end(&o);
    evrt_buf_putc(&r->out, '\n');
    int rc =
        evrt_host_kv_write(evrt_request_host(r), evrt_buf_slice(&bytes), evrt_admin_done, r, &err);
    evrt_request_audit(r, action, evrt_buf_cstr(&target), rc < 0 ? err.message : done);
    if (rc < 0) {
        r->out.n = before;
        evrt_admin_fail(r, rc, evrt_slice_of(err.message));
        evrt_request_release(r);
    }
    evrt_buf_finish(&bytes);
    evrt_buf_finish(&target);
}

static bool named(struct evrt_http_request *r, struct parameters *p) {
    if (evrt_request_query(r, take_parameter, p) < 0) return false;
    if (p->ns.n == 0) return evrt_admin_bad(r, "namespace", "the name of a namespace") == 0;
    return p->key.n != 0 || evrt_admin_bad(r, "key", "the key") == 0;
}

static bool is_bytes(const struct evrt_http_request *r) {
    static const char bytes[] = "application/octet-stream";
    struct evrt_slice type = evrt_headers_get(r->headers, r->header_count, "content-type");
    return type.n >= sizeof bytes - 1 && strncasecmp(type.p, bytes, sizeof bytes - 1) == 0;
}

void evrt_put_kv(struct evrt_http_request *r) {
    struct parameters p = {.limit = EVRT_ADMIN_LIMIT_DEFAULT};
    struct evrt_buf value = {0};
    struct evrt_json_info info;
    struct evrt_error err;
    struct evrt_slice body = evrt_buf_slice(&r->body);
    if (!named(r, &p)) return;
    if (is_bytes(r)) {
        evrt_buf_putc(&value, 's');
        evrt_buf_put(&value, body.p, body.n);
    } else if (evrt_json_check(body, &info, &err) < 0) {
        evrt_request_fail(r, EVRT_REFUSE_BAD_REQUEST, "the body is the value, in JSON: %s",
                          err.message);
        return;
    } else {
        while (body.n > 0 && strchr(" \t\r\n", body.p[0]) != NULL)
            body.p++, body.n--;
        while (body.n > 0 && strchr(" \t\r\n", body.p[body.n - 1]) != NULL)
            body.n--;
        if (info.type == EVRT_JSON_STRING) {
            evrt_buf_putc(&value, 's');
            evrt_json_unquote(body, &value);
        } else {
            evrt_kv_put_json(&value, body);
        }
    }
    int64_t expires = p.ttl_ms == 0 ? 0 : evrt_host_kv_now(evrt_request_host(r)) + p.ttl_ms;
    write_one(
        r,
        &(struct evrt_kv_op){EVRT_KV_SET, expires, p.ns, p.key, evrt_buf_slice(&value), {NULL, 0}},
        "set key", "written");
    evrt_buf_finish(&value);
}

uint64_t evrt_kv_body(struct evrt_http_request *r) {
    r->body_key = EVRT_LIMIT_KV_VALUE;
    return evrt_request_config(r)->kv.max_value * 6 + 2; /* a character may be written in six */
}

void evrt_delete_kv(struct evrt_http_request *r) {
    struct parameters p = {.limit = EVRT_ADMIN_LIMIT_DEFAULT};
    if (!named(r, &p)) return;
    write_one(r, &(struct evrt_kv_op){.kind = EVRT_KV_DELETE, .ns = p.ns, .key = p.key},
              "delete key", "deleted");
}

/* The admin API's replays: begun, listed, looked at, cancelled. Each is a job of its kind. */
#include <errno.h>
#include <stdio.h>

#include "core/error.h"
#include "host/host.h"
#include "http/admin_answer.h"
#include "http/admin_routes.h"
#include "http/parameter.h"
#include "http/request.h"
#include "json/json.h"

static const char KIND[] = "replay";

/* ---- The body ---- */

struct body {
    struct evrt_host_replay want;
    struct evrt_buf texts[4];
};

enum type { TEXT, TIME, NUMBER, FLAG };

static const struct member {
    const char *name;
    enum type type;
    size_t at;     /* in struct evrt_host_replay */
    unsigned text; /* TEXT: which of texts */
} members[] = {
    {"handler", TEXT, offsetof(struct evrt_host_replay, handler), 0},
    {"type", TEXT, offsetof(struct evrt_host_replay, filter.type), 1},
    {"source", TEXT, offsetof(struct evrt_host_replay, filter.source), 2},
    {"subject", TEXT, offsetof(struct evrt_host_replay, filter.subject), 3},
    {"from", TIME, offsetof(struct evrt_host_replay, filter.from_ms), 0},
    {"to", TIME, offsetof(struct evrt_host_replay, filter.to_ms), 0},
    {"from_seq", NUMBER, offsetof(struct evrt_host_replay, from_seq), 0},
    {"to_seq", NUMBER, offsetof(struct evrt_host_replay, to_seq), 0},
    {"limit", NUMBER, offsetof(struct evrt_host_replay, limit), 0},
    {"rate", NUMBER, offsetof(struct evrt_host_replay, rate), 0},
    {"dry_run", FLAG, offsetof(struct evrt_host_replay, dry_run), 0},
};

static int expected(struct evrt_error *err, const char *name, const char *what) {
    return evrt_error_set(err, -EINVAL, "%s: expected %s", name, what);
}

static int take_value(struct body *b, const struct member *x, const struct evrt_json_member *m,
                      struct evrt_error *err) {
    void *to = (char *)&b->want + x->at;
    struct evrt_buf text;
    bool is_string = m->info.type == EVRT_JSON_STRING;
    int rc = 0;
    switch (x->type) {
    case TEXT:
        if (is_string) evrt_json_unquote(m->value, &b->texts[x->text]);
        if (b->texts[x->text].n == 0) return expected(err, x->name, "a string that is not empty");
        *(struct evrt_slice *)to = evrt_buf_slice(&b->texts[x->text]);
        return 0;
    case TIME:
        evrt_buf_init(&text);
        if (is_string) evrt_json_unquote(m->value, &text);
        if (!evrt_parameter_time(evrt_buf_slice(&text), to))
            rc = expected(err, x->name, evrt_parameter_time_form);
        evrt_buf_finish(&text);
        return rc;
    case NUMBER:
        if (evrt_parameter_u64(m->value, to) && *(uint64_t *)to > 0) return 0;
        return expected(err, x->name, "a whole number from 1");
    case FLAG:
        *(bool *)to = evrt_slice_eq(m->value, EVRT_STR("true"));
        return m->info.type == EVRT_JSON_BOOL ? 0 : expected(err, x->name, "true or false");
    }
    return 0;
}

static int take_member(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (evrt_slice_eq(evrt_slice_of(members[i].name), m->key))
            return m->info.type == EVRT_JSON_NULL ? 0 : take_value(arg, &members[i], m, err);
    return evrt_error_set(err, -EINVAL, "\"%.*s\": unknown", (int)(m->key.n < 80 ? m->key.n : 80),
                          m->key.p);
}

static int check(const struct evrt_host_replay *want, struct evrt_error *err) {
    const struct evrt_host_filter *f = &want->filter;
    if (want->handler.n == 0) return expected(err, "handler", "the name of one");
    if (f->from_ms != 0 && f->to_ms != 0 && f->from_ms >= f->to_ms)
        return expected(err, "from", "a time before that of to");
    if (want->to_seq != 0 && want->from_seq > want->to_seq)
        return expected(err, "from_seq", "a sequence not after to_seq");
    return 0;
}

static int read_body(struct evrt_http_request *r, struct body *b, struct evrt_error *err) {
    struct evrt_json_info info = {EVRT_JSON_NULL};
    int rc = evrt_json_members(evrt_buf_slice(&r->body), take_member, b, &info, err);
    if (rc == 0 && info.type != EVRT_JSON_OBJECT)
        rc = evrt_error_set(err, -EINVAL, "expected a JSON object");
    return rc < 0 ? rc : check(&b->want, err);
}

/* ---- Beginning ---- */

static void answer(struct evrt_http_request *r, int status, struct evrt_slice json, unsigned code) {
    if (status == 0)
        evrt_admin_put(r, code, json);
    else
        evrt_admin_fail(r, status,
                        status == -ENOENT
                            ? EVRT_STR("no such replay (any more)")
                            : EVRT_STR("the node is shutting down; it goes on at the next start"));
    evrt_request_release(r);
}

static void on_begun(void *arg, int status, struct evrt_slice json) {
    answer(arg, status, json, 202);
}

static void on_ended(void *arg, int status, struct evrt_slice json) {
    answer(arg, status, json, 200);
}

static int take_wait(void *arg, struct evrt_http_request *r, struct evrt_slice name,
                     struct evrt_slice value) {
    (void)name;
    return evrt_admin_flag(r, "wait", value, arg);
}

static void begin(struct evrt_http_request *r, struct body *b, bool wait) {
    struct evrt_error err = {0};
    uint64_t id = 0;
    int rc = read_body(r, b, &err);
    if (rc == 0) rc = evrt_host_replay(evrt_request_host(r), &b->want, &id, &err);
    if (b->want.handler.n != 0)
        evrt_request_audit(r, b->want.dry_run ? "replay (dry run)" : "replay",
                           evrt_buf_cstr(&b->texts[0]), rc < 0 ? err.message : "begun");
    if (rc < 0) {
        evrt_admin_fail(r, rc, evrt_slice_of(err.message));
        return;
    }
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_host_job_wait(evrt_request_host(r), id, wait, wait ? on_ended : on_begun, r);
}

void evrt_post_replay(struct evrt_http_request *r) {
    struct body b = {0};
    bool wait = false;
    if (evrt_request_query(r, take_wait, &wait) < 0) return;
    begin(r, &b, wait);
    for (size_t i = 0; i < sizeof b.texts / sizeof b.texts[0]; i++)
        evrt_buf_finish(&b.texts[i]);
}

/* ---- Those there are ---- */

void evrt_get_replays(struct evrt_http_request *r) {
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return;
    evrt_host_jobs(evrt_request_host(r), KIND, &r->out);
    evrt_buf_putc(&r->out, '\n');
    evrt_request_answer(r, 200);
}

static void one(struct evrt_http_request *r, bool cancel) {
    uint64_t id;
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return;
    if (!evrt_parameter_u64(r->match.params[0], &id) ||
        evrt_host_job_is(evrt_request_host(r), id, KIND)) {
        evrt_admin_job(r, r->match.params[0], cancel);
        return;
    }
    const char *why = "no such replay: it never was, or it ended long ago (jobs.keep)";
    char target[24];
    snprintf(target, sizeof target, "%llu", (unsigned long long)id);
    if (cancel) evrt_request_audit(r, "cancel job", target, why);
    evrt_admin_fail(r, -ENOENT, evrt_slice_of(why));
}

void evrt_get_replay(struct evrt_http_request *r) {
    one(r, false);
}

void evrt_delete_replay(struct evrt_http_request *r) {
    one(r, true);
}

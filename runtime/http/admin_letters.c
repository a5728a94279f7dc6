/* The admin API's dead letters: listed, shown, given up, given once more. One is named by its handler's number
 * and its event's sequence: "3-1207". */
#include <errno.h>
#include <stdio.h>

#include "core/error.h"
#include "host/host.h"
#include "http/admin_answer.h"
#include "http/admin_routes.h"
#include "http/parameter.h"
#include "http/request.h"
#include "json/json.h"

enum { FULL_MAX = 100 }; /* letters with their events, in one answer */

struct id {
    uint64_t sub, seq;
};

static bool parse_id(struct evrt_slice s, struct id *out) {
    return evrt_parameter_pair(s, &out->sub, &out->seq) && out->sub <= UINT32_MAX && out->seq != 0;
}

static bool take_id(struct evrt_http_request *r, struct id *out) {
    if (parse_id(r->match.params[0], out)) return true;
    evrt_request_fail(r, EVRT_REFUSE_BAD_REQUEST,
                      "a dead letter is named as in the list, as 3-1207");
    return false;
}

/* ---- Parameters ---- */

struct parameters {
    struct evrt_host_letters q;
    uint32_t limit;
    bool all, wait;
};

static int take_parameter(void *arg, struct evrt_http_request *r, struct evrt_slice name,
                          struct evrt_slice value) {
    struct parameters *p = arg;
    struct evrt_host_letter_filter *f = &p->q.which;
    const struct {
        const char *name;
        struct evrt_slice *text;
        int64_t *time;
        bool *flag;
    } known[] = {
        {"handler", &f->handler, NULL, NULL}, {"type", &f->type, NULL, NULL},
        {"reason", &f->reason, NULL, NULL},   {"from", NULL, &f->from_ms, NULL},
        {"to", NULL, &f->to_ms, NULL},        {"full", NULL, NULL, &p->q.full},
        {"all", NULL, NULL, &p->all},         {"wait", NULL, NULL, &p->wait},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!evrt_slice_eq(name, evrt_slice_of(known[i].name))) continue;
        if (known[i].flag != NULL) return evrt_admin_flag(r, known[i].name, value, known[i].flag);
        if (known[i].time != NULL)
            return evrt_parameter_time(value, known[i].time)
                       ? 0
                       : evrt_admin_bad(r, known[i].name, evrt_parameter_time_form);
        if (value.n == 0) return evrt_admin_bad(r, known[i].name, "a value that is not empty");
        *known[i].text = value;
        return 0;
    }
    if (evrt_slice_eq(name, EVRT_STR("after")))
        return evrt_parameter_u64(value, &p->q.after) && p->q.after != 0
                   ? 0
                   : evrt_admin_bad(r, "after", "what next said");
    return evrt_admin_limit(r, value, &p->limit);
}

/* ---- Looking ---- */

void evrt_get_letters(struct evrt_http_request *r) {
    struct parameters p = {.limit = EVRT_ADMIN_LIMIT_DEFAULT};
    if (evrt_request_query(r, take_parameter, &p) < 0) return;
    if (p.q.full && p.limit > FULL_MAX) p.limit = FULL_MAX;
    p.q.limit = p.limit;
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_host_letters(evrt_request_host(r), &p.q, evrt_admin_json, r);
}

void evrt_get_letter(struct evrt_http_request *r) {
    struct id id;
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0 || !take_id(r, &id)) return;
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_host_letter(evrt_request_host(r), (uint32_t)id.sub, id.seq, evrt_admin_json, r);
}

/* ---- Giving up ---- */

/* The one named, or what they are chosen by: told when the filter's texts are gone. They are not in r->text. */
static void note_target(struct evrt_http_request *r, const struct evrt_host_letter_filter *f) {
    struct evrt_slice target = r->match.params[0].p != NULL ? r->match.params[0]
                               : f->handler.p != NULL       ? f->handler
                               : f->type.p != NULL          ? f->type
                               : f->reason.p != NULL        ? f->reason
                                                            : EVRT_STR("by filter");
    evrt_buf_clear(&r->text);
    evrt_buf_put(&r->text, target.p, target.n);
}

static void audit(struct evrt_http_request *r, const char *action, const char *outcome) {
    evrt_request_audit(r, action, evrt_buf_cstr(&r->text), outcome);
}

static void on_deleted(void *arg, int status, uint64_t count, uint64_t held) {
    struct evrt_http_request *r = arg;
    bool one = r->match.params[0].p != NULL;
    const char *why = NULL;
    char deleted[40];
    int rc = status;
    if (status < 0)
        why = "state.db cannot be read, or this node is shutting down";
    else if (one && count == 0)
        rc = held != 0 ? -EBUSY : -ENOENT,
        why = held != 0 ? "it is being reprocessed now"
                        : "no such dead letter: it was handled or deleted, or never was one";
    snprintf(deleted, sizeof deleted, "%llu deleted", (unsigned long long)count);
    audit(r, "delete dead letters", why != NULL ? why : deleted);
    if (why != NULL) {
        evrt_admin_fail(r, rc, evrt_slice_of(why));
    } else {
        evrt_buf_printf(&r->out, "{\"deleted\":%llu,\"reprocessing\":%llu}\n",
                        (unsigned long long)count, (unsigned long long)held);
        evrt_request_answer(r, 200);
    }
    evrt_request_release(r);
}

static void delete (struct evrt_http_request *r, const struct evrt_host_letter_filter *f,
                    const struct id *id) {
    struct evrt_error err = {0};
    struct evrt_buf texts = r->text; /* the filter's */
    evrt_buf_init(&r->text);
    note_target(r, f);
    evrt_request_hold(r);
    evrt_request_park(r);
    int rc = evrt_host_letters_delete(evrt_request_host(r), f, (uint32_t)id->sub, id->seq,
                                      on_deleted, r, &err);
    evrt_buf_finish(&texts);
    if (rc == 0) return;
    audit(r, "delete dead letters", err.message);
    evrt_admin_fail(r, rc, evrt_slice_of(err.message));
    evrt_request_release(r);
}

void evrt_delete_letter(struct evrt_http_request *r) {
    static const struct evrt_host_letter_filter none;
    struct id id;
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0 || !take_id(r, &id)) return;
    delete (r, &none, &id);
}

static bool chooses(const struct evrt_host_letter_filter *f) {
    return f->handler.p != NULL || f->type.p != NULL || f->reason.p != NULL || f->from_ms != 0 ||
           f->to_ms != 0;
}

void evrt_delete_letters(struct evrt_http_request *r) {
    struct parameters p = {0};
    if (evrt_request_query(r, take_parameter, &p) < 0) return;
    if (!chooses(&p.q.which) && !p.all) {
        evrt_request_fail(r, EVRT_REFUSE_BAD_PARAMETER,
                          "which ones? say handler, type, reason, from or to, or all=true");
        return;
    }
    delete (r, &p.q.which, &(struct id){0, 0});
}

/* ---- Giving once more ---- */

struct body {
    struct evrt_host_reprocess want;
    bool all;
    struct evrt_buf texts[3];
};

static int expected(struct evrt_error *err, const char *name, const char *what) {
    return evrt_error_set(err, -EINVAL, "%s: expected %s", name, what);
}

static int take_member(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct body *b = arg;
    struct evrt_host_letter_filter *f = &b->want.which;
    const struct {
        const char *name;
        struct evrt_slice *text;
        int64_t *time;
        uint64_t *number;
    } known[] = {
        {"handler", &f->handler, NULL, NULL}, {"type", &f->type, NULL, NULL},
        {"reason", &f->reason, NULL, NULL},   {"from", NULL, &f->from_ms, NULL},
        {"to", NULL, &f->to_ms, NULL},        {"limit", NULL, NULL, &b->want.limit},
        {"rate", NULL, NULL, &b->want.rate},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct evrt_buf time = {0};
        if (!evrt_slice_eq(m->key, evrt_slice_of(known[i].name))) continue;
        if (m->info.type == EVRT_JSON_NULL) return 0;
        if (known[i].number != NULL)
            return evrt_parameter_u64(m->value, known[i].number) && *known[i].number > 0
                       ? 0
                       : expected(err, known[i].name, "a whole number from 1");
        if (m->info.type != EVRT_JSON_STRING) return expected(err, known[i].name, "a string");
        struct evrt_buf *to = known[i].text != NULL ? &b->texts[i] : &time;
        evrt_json_unquote(m->value, to);
        int rc = 0;
        if (known[i].text != NULL && to->n == 0)
            rc = expected(err, known[i].name, "a string that is not empty");
        else if (known[i].text != NULL)
            *known[i].text = evrt_buf_slice(to);
        else if (!evrt_parameter_time(evrt_buf_slice(to), known[i].time))
            rc = expected(err, known[i].name, evrt_parameter_time_form);
        evrt_buf_finish(&time);
        return rc;
    }
    if (evrt_slice_eq(m->key, EVRT_STR("all"))) {
        b->all = evrt_slice_eq(m->value, EVRT_STR("true"));
        return m->info.type == EVRT_JSON_BOOL ? 0 : expected(err, "all", "true or false");
    }
    return evrt_error_set(err, -EINVAL, "\"%.*s\": unknown", (int)(m->key.n < 80 ? m->key.n : 80),
                          m->key.p);
}

static void on_job(void *arg, int status, struct evrt_slice json) {
    struct evrt_http_request *r = arg;
    if (status == 0)
        evrt_admin_put(r, r->wait_ms == 0 ? 200 : 202, json);
    else
        evrt_admin_fail(r, status,
                        EVRT_STR("the node is shutting down; it goes on at the next start"));
    evrt_request_release(r);
}

static void on_begun(void *arg, int status, uint64_t job, const char *why) {
    struct evrt_http_request *r = arg;
    audit(r, "reprocess dead letters", status < 0 ? why : "begun");
    if (status == 0) {
        evrt_host_job_wait(evrt_request_host(r), job, r->wait_ms == 0, on_job, r);
        return;
    }
    evrt_admin_fail(r, status, evrt_slice_of(why));
    evrt_request_release(r);
}

/* r->wait_ms, which is /events' else: 0 to answer when the job has ended. */
static void reprocess(struct evrt_http_request *r, const struct evrt_host_reprocess *want,
                      bool wait) {
    struct evrt_error err = {0};
    r->wait_ms = wait ? 0 : -1;
    evrt_request_hold(r);
    evrt_request_park(r);
    note_target(r, &want->which);
    int rc = evrt_host_reprocess(evrt_request_host(r), want, on_begun, r, &err);
    if (rc == 0) return;
    audit(r, "reprocess dead letters", err.message);
    evrt_admin_fail(r, rc, evrt_slice_of(err.message));
    evrt_request_release(r);
}

void evrt_post_letter_reprocess(struct evrt_http_request *r) {
    struct parameters p = {.wait = true};
    struct id id;
    if (evrt_request_query(r, take_parameter, &p) < 0 || !take_id(r, &id)) return;
    reprocess(r, &(struct evrt_host_reprocess){.sub = (uint32_t)id.sub, .seq = id.seq}, p.wait);
}

void evrt_post_letters_reprocess(struct evrt_http_request *r) {
    struct parameters p = {0};
    struct body b = {0};
    struct evrt_json_info info = {EVRT_JSON_NULL};
    struct evrt_error err = {0};
    if (evrt_request_query(r, take_parameter, &p) < 0) return;
    int rc = evrt_json_members(evrt_buf_slice(&r->body), take_member, &b, &info, &err);
    if (rc == 0 && info.type != EVRT_JSON_OBJECT)
        rc = evrt_error_set(&err, -EINVAL, "expected a JSON object, as {\"handler\":\"Mailer\"}");
    if (rc == 0 && !chooses(&b.want.which) && !b.all)
        rc = evrt_error_set(&err, -EINVAL,
                            "which ones? say handler, type, reason, from or to, or \"all\":true");
    if (rc < 0)
        evrt_request_fail(r, EVRT_REFUSE_BAD_REQUEST, "%s", err.message);
    else
        reprocess(r, &b.want, p.wait);
    for (size_t i = 0; i < sizeof b.texts / sizeof b.texts[0]; i++)
        evrt_buf_finish(&b.texts[i]);
}

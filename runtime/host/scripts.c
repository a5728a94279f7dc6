/* See scripts.h. What a worker says of the scripts; scripts_read.c has the reading of them. */
#include "host/scripts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config/config.h"
#include "core/error.h"
#include "frame/frame.h"
#include "json/json.h"

/* What a handler owns, but for its retries. */
#define TEXTS(X) \
    X(name) X(file) X(patterns) X(ordered_by) X(schedule) X(timezone) X(policies) X(chain)

static void free_handlers(struct evrt_scripts *s) {
    for (size_t i = 0; i < s->count; i++) {
        struct evrt_handler *h = &s->handlers[i];
#define X(text) free(h->text);
        TEXTS(X)
#undef X
        for (size_t k = 0; k < h->retry_count; k++)
            free(h->retries[k].events);
        free(h->retries);
    }
    free(s->handlers);
    s->handlers = NULL;
    s->count = 0;
}

void evrt_scripts_finish(struct evrt_scripts *s) {
    free_handlers(s);
    for (size_t i = 0; i < s->file_count; i++)
        free(s->files[i].path);
    for (size_t i = 0; i < s->folder_count; i++)
        free(s->folders[i]);
    free(s->files);
    free(s->folders);
    if (s->snapshot >= 0) close(s->snapshot);
    *s = (struct evrt_scripts){.snapshot = -1};
}

struct evrt_frame_hello evrt_scripts_hello(const struct evrt_config *c) {
    return (struct evrt_frame_hello){
        .concurrency = UINT32_MAX, /* the host keeps each handler's own limit */
        .memory_limit = c->workers.memory_limit,
        .max_event_size = c->http.max_event_size,
        .max_hops = (uint32_t)c->bus.max_hops,
        .allow_ffi = c->workers.allow_ffi,
        .load_timeout_ms = c->workers.stall_timeout,
        .service = evrt_slice_of(c->service.name),
        .service_version = evrt_slice_of(c->service.version),
        .environment = evrt_slice_of(c->service.environment),
        .confine = c->workers.confine,
        .user = evrt_slice_of(c->workers.user),
        .store = evrt_slice_of(c->store.path),
        .kv_max_key = (uint32_t)c->kv.max_key,
        .kv_max_value = (uint32_t)c->kv.max_value,
        .kv_max_effects = c->kv.max_effects,
        .kv_writers = evrt_slice_of(c->kv.writers),
        .nice = (uint32_t)c->workers.nice,
    };
}

/* ---- What a worker declares ---- */

static char *text_at(struct evrt_slice object, const char *key) {
    struct evrt_buf out;
    evrt_buf_init(&out);
    struct evrt_slice v = evrt_json_at(object, evrt_slice_of(key));
    if (v.n >= 2 && v.p[0] == '"') evrt_json_unquote(v, &out);
    evrt_buf_cstr(&out);
    return evrt_buf_release(&out);
}

static int64_t number_at(struct evrt_slice object, const char *key) {
    struct evrt_slice v = evrt_json_at(object, evrt_slice_of(key));
    char text[32];
    if (v.n == 0 || v.n >= sizeof text) return 0;
    memcpy(text, v.p, v.n);
    text[v.n] = '\0';
    return strtoll(text, NULL, 10);
}

static int add_pattern(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct evrt_buf *out = arg;
    (void)err;
    if (out->n != 0) evrt_buf_putc(out, '\n');
    evrt_json_unquote(m->value, out);
    return 0;
}

/* -1: not said. */
static double real_at(struct evrt_slice object, const char *key) {
    struct evrt_slice v = evrt_json_at(object, evrt_slice_of(key));
    char text[64];
    if (v.n == 0 || v.n >= sizeof text) return -1;
    memcpy(text, v.p, v.n);
    text[v.n] = '\0';
    return strtod(text, NULL);
}

static enum evrt_retry_kind retry_kind(struct evrt_slice object) {
    static const char *const names[] = {"", "exponential", "fixed", "linear", "function"};
    char *text = text_at(object, "policy");
    unsigned kind = EVRT_RETRY_DEFAULT;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(text, names[i]) == 0) kind = i;
    free(text);
    return (enum evrt_retry_kind)kind;
}

/* The patterns of a list, joined by '\n'; "" when there is none. */
static int patterns_at(struct evrt_slice object, const char *key, char **out,
                       struct evrt_error *err) {
    struct evrt_buf patterns;
    struct evrt_json_info info;
    evrt_buf_init(&patterns);
    struct evrt_slice list = evrt_json_at(object, evrt_slice_of(key));
    int rc = list.n == 0 ? 0 : evrt_json_members(list, add_pattern, &patterns, &info, err);
    evrt_buf_cstr(&patterns);
    *out = evrt_buf_release(&patterns);
    return rc;
}

static int add_retry(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct evrt_handler *h = arg;
    h->retries = evrt_realloc(h->retries, (h->retry_count + 1) * sizeof *h->retries);
    h->retries[h->retry_count++] = (struct evrt_retry){
        .kind = retry_kind(m->value),
        .max_retries = (int64_t)real_at(m->value, "max_retries"),
        .initial_delay_ms = (int64_t)real_at(m->value, "initial_delay_ms"),
        .max_delay_ms = (int64_t)real_at(m->value, "max_delay_ms"),
        .increment_ms = (int64_t)real_at(m->value, "increment_ms"),
        .multiplier = real_at(m->value, "multiplier"),
        .jitter = real_at(m->value, "jitter"),
        .retry_if = evrt_slice_eq(evrt_json_at(m->value, EVRT_STR("retry_if")), EVRT_STR("true")),
    };
    return patterns_at(m->value, "events", &h->retries[h->retry_count - 1].events, err);
}

static int add_policies(struct evrt_handler *h, struct evrt_slice object, struct evrt_error *err) {
    struct evrt_json_info info;
    struct evrt_slice policies = evrt_json_at(object, EVRT_STR("policies"));
    struct evrt_slice retries = evrt_json_at(object, EVRT_STR("retries"));
    if (policies.n == 0) policies = EVRT_STR("[]");
    h->policies = evrt_strndup(policies.p, policies.n);
    return retries.n == 0 ? 0 : evrt_json_members(retries, add_retry, h, &info, err);
}

static void add_timer(struct evrt_handler *h, struct evrt_slice timer) {
    bool is = timer.n > 0 && timer.p[0] == '{';
    if (!is) timer = EVRT_STR("{}");
    char *catch_up = text_at(timer, "catch_up");
    h->schedule = text_at(timer, "schedule");
    h->timezone = text_at(timer, "timezone");
    h->every_ms = number_at(timer, "every_ms");
    h->catch_up = strcmp(catch_up, "all") == 0    ? EVRT_CATCH_UP_ALL
                  : strcmp(catch_up, "once") == 0 ? EVRT_CATCH_UP_ONCE
                                                  : EVRT_CATCH_UP_SKIP;
    free(catch_up);
}

/* Handlers come in the order of their files, most often one in each. */
static uint64_t file_hash(const struct evrt_scripts *s, const char *path, size_t near) {
    for (size_t n = 0; n < s->file_count; n++) {
        const struct evrt_script_file *file = &s->files[(near + n) % s->file_count];
        if (strcmp(file->path, path) == 0) return file->hash;
    }
    return 0;
}

static int add_handler(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct evrt_scripts *s = arg;
    char *start = text_at(m->value, "start"), *on_retry = text_at(m->value, "on_retry");
    s->handlers = evrt_realloc(s->handlers, (s->count + 1) * sizeof *s->handlers);
    s->handlers[s->count++] = (struct evrt_handler){
        .name = text_at(m->value, "name"),
        .file = text_at(m->value, "file"),
        .line = (int)number_at(m->value, "line"),
        .timeout_ms = number_at(m->value, "timeout_ms"),
        .concurrency = (uint32_t)number_at(m->value, "concurrency"),
        .from_beginning = strcmp(start, "beginning") == 0,
        .ordered_by = text_at(m->value, "ordered_by"),
        .priority = (int)number_at(m->value, "priority"),
        .retry_skips = strcmp(on_retry, "skip") == 0,
        .chain = text_at(m->value, "chain"),
        .on_dead_letter =
            evrt_slice_eq(evrt_json_at(m->value, EVRT_STR("on_dead_letter")), EVRT_STR("true")),
    };
    free(start);
    free(on_retry);
    add_timer(&s->handlers[s->count - 1], evrt_json_at(m->value, EVRT_STR("timer")));
    struct evrt_handler *h = &s->handlers[s->count - 1];
    h->script = file_hash(s, h->file, s->count - 1);
    int rc = patterns_at(m->value, "events", &h->patterns, err);
    return rc < 0 ? rc : add_policies(h, m->value, err);
}

int evrt_scripts_declared(struct evrt_scripts *s, struct evrt_slice json, struct evrt_error *err) {
    struct evrt_json_info info;
    free_handlers(s);
    int rc = evrt_json_check(json, &info, err);
    if (rc < 0) return rc;
    return evrt_json_members(evrt_json_at(json, EVRT_STR("handlers")), add_handler, s, &info, err);
}

static void copy_handler(struct evrt_handler *to, const struct evrt_handler *from) {
    *to = *from;
#define X(text) to->text = evrt_strdup(from->text);
    TEXTS(X)
#undef X
    if (from->retry_count == 0) return;
    to->retries = evrt_alloc(from->retry_count * sizeof *to->retries);
    for (size_t i = 0; i < from->retry_count; i++) {
        to->retries[i] = from->retries[i];
        to->retries[i].events = evrt_strdup(from->retries[i].events);
    }
}

void evrt_scripts_declare_same(struct evrt_scripts *s, const struct evrt_scripts *as) {
    free_handlers(s);
    s->handlers = evrt_zalloc((as->count + 1) * sizeof *s->handlers);
    for (size_t i = 0; i < as->count; i++) {
        copy_handler(&s->handlers[i], &as->handlers[i]);
        s->handlers[i].script = file_hash(s, s->handlers[i].file, i);
    }
    s->count = as->count;
}

static bool same_text(const char *a, const char *b) {
    return strcmp(a, b) == 0;
}

bool evrt_handler_same(const struct evrt_handler *a, const struct evrt_handler *b) {
    return same_text(a->name, b->name) && same_text(a->patterns, b->patterns) &&
           a->timeout_ms == b->timeout_ms && a->concurrency == b->concurrency &&
           a->from_beginning == b->from_beginning && same_text(a->ordered_by, b->ordered_by) &&
           a->priority == b->priority && a->retry_skips == b->retry_skips &&
           same_text(a->schedule, b->schedule) && same_text(a->timezone, b->timezone) &&
           a->every_ms == b->every_ms && a->catch_up == b->catch_up &&
           a->on_dead_letter == b->on_dead_letter && same_text(a->chain, b->chain);
}

/* One "file:line: message". */
static void parse_refusal(struct evrt_slice line, struct evrt_error *out) {
    const char *at = line.p, *end = line.p + line.n;
    for (; at < end; at++) {
        const char *digits = at + 1;
        while (*at == ':' && digits < end && *digits >= '0' && *digits <= '9')
            digits++;
        if (*at != ':' || digits == at + 1 || digits >= end || *digits != ':') continue;
        char file[sizeof out->file];
        snprintf(file, sizeof file, "%.*s", (int)(at - line.p), line.p);
        const char *message = digits + 1 < end && digits[1] == ' ' ? digits + 2 : digits + 1;
        evrt_error_at(out, -EINVAL, file, atoi(at + 1), "%.*s", (int)(end - message), message);
        return;
    }
    evrt_error_set(out, -EINVAL, "%.*s", (int)line.n, line.p);
}

void evrt_scripts_refused(struct evrt_slice text,
                          void (*each)(void *arg, const struct evrt_error *err), void *arg,
                          struct evrt_error *first) {
    bool seen = false;
    for (size_t at = 0; at < text.n;) {
        const char *end = memchr(text.p + at, '\n', text.n - at);
        size_t n = end == NULL ? text.n - at : (size_t)(end - (text.p + at));
        struct evrt_error one;
        parse_refusal((struct evrt_slice){text.p + at, n}, &one);
        if (n != 0 && each != NULL) each(arg, &one);
        if (n != 0 && !seen && first != NULL) *first = one;
        seen = seen || n != 0;
        at += n + 1;
    }
}

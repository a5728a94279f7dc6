/* What a reload changed, and why one was refused: for the log, for whoever asked, for GET /api/v1/handlers. */
#include <stdlib.h>

#include "host/node.h"

#include "core/clock.h"
#include "core/jsonout.h"

enum { LOGGED_MAX = 20 }; /* errors of one refusal */

/* ---- Handlers ---- */

/* Most often nothing was added or removed, and it stands where it stood: at `at`. */
static const struct evrt_handler *find(const struct evrt_scripts *s, const char *name, size_t at) {
    if (at < s->count && strcmp(s->handlers[at].name, name) == 0) return &s->handlers[at];
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->handlers[i].name, name) == 0) return &s->handlers[i];
    return NULL;
}

/* Words for what differs, each with a comma before it. */
static void list_changes(const struct evrt_handler *a, const struct evrt_handler *b,
                         struct evrt_buf *out) {
    const struct {
        const char *word;
        bool differs;
    } words[] = {
        {"events", strcmp(a->patterns, b->patterns) != 0},
        {"timeout", a->timeout_ms != b->timeout_ms},
        {"concurrency", a->concurrency != b->concurrency},
        {"ordered_by", strcmp(a->ordered_by, b->ordered_by) != 0},
        {"priority", a->priority != b->priority},
        {"on_retry", a->retry_skips != b->retry_skips},
        {"start", a->from_beginning != b->from_beginning},
        {"policies", strcmp(a->chain, b->chain) != 0},
        {"place", strcmp(a->file, b->file) != 0},
        {"file", strcmp(a->file, b->file) == 0 && a->script != b->script},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (words[i].differs) evrt_buf_printf(out, "%s%s", out->n == 0 ? "" : ", ", words[i].word);
}

/* The one handler of the file that only `in` has, of the two lists; NULL when there are none or several. */
static const struct evrt_handler *only_one(const struct evrt_scripts *in,
                                           const struct evrt_scripts *not_in, const char *file) {
    const struct evrt_handler *found = NULL;
    for (size_t i = 0; i < in->count; i++) {
        const struct evrt_handler *one = &in->handlers[i];
        if (strcmp(one->file, file) != 0 || find(not_in, one->name, i) != NULL) continue;
        if (found != NULL) return NULL;
        found = one;
    }
    return found;
}

/* The file had one handler and has one of another name now. */
static const struct evrt_handler *renamed_to(const struct evrt_scripts *old,
                                             const struct evrt_handler *gone,
                                             const struct evrt_scripts *fresh) {
    return only_one(old, fresh, gone->file) == gone ? only_one(fresh, old, gone->file) : NULL;
}

struct counts {
    uint64_t added, changed, removed;
};

static void put_only_in(struct evrt_jsonout *o, const char *key, const struct evrt_scripts *in,
                        const struct evrt_scripts *not_in, uint64_t *count) {
    evrt_jsonout_key(o, key);
    evrt_jsonout_array(o);
    for (size_t i = 0; i < in->count; i++) {
        if (find(not_in, in->handlers[i].name, i) != NULL) continue;
        evrt_jsonout_cstr(o, in->handlers[i].name);
        ++*count;
    }
    evrt_jsonout_end(o);
}

static void put_changed(struct evrt_host *h, struct evrt_jsonout *o, const struct evrt_scripts *old,
                        const struct evrt_scripts *fresh, uint64_t *count) {
    struct evrt_buf words, events = {0};
    evrt_buf_init(&words);
    evrt_jsonout_key(o, "changed");
    evrt_jsonout_array(o);
    for (size_t i = 0; i < fresh->count; i++) {
        const struct evrt_handler *now = &fresh->handlers[i], *was = find(old, now->name, i);
        evrt_buf_clear(&words);
        if (was != NULL) list_changes(was, now, &words);
        if (words.n == 0) continue;
        evrt_jsonout_object(o);
        evrt_jsonout_put_cstr(o, "handler", now->name);
        evrt_jsonout_put_cstr(o, "changes", evrt_buf_cstr(&words));
        evrt_jsonout_end(o);
        evrt_buf_clear(&events);
        struct evrt_jsonout list = evrt_jsonout_start(&events);
        host_patterns_json(&list, evrt_slice_of(now->patterns));
        evrt_log_event(h->log, HANDLER_CHANGED, EVRT_F_CSTR("handler", now->name),
                       EVRT_F_CSTR("changes", words.p),
                       EVRT_F_JSON("events", evrt_buf_slice(&events)));
        ++*count;
    }
    evrt_jsonout_end(o);
    evrt_buf_finish(&events);
    evrt_buf_finish(&words);
}

static void put_renamed(struct evrt_jsonout *o, const struct evrt_scripts *old,
                        const struct evrt_scripts *fresh) {
    evrt_jsonout_key(o, "renamed");
    evrt_jsonout_array(o);
    for (size_t i = 0; i < old->count; i++) {
        const struct evrt_handler *gone = &old->handlers[i];
        const struct evrt_handler *now =
            find(fresh, gone->name, i) == NULL ? renamed_to(old, gone, fresh) : NULL;
        if (now == NULL) continue;
        evrt_jsonout_object(o);
        evrt_jsonout_put_cstr(o, "from", gone->name);
        evrt_jsonout_put_cstr(o, "to", now->name);
        evrt_jsonout_end(o);
    }
    evrt_jsonout_end(o);
}

/* ---- Configuration ---- */

static void put_config(struct evrt_host *h, struct evrt_jsonout *o) {
    const struct host_changes *c = &h->reload.changes;
    evrt_jsonout_key(o, "config");
    evrt_jsonout_array(o);
    for (size_t i = 0; i < c->n; i++) {
        const struct host_change *one = &c->v[i];
        evrt_jsonout_object(o);
        evrt_jsonout_put_cstr(o, "key", one->key);
        evrt_jsonout_put_cstr(o, "old", one->from);
        evrt_jsonout_put_cstr(o, "new", one->to);
        evrt_jsonout_put_bool(o, "needs_restart", !one->reloadable);
        evrt_jsonout_end(o);
        if (one->reloadable)
            evrt_log_event(h->log, CONFIG_CHANGED, EVRT_F_CSTR("key", one->key),
                           EVRT_F_CSTR("old", one->from), EVRT_F_CSTR("new", one->to));
        else
            evrt_log_event(h->log, CONFIG_NEEDS_RESTART, EVRT_F_CSTR("key", one->key),
                           EVRT_F_CSTR("old", one->from), EVRT_F_CSTR("new", one->to));
    }
    evrt_jsonout_end(o);
}

/* ---- Errors ---- */

static void put_errors(struct evrt_jsonout *o, const struct host_errors *e) {
    evrt_jsonout_key(o, "errors");
    evrt_jsonout_array(o);
    for (size_t i = 0; i < e->n; i++) {
        const struct evrt_error *err = &e->v[i];
        evrt_jsonout_object(o);
        evrt_jsonout_put_cstr(o, "file", err->file[0] == '\0' ? NULL : err->file);
        evrt_jsonout_key(o, "line");
        if (err->line > 0)
            evrt_jsonout_i64(o, err->line);
        else
            evrt_jsonout_null(o);
        evrt_jsonout_put_cstr(o, "message", err->message);
        evrt_jsonout_end(o);
    }
    evrt_jsonout_end(o);
}

static void report_refused(struct evrt_host *h, struct evrt_jsonout *o) {
    const struct host_errors *e = &h->reload.errors;
    evrt_jsonout_key(o, "error");
    evrt_jsonout_object(o);
    evrt_jsonout_put_cstr(o, "code", "refused");
    evrt_jsonout_put_cstr(o, "message",
                          "the scripts or the configuration are bad; what ran before goes on");
    evrt_jsonout_end(o);
    put_errors(o, e);
    for (size_t i = 0; i < e->n && i < LOGGED_MAX; i++)
        evrt_log_event(h->log, RELOAD_REFUSED,
                       EVRT_F_CSTR("file", e->v[i].file[0] == '\0' ? NULL : e->v[i].file),
                       EVRT_F_I64("line", e->v[i].line), EVRT_F_CSTR("error", e->v[i].message),
                       EVRT_F_U64("generation", h->serving->number));
}

/* ---- The whole ---- */

static const char *const outcomes[] = {
    [HOST_RELOAD_NONE] = "none",
    [HOST_RELOAD_DONE] = "reloaded",
    [HOST_RELOAD_UNCHANGED] = "unchanged",
    [HOST_RELOAD_REFUSED] = "refused",
};

static void report_done(struct evrt_host *h, const struct evrt_scripts *old,
                        const struct evrt_scripts *fresh, struct evrt_jsonout *o,
                        struct counts *counts) {
    evrt_jsonout_key(o, "handlers");
    evrt_jsonout_object(o);
    put_only_in(o, "added", fresh, old, &counts->added);
    put_changed(h, o, old, fresh, &counts->changed);
    put_only_in(o, "removed", old, fresh, &counts->removed);
    put_renamed(o, old, fresh);
    evrt_jsonout_end(o);
}

void host_reload_report(struct evrt_host *h, const struct evrt_scripts *old,
                        const struct evrt_scripts *fresh, struct evrt_buf *out) {
    const struct host_reload *r = &h->reload;
    int64_t took = evrt_mono_ns() - r->began_ns;
    struct counts counts = {0};
    struct evrt_jsonout o = evrt_jsonout_start(out);
    evrt_jsonout_object(&o);
    evrt_jsonout_put_cstr(&o, "outcome", outcomes[r->outcome]);
    evrt_jsonout_put_u64(&o, "generation", h->serving->number);
    evrt_jsonout_put_double(&o, "duration_seconds", (double)took / 1e9);
    if (r->outcome == HOST_RELOAD_REFUSED) {
        report_refused(h, &o);
    } else {
        if (old != NULL) report_done(h, old, fresh, &o, &counts);
        put_config(h, &o);
    }
    evrt_jsonout_end(&o);
    if (r->outcome == HOST_RELOAD_DONE)
        evrt_log_event(h->log, RELOADED, EVRT_F_U64("generation", h->serving->number),
                       EVRT_F_U64("handlers", fresh->count), EVRT_F_U64("added", counts.added),
                       EVRT_F_U64("changed", counts.changed), EVRT_F_U64("removed", counts.removed),
                       EVRT_F_DURATION("duration", took));
    else if (r->outcome == HOST_RELOAD_UNCHANGED)
        evrt_log_event(h->log, RELOAD_UNCHANGED, EVRT_F_U64("generation", h->serving->number),
                       EVRT_F_DURATION("duration", took));
}

static void put_files(struct evrt_jsonout *o, const struct evrt_scripts *s) {
    char hash[24];
    evrt_jsonout_key(o, "files");
    evrt_jsonout_array(o);
    for (size_t i = 0; i < s->file_count; i++) {
        evrt_jsonout_object(o);
        evrt_jsonout_put_cstr(o, "path", s->files[i].path);
        snprintf(hash, sizeof hash, "%016llx", (unsigned long long)s->files[i].hash);
        evrt_jsonout_put_cstr(o, "hash", hash);
        evrt_jsonout_end(o);
    }
    evrt_jsonout_end(o);
}

static const char *state_of(const struct host_reload *r) {
    static const char *const states[] = {
        [HOST_RELOAD_IDLE] = "idle",
        [HOST_RELOAD_READING] = "reading",
        [HOST_RELOAD_LOADING] = "loading",
        [HOST_RELOAD_WAITING] = "waiting",
    };
    if (uv_is_active((const uv_handle_t *)&r->pace)) return "put_off";
    return r->step == HOST_RELOAD_IDLE && r->draining != NULL ? "draining" : states[r->step];
}

void host_reload_state(const struct evrt_host *h, struct evrt_jsonout *o) {
    const struct host_reload *r = &h->reload;
    char time[EVRT_RFC3339_SIZE];
    evrt_jsonout_put_u64(o, "generation", h->serving->number);
    put_files(o, &h->serving->scripts);
    evrt_jsonout_key(o, "reload");
    evrt_jsonout_object(o);
    evrt_jsonout_put_cstr(o, "state", state_of(r));
    evrt_jsonout_put_cstr(o, "outcome", outcomes[r->outcome]);
    evrt_jsonout_put_cstr(
        o, "time",
        r->outcome == HOST_RELOAD_NONE ? NULL : evrt_rfc3339_format(r->decided_ms, time));
    put_errors(o, &r->errors);
    for (int i = HOST_RELOAD_DONE; i < HOST_RELOAD_OUTCOMES; i++)
        evrt_jsonout_put_u64(o, outcomes[i], r->counts[i]);
    evrt_jsonout_end(o);
}

/* What only the values together, or the files they name, can tell. See load.h. */
#include <errno.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/load.h"
#include "core/units.h"

static const struct evrt_place *place_of(const struct evrt_load *l, const char *key) {
    return &l->from[evrt_option_find(evrt_slice_of(key)) - evrt_options];
}

/* The part of a glob before its first wildcard, up to the last slash; the whole when it has none. */
static void fixed_part(const char *glob, char *out, size_t size) {
    size_t wild = strcspn(glob, "*?[");
    if (glob[wild] != '\0')
        while (wild > 1 && glob[wild - 1] != '/')
            wild--;
    snprintf(out, size, "%.*s", (int)wild, glob);
}

static void check_handlers(struct evrt_load *l) {
    char path[4096];
    struct stat st;
    for (size_t i = 0; i < l->c->handlers.n; i++) {
        const char *entry = l->c->handlers.v[i];
        bool glob = entry[strcspn(entry, "*?[")] != '\0';
        fixed_part(entry, path, sizeof path);
        int rc = stat(path, &st) < 0 ? errno : 0;
        if (rc == 0 && glob && !S_ISDIR(st.st_mode)) rc = ENOTDIR;
        if (rc == 0 && access(path, S_ISDIR(st.st_mode) ? R_OK | X_OK : R_OK) < 0) rc = errno;
        if (rc != 0)
            evrt_load_fail(l, place_of(l, "handlers"),
                           "handlers: %s cannot be read: %s (relative paths are relative to the "
                           "configuration file)",
                           path, strerror(rc));
    }
}

/* The default folder need not exist: not everyone has policies of their own. */
static void check_policies(struct evrt_load *l) {
    const char *path = l->c->policies;
    size_t n = strlen(l->dir);
    bool is_default = strncmp(path, l->dir, n) == 0 && strcmp(path + n, "/policies") == 0;
    struct stat st;
    int rc = stat(path, &st) < 0 ? errno : S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
    if (rc == 0 && access(path, R_OK | X_OK) < 0) rc = errno;
    if (rc == 0 || path[0] == '\0' || (rc == ENOENT && is_default)) return;
    evrt_load_fail(l, place_of(l, "policies"),
                   "policies: %s cannot be read: %s (relative paths are relative to the "
                   "configuration file)",
                   path, strerror(rc));
}

static void check_token_file(struct evrt_load *l, const char *key, const char *path) {
    struct stat st;
    if (path[0] == '\0') return;
    int rc = stat(path, &st) < 0 || access(path, R_OK) < 0 ? errno : 0;
    if (rc == 0 && S_ISDIR(st.st_mode)) rc = EISDIR;
    if (rc == 0 && S_ISREG(st.st_mode) && st.st_size == 0) {
        evrt_load_fail(l, place_of(l, key), "%s: %s is empty: put the token in it", key, path);
        return;
    }
    if (rc != 0)
        evrt_load_fail(l, place_of(l, key), "%s: %s cannot be read: %s", key, path, strerror(rc));
}

static void check_listeners(struct evrt_load *l) {
    const struct evrt_config *c = l->c;
    struct evrt_address http, admin;
    if (evrt_address_parse(evrt_slice_of(c->http.listen), &http, NULL) < 0) return;
    if (evrt_address_parse(evrt_slice_of(c->admin.listen), &admin, NULL) < 0) return;
    if (http.port != 0 && http.port == admin.port && strcmp(http.host, admin.host) == 0)
        evrt_load_fail(l, place_of(l, "admin.listen"),
                       "admin.listen: %s is http.listen too; each needs a port of its own",
                       c->admin.listen);
    if (!evrt_address_is_loopback(&admin) && c->admin.token_file[0] == '\0')
        evrt_load_fail(l, place_of(l, "admin.listen"),
                       "admin.listen: %s can be reached from outside: set admin.token_file, or "
                       "listen on 127.0.0.1",
                       c->admin.listen);
}

static void check_backlog(struct evrt_load *l) {
    const struct evrt_config *c = l->c;
    char backlog[EVRT_UNITS_SIZE], event[EVRT_UNITS_SIZE];
    if (c->store.max_backlog / 2 >= c->http.max_event_size) return;
    evrt_load_fail(l, place_of(l, "store.max_backlog"),
                   "store.max_backlog: %s is not twice http.max_event_size %s: the largest events "
                   "could never be stored",
                   evrt_size_format(c->store.max_backlog, backlog),
                   evrt_size_format(c->http.max_event_size, event));
}

/* Between 0 (off) and this a loaded machine alone would look like a stall. */
static void check_stall(struct evrt_load *l) {
    enum { STALL_MIN_MS = 50 };
    int64_t ms = l->c->workers.stall_timeout;
    if (ms == 0 || ms >= STALL_MIN_MS) return;
    evrt_load_fail(l, place_of(l, "workers.stall_timeout"),
                   "workers.stall_timeout: expected 0s (off) or a duration from %dms to 1d; got "
                   "%lldms",
                   STALL_MIN_MS, (long long)ms);
}

static void check_delays(struct evrt_load *l) {
    const struct evrt_config *c = l->c;
    char initial[EVRT_UNITS_SIZE], most[EVRT_UNITS_SIZE];
    if (c->retry.initial_delay <= c->retry.max_delay) return;
    evrt_load_fail(l, place_of(l, "retry.initial_delay"),
                   "retry.initial_delay: %s is longer than retry.max_delay %s, which no delay "
                   "exceeds: set that, too",
                   evrt_duration_format(c->retry.initial_delay, initial),
                   evrt_duration_format(c->retry.max_delay, most));
}

static void check_endpoint(struct evrt_load *l) {
    const char *url = l->c->tracing.endpoint;
    const char *host = strncmp(url, "http://", 7) == 0    ? url + 7
                       : strncmp(url, "https://", 8) == 0 ? url + 8
                                                          : "";
    if (strcspn(host, "/?#") > 0) return;
    evrt_load_fail(l, place_of(l, "tracing.endpoint"),
                   "tracing.endpoint: expected a URL such as http://localhost:4318; got \"%.80s\"",
                   url);
}

/* "HANDLER=NAMESPACE", apart by spaces. */
static void check_writers(struct evrt_load *l) {
    const char *p = l->c->kv.writers;
    for (p += strspn(p, " "); *p != '\0'; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        const char *equals = memchr(p, '=', n);
        if (equals == NULL || equals == p || equals == p + n - 1 ||
            memchr(equals + 1, '=', n - (size_t)(equals + 1 - p)) != NULL) {
            evrt_load_fail(l, place_of(l, "kv.writers"),
                           "kv.writers: expected HANDLER=NAMESPACE, apart by spaces; got \"%.*s\"",
                           (int)(n < 64 ? n : 64), p);
            return;
        }
        p += n;
    }
}

static void check_metrics(struct evrt_load *l) {
    const char *path = l->c->metrics.path;
    static const char *const taken[] = {"/api/", "/livez", "/readyz"};
    bool good = path[0] == '/' && strpbrk(path, "?#{} ") == NULL;
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        good = good && strncmp(path, taken[i], strlen(taken[i])) != 0;
    if (!good)
        evrt_load_fail(l, place_of(l, "metrics.path"),
                       "metrics.path: expected a path of the admin listener that is free, as in "
                       "/metrics; got %s",
                       path);
}

static void check_user(struct evrt_load *l) {
    const char *name = l->c->workers.user;
    if (name[0] == '\0' || getpwnam(name) != NULL) return;
    evrt_load_fail(l, place_of(l, "workers.user"), "workers.user: there is no user \"%s\"", name);
}

/* 0 when lines can be written there: to a file, or to a new one in its folder. */
static int try_output(const char *path) {
    struct stat st;
    char folder[4096];
    if (stat(path, &st) == 0)
        return S_ISDIR(st.st_mode) ? EISDIR : access(path, W_OK) < 0 ? errno : 0;
    if (errno != ENOENT) return errno;
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    if (stat(folder, &st) < 0) return errno;
    return !S_ISDIR(st.st_mode) ? ENOTDIR : access(folder, W_OK | X_OK) < 0 ? errno : 0;
}

static void check_outputs(struct evrt_load *l) {
    for (size_t i = 0; i < l->c->logging.outputs.n; i++) {
        const char *path = l->c->logging.outputs.v[i];
        int rc = path[0] == '/' ? try_output(path) : 0; /* else stdout, stderr */
        if (rc != 0)
            evrt_load_fail(l, place_of(l, "logging.outputs"),
                           "logging.outputs: %s cannot be written: %s (stdout, stderr, or a file "
                           "in a folder that exists)",
                           path, strerror(rc));
    }
}

void evrt_load_check(struct evrt_load *l, const struct evrt_config_source *source) {
    check_listeners(l);
    check_backlog(l);
    check_stall(l);
    check_delays(l);
    check_writers(l);
    check_metrics(l);
    check_endpoint(l);
    if (source->trust_files) return;
    check_handlers(l);
    check_user(l);
    check_policies(l);
    if (source->running == NULL) check_outputs(l); /* else those that are open stay */
    check_token_file(l, "http.token_file", l->c->http.token_file);
    check_token_file(l, "admin.token_file", l->c->admin.token_file);
}

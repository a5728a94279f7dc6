/* See scripts.h. The folder is read once, in a fixed order; from then on only the snapshot counts. */
#include "host/scripts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/jsonout.h"
#include "frame/frame.h"
#include "frame/snapshot.h"
#include "json/json.h"

enum { SCRIPT_MAX = 16 << 20 }; /* bytes of one file */

struct reading {
    struct evrt_buf snapshot;
    size_t files;
    char role; /* of a folder's files: handlers, policies, or 0: modules only (named by globs) */
    struct evrt_error *err;
};

static int slurp(const char *path, struct evrt_buf *out, struct evrt_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return evrt_error_at(err, -errno, path, 0, "cannot be read: %s", strerror(errno));
    ssize_t n;
    while ((n = read(fd, evrt_buf_room(out, 65536), 65536)) > 0 && out->n <= SCRIPT_MAX)
        out->n += (size_t)n;
    int rc = n < 0 ? -errno : 0;
    close(fd);
    if (rc < 0) return evrt_error_at(err, rc, path, 0, "cannot be read: %s", strerror(-rc));
    if (out->n > SCRIPT_MAX) return evrt_error_at(err, -EFBIG, path, 0, "larger than 16 MiB");
    return 0;
}

static int add_file(struct reading *r, char role, const char *path, const char *name) {
    struct evrt_buf bytes;
    evrt_buf_init(&bytes);
    int rc = slurp(path, &bytes, r->err);
    if (rc == 0) {
        struct evrt_snapshot_file f = {role, evrt_slice_of(path), evrt_slice_of(name),
                                       evrt_buf_slice(&bytes)};
        evrt_snapshot_add(&r->snapshot, &f);
        r->files++;
    }
    evrt_buf_finish(&bytes);
    return rc;
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n > m && strcmp(s + n - m, end) == 0;
}

static int visible(const struct dirent *d) {
    return d->d_name[0] != '.';
}

/* Files before folders are of no matter: names decide, so that the order is the same everywhere. */
static int add_folder(struct reading *r, const char *folder, const char *module_prefix) {
    struct dirent **list;
    int count = scandir(folder, &list, visible, alphasort);
    if (count < 0)
        return evrt_error_at(r->err, -errno, folder, 0, "cannot be read: %s", strerror(errno));
    int rc = 0;
    for (int i = 0; i < count; i++) {
        const char *name = list[i]->d_name;
        struct evrt_buf path, module;
        struct stat st;
        evrt_buf_init(&path);
        evrt_buf_init(&module);
        evrt_buf_printf(&path, "%s/%s", folder, name);
        evrt_buf_printf(&module, "%s%s", module_prefix, name);
        if (rc == 0 && stat(evrt_buf_cstr(&path), &st) == 0) {
            if (S_ISDIR(st.st_mode)) {
                evrt_buf_putc(&module, '.');
                rc = add_folder(r, path.p, evrt_buf_cstr(&module));
            } else if (S_ISREG(st.st_mode) && ends_with(name, ".lua")) {
                module.n -= 4;
                bool script = r->role != 0 && module_prefix[0] == '\0' && name[0] != '_';
                rc = add_file(r, 'm', path.p, evrt_buf_cstr(&module));
                if (rc == 0 && script) rc = add_file(r, r->role, path.p, "");
            }
        }
        evrt_buf_finish(&path);
        evrt_buf_finish(&module);
        free(list[i]);
    }
    free(list);
    return rc;
}

/* Files named by globs are handlers; what stands beside them can be required. */
static int add_globs(struct reading *r, const struct evrt_strings *globs) {
    glob_t found = {0};
    for (size_t i = 0; i < globs->n; i++)
        glob(globs->v[i], (i == 0 ? 0 : GLOB_APPEND) | GLOB_ERR, NULL, &found);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++)
        rc = add_file(r, 'h', found.gl_pathv[i], "");
    char *last = evrt_strdup("");
    r->role = 0;
    for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++) {
        const char *slash = strrchr(found.gl_pathv[i], '/');
        char *folder = slash == NULL ? evrt_strdup(".")
                                     : evrt_strndup(found.gl_pathv[i], slash - found.gl_pathv[i]);
        if (strcmp(folder, last) != 0) rc = add_folder(r, folder, "");
        free(last);
        last = folder;
    }
    free(last);
    globfree(&found);
    return rc;
}

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void put_strings(struct evrt_jsonout *o, const char *key, const struct evrt_strings *list) {
    evrt_jsonout_key(o, key);
    evrt_jsonout_array(o);
    for (size_t i = 0; i < list->n; i++)
        evrt_jsonout_cstr(o, list->v[i]);
    evrt_jsonout_end(o);
}

/* `apply` belongs to the generation, as the scripts it names do: a worker that starts late reads what the
 * others read. */
static void add_apply(struct reading *r, const struct evrt_config *config) {
    struct evrt_buf json;
    evrt_buf_init(&json);
    struct evrt_jsonout o = evrt_jsonout_start(&json);
    evrt_jsonout_array(&o);
    for (size_t i = 0; i < config->apply.n; i++) {
        const struct evrt_apply *a = &config->apply.v[i];
        evrt_jsonout_object(&o);
        evrt_jsonout_key(&o, "line");
        evrt_jsonout_i64(&o, a->line);
        put_strings(&o, "events", &a->events);
        put_strings(&o, "policies", &a->policies);
        evrt_jsonout_end(&o);
    }
    evrt_jsonout_end(&o);
    struct evrt_snapshot_file f = {'a', evrt_slice_of(config->file), EVRT_STR(""),
                                   evrt_buf_slice(&json)};
    if (config->apply.n != 0) evrt_snapshot_add(&r->snapshot, &f);
    evrt_buf_finish(&json);
}

int evrt_scripts_read(struct evrt_scripts *s, const struct evrt_config *config,
                      struct evrt_error *err) {
    struct reading r = {.role = 'h', .err = err};
    *s = (struct evrt_scripts){.snapshot = -1};
    evrt_snapshot_start(&r.snapshot);
    int rc = 0;
    if (config->handlers.n == 1 && is_folder(config->handlers.v[0]))
        rc = add_folder(&r, config->handlers.v[0], "");
    else
        rc = add_globs(&r, &config->handlers);
    r.role = 'p';
    if (rc == 0 && config->policies != NULL && is_folder(config->policies))
        rc = add_folder(&r, config->policies, "");
    add_apply(&r, config);
    if (rc == 0) {
        rc = s->snapshot = evrt_snapshot_seal(&r.snapshot);
        if (rc < 0) evrt_error_set(err, rc, "cannot freeze the scripts: %s", strerror(-rc));
    }
    s->files = r.files;
    s->hash = evrt_hash64(r.snapshot.p, r.snapshot.n, 0);
    evrt_buf_finish(&r.snapshot);
    return rc < 0 ? rc : 0;
}

static void free_handlers(struct evrt_scripts *s) {
    for (size_t i = 0; i < s->count; i++) {
        free(s->handlers[i].name);
        free(s->handlers[i].file);
        free(s->handlers[i].patterns);
        free(s->handlers[i].ordered_by);
    }
    free(s->handlers);
    s->handlers = NULL;
    s->count = 0;
}

void evrt_scripts_finish(struct evrt_scripts *s) {
    free_handlers(s);
    if (s->snapshot >= 0) close(s->snapshot);
    s->snapshot = -1;
}

struct evrt_frame_hello evrt_scripts_hello(const struct evrt_config *c) {
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    struct evrt_frame_hello hello = {
        .concurrency = UINT32_MAX, /* the host keeps each handler's own limit */
        .memory_limit = c->workers.memory_limit,
        .max_event_size = c->http.max_event_size,
        .max_hops = (uint32_t)c->bus.max_hops,
        .allow_ffi = c->workers.allow_ffi,
        .service = evrt_slice_of(c->service.name),
        .service_version = evrt_slice_of(c->service.version),
        .environment = evrt_slice_of(c->service.environment),
        .confine = c->workers.confine,
        .user = evrt_slice_of(c->workers.user),
        .store = evrt_slice_of(c->store.path),
    };
    for (uint8_t i = 0; i < 4; i++)
        if (strcmp(levels[i], c->logging.level) == 0) hello.log_level = i;
    return hello;
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

static int add_handler(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct evrt_scripts *s = arg;
    struct evrt_buf patterns;
    struct evrt_json_info info;
    evrt_buf_init(&patterns);
    struct evrt_slice events = evrt_json_at(m->value, EVRT_STR("events"));
    int rc = evrt_json_members(events, add_pattern, &patterns, &info, err);
    evrt_buf_cstr(&patterns);
    char *start = text_at(m->value, "start");
    s->handlers = evrt_realloc(s->handlers, (s->count + 1) * sizeof *s->handlers);
    s->handlers[s->count++] = (struct evrt_handler){
        .name = text_at(m->value, "name"),
        .file = text_at(m->value, "file"),
        .line = (int)number_at(m->value, "line"),
        .patterns = evrt_buf_release(&patterns),
        .timeout_ms = number_at(m->value, "timeout_ms"),
        .concurrency = (uint32_t)number_at(m->value, "concurrency"),
        .from_beginning = strcmp(start, "beginning") == 0,
        .ordered_by = text_at(m->value, "ordered_by"),
        .priority = (int)number_at(m->value, "priority"),
    };
    free(start);
    return rc;
}

int evrt_scripts_declared(struct evrt_scripts *s, struct evrt_slice json, struct evrt_error *err) {
    struct evrt_json_info info;
    free_handlers(s);
    int rc = evrt_json_check(json, &info, err);
    if (rc < 0) return rc;
    return evrt_json_members(evrt_json_at(json, EVRT_STR("handlers")), add_handler, s, &info, err);
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

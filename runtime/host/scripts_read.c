/* Reading the scripts: each folder once, in a fixed order, into one snapshot; from then on only that counts.
 * See scripts.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/scripts.h"

#include "config/config.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/jsonout.h"
#include "core/map.h"
#include "frame/snapshot.h"

enum {
    SCRIPT_MAX = 16 << 20, /* bytes of one file */
    FOLDERS_DEEP = 32,
};

struct reading {
    struct evrt_scripts *s;
    struct evrt_buf snapshot;
    bool look_only; /* only the signature is asked for */
    char role; /* of a folder's files: handlers, policies, or 0: modules only (named by globs) */
    struct evrt_error *err;
};

/* ---- Files ---- */

static int slurp(const char *path, struct evrt_buf *out, struct evrt_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return evrt_error_at(err, -errno, path, 0, "cannot be read: %s", strerror(errno));
    ssize_t n;
    while ((n = read(fd, evrt_buf_room(out, 65536), 65536)) > 0 && out->n <= SCRIPT_MAX)
        out->n += (size_t)n;
    int rc = n < 0 ? -errno : 0;
    close(fd);
    sched_yield(); /* hundreds of files are more than those that serve should wait for */
    if (rc < 0) return evrt_error_at(err, rc, path, 0, "cannot be read: %s", strerror(-rc));
    if (out->n > SCRIPT_MAX) return evrt_error_at(err, -EFBIG, path, 0, "larger than 16 MiB");
    return 0;
}

static void put(struct reading *r, char role, const char *path, struct evrt_slice name,
                struct evrt_slice bytes) {
    evrt_snapshot_add(&r->snapshot,
                      &(struct evrt_snapshot_file){role, evrt_slice_of(path), name, bytes});
}

static void sign(struct reading *r, const char *path, const struct stat *st) {
    const uint64_t facts[] = {
        st->st_dev,          st->st_ino,         (uint64_t)st->st_size,         st->st_mtim.tv_sec,
        st->st_mtim.tv_nsec, st->st_ctim.tv_sec, (uint64_t)st->st_ctim.tv_nsec,
    };
    int64_t changed_ms = st->st_ctim.tv_sec * 1000 + st->st_ctim.tv_nsec / 1000000;
    if (changed_ms > r->s->changed_ms) r->s->changed_ms = changed_ms;
    uint64_t hash = evrt_hash64(path, strlen(path), r->s->signature);
    r->s->signature = evrt_hash64((const char *)facts, sizeof facts, hash);
}

/* A module under its name, and a handler or policy when it has that role too: the same bytes for both. */
static int add_file(struct reading *r, char role, const char *path, const struct stat *st,
                    struct evrt_slice module) {
    struct evrt_scripts *s = r->s;
    sign(r, path, st);
    if (r->look_only) return 0;
    struct evrt_buf bytes;
    evrt_buf_init(&bytes);
    int rc = slurp(path, &bytes, r->err);
    if (rc == 0) {
        struct evrt_slice text = evrt_buf_slice(&bytes);
        if (module.n != 0) put(r, 'm', path, module, text);
        if (role != 0) put(r, role, path, EVRT_STR(""), text);
        s->files = evrt_realloc(s->files, (s->file_count + 1) * sizeof *s->files);
        s->files[s->file_count++] =
            (struct evrt_script_file){evrt_strdup(path), evrt_hash64(bytes.p, bytes.n, 0)};
    }
    evrt_buf_finish(&bytes);
    return rc == -ENOENT ? 0 : rc; /* removed since it was listed */
}

/* ---- Folders ---- */

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n > m && strcmp(s + n - m, end) == 0;
}

static int visible(const struct dirent *d) {
    return d->d_name[0] != '.';
}

static void keep_folder(struct evrt_scripts *s, const char *path) {
    for (size_t i = 0; i < s->folder_count; i++)
        if (strcmp(s->folders[i], path) == 0) return;
    s->folders = evrt_realloc(s->folders, (s->folder_count + 1) * sizeof *s->folders);
    s->folders[s->folder_count++] = evrt_strdup(path);
}

static int add_folder(struct reading *r, const char *folder, const char *module_prefix,
                      unsigned depth);

/* `module` is the entry's name behind the prefix. */
static int add_entry(struct reading *r, const char *path, struct evrt_buf *module, unsigned depth,
                     bool script) {
    struct stat st;
    if (stat(path, &st) < 0) return 0;
    if (S_ISDIR(st.st_mode)) {
        evrt_buf_putc(module, '.');
        return add_folder(r, path, evrt_buf_cstr(module), depth + 1);
    }
    if (!S_ISREG(st.st_mode) || !ends_with(path, ".lua")) return 0;
    module->n -= 4;
    return add_file(r, script ? r->role : 0, path, &st, evrt_buf_slice(module));
}

/* Files before folders are of no matter: names decide, so that the order is the same everywhere. */
static int add_folder(struct reading *r, const char *folder, const char *module_prefix,
                      unsigned depth) {
    struct dirent **list;
    if (depth > FOLDERS_DEEP)
        return evrt_error_at(r->err, -ELOOP, folder, 0,
                             "folders stand more than %d deep; is one a link to itself?",
                             FOLDERS_DEEP);
    keep_folder(r->s, folder);
    int count = scandir(folder, &list, visible, alphasort);
    if (count < 0)
        return evrt_error_at(r->err, -errno, folder, 0, "cannot be read: %s", strerror(errno));
    int rc = 0;
    for (int i = 0; i < count; i++) {
        const char *name = list[i]->d_name;
        struct evrt_buf path, module;
        evrt_buf_init(&path);
        evrt_buf_init(&module);
        evrt_buf_printf(&path, "%s/%s", folder, name);
        evrt_buf_printf(&module, "%s%s", module_prefix, name);
        if (rc == 0)
            rc = add_entry(r, evrt_buf_cstr(&path), &module, depth, depth == 0 && name[0] != '_');
        evrt_buf_finish(&path);
        evrt_buf_finish(&module);
        free(list[i]);
    }
    free(list);
    return rc;
}

static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? evrt_strdup(".") : evrt_strndup(path, slash - path);
}

static bool is_new(struct evrt_map *seen, const char *path) {
    return evrt_map_set(seen, evrt_slice_of(path), seen) == NULL;
}

/* Files named by globs, several times or once, are handlers; what stands beside them can be required. */
static int add_globs(struct reading *r, const struct evrt_strings *globs) {
    glob_t found = {0};
    struct stat st;
    struct evrt_map seen;
    evrt_map_init(&seen);
    for (size_t i = 0; i < globs->n; i++)
        glob(globs->v[i], (i == 0 ? 0 : GLOB_APPEND) | GLOB_ERR, NULL, &found);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++)
        if (is_new(&seen, found.gl_pathv[i]) && stat(found.gl_pathv[i], &st) == 0)
            rc = add_file(r, 'h', found.gl_pathv[i], &st, EVRT_STR(""));
    r->role = 0;
    for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++) {
        char *folder = folder_of(found.gl_pathv[i]);
        if (is_new(&seen, folder)) rc = add_folder(r, folder, "", 0);
        free(folder);
    }
    evrt_map_finish(&seen);
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
        evrt_jsonout_put_i64(&o, "line", a->line);
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

static int read_all(struct reading *r, const struct evrt_config *config) {
    int rc = 0;
    r->role = 'h';
    if (config->handlers.n == 1 && is_folder(config->handlers.v[0]))
        rc = add_folder(r, config->handlers.v[0], "", 0);
    else
        rc = add_globs(r, &config->handlers);
    r->role = 'p';
    if (rc == 0 && config->policies != NULL && is_folder(config->policies))
        rc = add_folder(r, config->policies, "", 0);
    return rc;
}

int evrt_scripts_read(struct evrt_scripts *s, const struct evrt_config *config,
                      struct evrt_error *err) {
    struct reading r = {.s = s, .err = err};
    *s = (struct evrt_scripts){.snapshot = -1};
    evrt_snapshot_start(&r.snapshot);
    int rc = read_all(&r, config);
    add_apply(&r, config);
    if (rc == 0) {
        rc = s->snapshot = evrt_snapshot_seal(&r.snapshot);
        if (rc < 0) evrt_error_set(err, rc, "cannot freeze the scripts: %s", strerror(-rc));
    }
    s->hash = evrt_hash64(r.snapshot.p, r.snapshot.n, 0);
    evrt_buf_finish(&r.snapshot);
    if (rc < 0) evrt_scripts_finish(s);
    return rc < 0 ? rc : 0;
}

uint64_t evrt_scripts_signature(const struct evrt_config *config) {
    struct evrt_scripts s = {.snapshot = -1};
    struct reading r = {.s = &s, .look_only = true};
    int rc = read_all(&r, config);
    uint64_t signature = s.signature;
    evrt_scripts_finish(&s);
    return rc < 0 ? 0 : signature;
}

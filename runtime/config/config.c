/* Loading: the sources in order, and the telling of errors. See config.h and load.h. */
#include "config/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/load.h"
#include "core/error.h"
#include "core/utf8.h"

#define FILE_MAX (1u << 20) /* a configuration is a few KiB; more is some other file */
#define ENVIRONMENT_PREFIX "EVRT_SET_"

/* ---- Errors ---- */

char *evrt_load_quote(struct evrt_slice text, char buf[EVRT_LOAD_QUOTE]) {
    size_t n = 0, at = 0;
    buf[n++] = '"';
    while (at < text.n && n < EVRT_LOAD_QUOTE - 10) {
        uint32_t code;
        size_t width = evrt_utf8_next(text.p + at, text.n - at, &code);
        if (width == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
            buf[n++] = '?';
            at += width ? width : 1;
        } else {
            memcpy(buf + n, text.p + at, width);
            n += width;
            at += width;
        }
    }
    snprintf(buf + n, EVRT_LOAD_QUOTE - n, "%s\"", at < text.n ? "..." : "");
    return buf;
}

static void tell(struct evrt_load *l, const struct evrt_error *err) {
    if (l->errors++ == 0) *l->first = *err;
    if (l->each != NULL) l->each(l->arg, err);
}

void evrt_load_fail(struct evrt_load *l, const struct evrt_place *at, const char *fmt, ...) {
    char message[512], quoted[EVRT_LOAD_QUOTE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    struct evrt_error err;
    if (at->override != NULL)
        evrt_error_set(&err, -EINVAL, "%s%s: %s", at->prefix,
                       evrt_load_quote(evrt_slice_of(at->override), quoted), message);
    else if (l->file != NULL)
        evrt_error_at(&err, -EINVAL, l->file, at->line, "%s", message);
    else
        evrt_error_set(&err, -EINVAL, "%s", message);
    tell(l, &err);
}

void evrt_load_unknown(struct evrt_load *l, const struct evrt_place *at, struct evrt_slice key) {
    char quoted[EVRT_LOAD_QUOTE], nearest[EVRT_OPTION_KEY_MAX];
    evrt_load_fail(l, at, "unknown key %s; the nearest valid key is %s",
                   evrt_load_quote(key, quoted), evrt_option_nearest(key, nearest));
}

/* ---- The file ---- */

static int read_file(struct evrt_load *l, struct evrt_buf *out) {
    struct stat st;
    int rc = 0, fd = open(l->file, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;
    if (fd < 0 || fstat(fd, &st) < 0) goto failed;
    if (S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        goto failed;
    }
    while (n > 0 && out->n <= FILE_MAX) {
        n = read(fd, evrt_buf_room(out, 65536), 65536);
        if (n > 0) out->n += (size_t)n;
    }
    if (n >= 0) goto out;
failed:
    rc = -errno;
    struct evrt_error err;
    evrt_error_at(&err, rc, l->file, 0, "cannot be read: %s", strerror(-rc));
    tell(l, &err);
out:
    if (fd >= 0) close(fd);
    return rc;
}

static void load_text(struct evrt_load *l, struct evrt_slice text) {
    struct evrt_place at = {.line = 1};
    if (text.n > FILE_MAX) {
        evrt_load_fail(l, &at, "larger than %u bytes: not a configuration", FILE_MAX);
        return;
    }
    size_t bad = text.n == 0 ? 0 : evrt_utf8_check(text.p, text.n);
    for (size_t i = 0; i < bad && bad < text.n; i++)
        at.line += text.p[i] == '\n';
    if (bad < text.n)
        evrt_load_fail(l, &at, "not UTF-8: byte 0x%02x at offset %zu", (unsigned char)text.p[bad],
                       bad);
    else
        evrt_yaml_file(l, text);
}

/* ---- Defaults and overrides ---- */

static void set_option(struct evrt_load *l, const struct evrt_place *at,
                       const struct evrt_option *o, struct evrt_slice text) {
    bool list = text.n > 0 && text.p[0] == '[';
    if (o->type == EVRT_OPTION_APPLIES || (o->type == EVRT_OPTION_PATHS && list))
        evrt_yaml_list(l, o, text, at);
    else
        evrt_value_set(l, o, text, at);
}

static void set_key(struct evrt_load *l, const struct evrt_place *at, struct evrt_slice key,
                    struct evrt_slice text) {
    const struct evrt_option *o = evrt_option_find(key);
    if (o == NULL && key.n > 0 && evrt_option_is_section(key)) {
        evrt_load_fail(l, at, "%.*s is a section; give one of its keys a value", (int)key.n, key.p);
    } else if (o == NULL) {
        evrt_load_unknown(l, at, key);
    } else {
        l->from[o - evrt_options] = *at;
        set_option(l, at, o, text);
    }
}

static void load_defaults(struct evrt_load *l) {
    struct evrt_place at = {0};
    for (size_t i = 0; i < EVRT_OPTION_COUNT; i++)
        set_option(l, &at, &evrt_options[i], evrt_slice_of(evrt_options[i].def));
}

static void load_overrides(struct evrt_load *l, const char *const *overrides) {
    for (; overrides != NULL && *overrides != NULL; overrides++) {
        struct evrt_place at = {.override = *overrides, .prefix = "--set "};
        const char *equals = strchr(*overrides, '=');
        if (equals == NULL)
            evrt_load_fail(l, &at, "expected key=value");
        else
            set_key(l, &at, (struct evrt_slice){*overrides, (size_t)(equals - *overrides)},
                    evrt_slice_of(equals + 1));
    }
}

/* EVRT_SET_STORE__MAX_SIZE=1GiB is store.max_size. */
static void load_environment(struct evrt_load *l, const char *const *environment) {
    struct evrt_buf key;
    evrt_buf_init(&key);
    for (; environment != NULL && *environment != NULL; environment++) {
        const char *name = *environment, *equals = strchr(name, '=');
        size_t prefix = sizeof ENVIRONMENT_PREFIX - 1;
        if (equals == NULL || strncmp(name, ENVIRONMENT_PREFIX, prefix) != 0) continue;
        struct evrt_place at = {.override = name, .prefix = ""};
        evrt_buf_clear(&key);
        for (const char *p = name + prefix; p < equals; p++) {
            bool dot = p[0] == '_' && p + 1 < equals && p[1] == '_';
            evrt_buf_putc(&key, dot ? '.' : (char)tolower((unsigned char)*p));
            p += dot;
        }
        set_key(l, &at, evrt_buf_slice(&key), evrt_slice_of(equals + 1));
    }
    evrt_buf_finish(&key);
}

/* ---- The whole ---- */

/* The folder that relative paths stand in, absolute. NULL: it cannot be told (then neither can the file
 * be read). */
static char *folder_of(const char *file) {
    char path[PATH_MAX];
    if (file == NULL) return realpath(".", NULL);
    if (snprintf(path, sizeof path, "%s", file) >= (int)sizeof path) return NULL;
    return realpath(dirname(path), NULL);
}

static int load(struct evrt_load *l, const struct evrt_config_source *s) {
    struct evrt_buf content;
    evrt_buf_init(&content);
    int rc = 0;
    load_defaults(l);
    if (s->text.p != NULL)
        load_text(l, s->text);
    else if (s->file != NULL && (rc = read_file(l, &content)) == 0)
        load_text(l, evrt_buf_slice(&content));
    evrt_buf_finish(&content);
    if (rc < 0) return rc;
    load_environment(l, s->environment);
    load_overrides(l, s->overrides);
    if (l->errors == 0 && s->running != NULL) evrt_load_compare(l, s->running, s->changed, s->arg);
    if (l->errors == 0) evrt_load_check(l, s);
    return l->errors > 0 ? -EINVAL : 0;
}

int evrt_config_load_from(struct evrt_config *c, const struct evrt_config_source *source,
                          struct evrt_error *err) {
    struct evrt_error first;
    char *dir = folder_of(source->file);
    *c = (struct evrt_config){.file = evrt_strdup(source->file ? source->file : "")};
    struct evrt_load l = {
        .c = c,
        .file = source->file,
        .dir = dir != NULL ? dir : "/",
        .each = source->each,
        .arg = source->arg,
        .first = err != NULL ? err : &first,
    };
    int rc = load(&l, source);
    free(dir);
    if (rc < 0) evrt_config_finish(c);
    return rc;
}

int evrt_config_load(struct evrt_config *c, const char *file, const char *const *overrides,
                     struct evrt_error *err) {
    struct evrt_config_source source = {
        .file = file,
        .environment = (const char *const *)environ,
        .overrides = overrides,
    };
    return evrt_config_load_from(c, &source, err);
}

void evrt_config_finish(struct evrt_config *c) {
    for (size_t i = 0; i < EVRT_OPTION_COUNT; i++)
        evrt_value_finish(c, &evrt_options[i]);
    free(c->file);
    *c = (struct evrt_config){0};
}

const char *evrt_config_find(void) {
    static const char *const places[] = {"conf/evrt.yaml", "/etc/evrt/evrt.yaml"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (access(places[i], F_OK) == 0) return places[i];
    return NULL;
}

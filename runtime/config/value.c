/* Values: text to member and back, by the option's type. See load.h and config.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/load.h"
#include "core/units.h"

static void *member(const struct evrt_config *c, const struct evrt_option *o) {
    return (char *)(uintptr_t)c + o->offset;
}

void evrt_value_refuse(struct evrt_load *l, const struct evrt_option *o,
                       const struct evrt_place *at, const char *got) {
    struct evrt_buf expected;
    evrt_buf_init(&expected);
    evrt_option_expects(o, &expected);
    evrt_load_fail(l, at, "%s: expected %s; got %s", o->key, evrt_buf_cstr(&expected),
                   o->secret ? "something else" : got);
    evrt_buf_finish(&expected);
}

static void refuse_text(struct evrt_load *l, const struct evrt_option *o,
                        const struct evrt_place *at, struct evrt_slice text) {
    char quoted[EVRT_LOAD_QUOTE];
    evrt_value_refuse(l, o, at, evrt_load_quote(text, quoted));
}

/* Whether text is one of the words joined by '|'. */
static bool is_choice(const char *choices, struct evrt_slice text) {
    for (const char *p = choices; p != NULL && *p != '\0';) {
        size_t n = strcspn(p, "|");
        if (evrt_slice_eq((struct evrt_slice){p, n}, text)) return true;
        p += n + (p[n] == '|');
    }
    return false;
}

static char *absolute(const char *dir, struct evrt_slice path) {
    while (path.n > 2 && path.p[0] == '.' && path.p[1] == '/')
        path.p += 2, path.n -= 2;
    while (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    if (path.n == 0 || path.p[0] == '/') return evrt_strndup(path.p ? path.p : "", path.n);
    struct evrt_buf out;
    evrt_buf_init(&out);
    evrt_buf_puts(&out, dir);
    if (out.n == 0 || out.p[out.n - 1] != '/') evrt_buf_putc(&out, '/');
    if (!evrt_slice_eq(path, EVRT_STR("."))) evrt_buf_put(&out, path.p, path.n);
    evrt_buf_cstr(&out);
    return evrt_buf_release(&out);
}

/* ---- Lists of texts ---- */

void evrt_strings_add(struct evrt_strings *list, struct evrt_slice text) {
    list->v = evrt_realloc(list->v, (list->n + 2) * sizeof *list->v);
    list->v[list->n++] = evrt_strndup(text.p ? text.p : "", text.n);
    list->v[list->n] = NULL;
}

void evrt_strings_finish(struct evrt_strings *list) {
    for (size_t i = 0; i < list->n; i++)
        free(list->v[i]);
    free(list->v);
    *list = (struct evrt_strings){0};
}

/* ---- One parser per type: true and the member is set, or false ---- */

static bool set_text(struct evrt_load *l, const struct evrt_option *o, char *value) {
    char **at = member(l->c, o);
    free(*at);
    *at = value;
    return true;
}

static bool set_string(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice s) {
    if (s.n < o->min || s.n > o->max) return false;
    return set_text(l, o, evrt_strndup(s.p ? s.p : "", s.n));
}

static bool set_path(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice s) {
    if (s.n < o->min || s.n > o->max) return false;
    return set_text(l, o, absolute(l->dir, s));
}

static bool set_choice(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice s) {
    return is_choice(o->choices, s) && set_text(l, o, evrt_strndup(s.p, s.n));
}

static bool set_address(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice s) {
    struct evrt_address a;
    return evrt_address_parse(s, &a, NULL) == 0 && set_text(l, o, evrt_strndup(s.p, s.n));
}

static bool set_bool(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice s) {
    bool yes = evrt_slice_eq(s, EVRT_STR("true"));
    if (!yes && !evrt_slice_eq(s, EVRT_STR("false"))) return false;
    *(bool *)member(l->c, o) = yes;
    return true;
}

static bool in_range(const struct evrt_option *o, uint64_t v) {
    return v >= o->min && v <= o->max;
}

static bool set_number(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice s) {
    uint64_t v = 0;
    bool word = is_choice(o->choices, s);
    for (size_t i = 0; !word && i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        if (__builtin_mul_overflow(v, 10, &v)) return false;
        if (__builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v)) return false;
    }
    if (!word && (s.n == 0 || !in_range(o, v))) return false;
    *(uint64_t *)member(l->c, o) = v;
    return true;
}

/* At most three digits behind the point. */
static bool set_decimal(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice s) {
    uint64_t v = 0, places = 4; /* 4: no point yet */
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' && places == 4 && i > 0 && i + 1 < s.n) {
            places = 3;
            continue;
        }
        if (s.p[i] < '0' || s.p[i] > '9' || places == 0) return false;
        if (places < 4) places--;
        if (__builtin_mul_overflow(v, 10, &v)) return false;
        if (__builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v)) return false;
    }
    for (places = places == 4 ? 3 : places; places > 0; places--)
        if (__builtin_mul_overflow(v, 10, &v)) return false;
    if (s.n == 0 || !in_range(o, v)) return false;
    *(uint64_t *)member(l->c, o) = v;
    return true;
}

static bool set_size(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice s) {
    uint64_t v;
    if (evrt_size_parse(s, &v) < 0 || !in_range(o, v)) return false;
    *(uint64_t *)member(l->c, o) = v;
    return true;
}

static bool set_duration(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice s) {
    int64_t v;
    if (evrt_duration_parse(s, &v) < 0 || !in_range(o, (uint64_t)v)) return false;
    *(int64_t *)member(l->c, o) = v;
    return true;
}

/* One entry more; the caller has cleared the list. */
static bool add_path(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice s) {
    struct evrt_strings *list = member(l->c, o);
    if (s.n == 0 || s.n > 4096 || list->n >= o->max) return false;
    char *path = is_choice(o->choices, s) ? evrt_strndup(s.p, s.n) : absolute(l->dir, s);
    evrt_strings_add(list, evrt_slice_of(path));
    free(path);
    return true;
}

/* Its entries are no texts: yaml.c reads them. */
static bool refuse_applies(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice s) {
    (void)l, (void)o, (void)s;
    return false;
}

typedef bool (*setter)(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice s);
static const setter setters[] = {
    [EVRT_OPTION_STRING] = set_string,      [EVRT_OPTION_BOOL] = set_bool,
    [EVRT_OPTION_DECIMAL] = set_decimal,    [EVRT_OPTION_NUMBER] = set_number,
    [EVRT_OPTION_SIZE] = set_size,          [EVRT_OPTION_DURATION] = set_duration,
    [EVRT_OPTION_ADDRESS] = set_address,    [EVRT_OPTION_CHOICE] = set_choice,
    [EVRT_OPTION_PATH] = set_path,          [EVRT_OPTION_PATHS] = add_path,
    [EVRT_OPTION_APPLIES] = refuse_applies,
};

void evrt_value_add(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice text,
                    const struct evrt_place *at) {
    if (memchr(text.p ? text.p : "", '\0', text.n) != NULL || !setters[o->type](l, o, text))
        refuse_text(l, o, at, text);
}

void evrt_value_set(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice text,
                    const struct evrt_place *at) {
    if (o->type == EVRT_OPTION_PATHS) evrt_value_finish(l->c, o);
    evrt_value_add(l, o, text, at);
}

void evrt_value_finish(struct evrt_config *c, const struct evrt_option *o) {
    if (o->type == EVRT_OPTION_PATHS) {
        evrt_strings_finish(member(c, o));
    } else if (o->type == EVRT_OPTION_APPLIES) {
        struct evrt_applies *list = member(c, o);
        for (size_t i = 0; i < list->n; i++) {
            evrt_strings_finish(&list->v[i].events);
            evrt_strings_finish(&list->v[i].policies);
        }
        free(list->v);
        *list = (struct evrt_applies){0};
    } else if (o->type == EVRT_OPTION_STRING || o->type == EVRT_OPTION_PATH ||
               o->type == EVRT_OPTION_CHOICE || o->type == EVRT_OPTION_ADDRESS) {
        char **text = member(c, o);
        free(*text);
        *text = NULL;
    }
}

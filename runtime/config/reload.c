/* A configuration beside the one in force: what differs, and what a reload may take over. One loop over the
 * table each; what an option's type is decides how its values are compared, copied and shown. See config.h. */
#include <stdlib.h>

#include "config/load.h"
#include "core/units.h"

static void *member(const struct evrt_config *c, const struct evrt_option *o) {
    return (char *)(uintptr_t)c + o->offset;
}

static size_t size_of(const struct evrt_option *o) {
    switch (o->type) {
    case EVRT_OPTION_BOOL: return sizeof(bool);
    case EVRT_OPTION_NUMBER:
    case EVRT_OPTION_DECIMAL:
    case EVRT_OPTION_SIZE:
    case EVRT_OPTION_DURATION: return sizeof(uint64_t);
    case EVRT_OPTION_STRING:
    case EVRT_OPTION_ADDRESS:
    case EVRT_OPTION_CHOICE:
    case EVRT_OPTION_PATH: return sizeof(char *);
    case EVRT_OPTION_PATHS: return sizeof(struct evrt_strings);
    case EVRT_OPTION_APPLIES: return sizeof(struct evrt_applies);
    }
    return 0;
}

static bool is_text(const struct evrt_option *o) {
    return o->type == EVRT_OPTION_STRING || o->type == EVRT_OPTION_ADDRESS ||
           o->type == EVRT_OPTION_CHOICE || o->type == EVRT_OPTION_PATH;
}

/* ---- Same ---- */

static bool same_strings(const struct evrt_strings *a, const struct evrt_strings *b) {
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->v[i], b->v[i]) != 0) return false;
    return true;
}

static bool same_applies(const struct evrt_applies *a, const struct evrt_applies *b) {
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++)
        if (!same_strings(&a->v[i].events, &b->v[i].events) ||
            !same_strings(&a->v[i].policies, &b->v[i].policies))
            return false;
    return true;
}

static bool same(const struct evrt_config *x, const struct evrt_config *y,
                 const struct evrt_option *o) {
    const void *a = member(x, o), *b = member(y, o);
    if (o->type == EVRT_OPTION_PATHS) return same_strings(a, b);
    if (o->type == EVRT_OPTION_APPLIES) return same_applies(a, b);
    if (is_text(o)) return strcmp(*(char *const *)a, *(char *const *)b) == 0;
    return memcmp(a, b, size_of(o)) == 0;
}

/* ---- Copied ---- */

static struct evrt_strings copy_strings(const struct evrt_strings *from) {
    struct evrt_strings out = {0};
    for (size_t i = 0; i < from->n; i++)
        evrt_strings_add(&out, evrt_slice_of(from->v[i]));
    return out;
}

static struct evrt_applies copy_applies(const struct evrt_applies *from) {
    struct evrt_applies out = {evrt_alloc((from->n + 1) * sizeof *out.v), from->n};
    for (size_t i = 0; i < from->n; i++)
        out.v[i] = (struct evrt_apply){from->v[i].line, copy_strings(&from->v[i].events),
                                       copy_strings(&from->v[i].policies)};
    return out;
}

static void copy(struct evrt_config *to, const struct evrt_config *from,
                 const struct evrt_option *o) {
    const void *source = member(from, o);
    void *target = member(to, o);
    evrt_value_finish(to, o);
    if (o->type == EVRT_OPTION_PATHS)
        *(struct evrt_strings *)target = copy_strings(source);
    else if (o->type == EVRT_OPTION_APPLIES)
        *(struct evrt_applies *)target = copy_applies(source);
    else if (is_text(o))
        *(char **)target = evrt_strdup(*(char *const *)source);
    else
        memcpy(target, source, size_of(o));
}

/* ---- Shown ---- */

static void show_strings(struct evrt_buf *out, const struct evrt_strings *list) {
    evrt_buf_putc(out, '[');
    for (size_t i = 0; i < list->n; i++)
        evrt_buf_printf(out, "%s%s", i == 0 ? "" : ", ", list->v[i]);
    evrt_buf_putc(out, ']');
}

static void show_applies(struct evrt_buf *out, const struct evrt_applies *list) {
    evrt_buf_putc(out, '[');
    for (size_t i = 0; i < list->n; i++) {
        evrt_buf_puts(out, i == 0 ? "{events: " : ", {events: ");
        show_strings(out, &list->v[i].events);
        evrt_buf_puts(out, ", policies: ");
        show_strings(out, &list->v[i].policies);
        evrt_buf_putc(out, '}');
    }
    evrt_buf_putc(out, ']');
}

static void show_number(struct evrt_buf *out, const struct evrt_option *o, uint64_t v) {
    if (v == 0 && o->choices != NULL)
        evrt_buf_puts(out, o->choices);
    else
        evrt_buf_put_u64(out, v);
}

static void show(const struct evrt_config *c, const struct evrt_option *o, struct evrt_buf *out) {
    const void *value = member(c, o);
    char text[EVRT_UNITS_SIZE];
    if (o->secret) {
        evrt_buf_puts(out, "(secret)");
        return;
    }
    switch (o->type) {
    case EVRT_OPTION_BOOL: evrt_buf_puts(out, *(const bool *)value ? "true" : "false"); break;
    case EVRT_OPTION_NUMBER: show_number(out, o, *(const uint64_t *)value); break;
    case EVRT_OPTION_DECIMAL:
        evrt_buf_printf(out, "%g", (double)*(const uint64_t *)value / 1000);
        break;
    case EVRT_OPTION_SIZE:
        evrt_buf_puts(out, evrt_size_format(*(const uint64_t *)value, text));
        break;
    case EVRT_OPTION_DURATION:
        evrt_buf_puts(out, evrt_duration_format(*(const int64_t *)value, text));
        break;
    case EVRT_OPTION_PATHS: show_strings(out, value); break;
    case EVRT_OPTION_APPLIES: show_applies(out, value); break;
    case EVRT_OPTION_STRING:
    case EVRT_OPTION_ADDRESS:
    case EVRT_OPTION_CHOICE:
    case EVRT_OPTION_PATH: evrt_buf_puts(out, *(char *const *)value); break;
    }
}

/* ---- The table ---- */

void evrt_load_compare(struct evrt_load *l, const struct evrt_config *running,
                       evrt_config_change_cb changed, void *arg) {
    struct evrt_buf from, to;
    evrt_buf_init(&from);
    evrt_buf_init(&to);
    for (size_t i = 0; i < EVRT_OPTION_COUNT; i++) {
        const struct evrt_option *o = &evrt_options[i];
        if (same(running, l->c, o)) continue;
        evrt_buf_clear(&from);
        evrt_buf_clear(&to);
        show(running, o, &from);
        show(l->c, o, &to);
        struct evrt_config_change change = {o->key, evrt_buf_cstr(&from), evrt_buf_cstr(&to),
                                            o->reloadable};
        if (changed != NULL) changed(arg, &change);
        if (!o->reloadable) copy(l->c, running, o);
    }
    evrt_buf_finish(&from);
    evrt_buf_finish(&to);
}

void evrt_config_exchange(struct evrt_config *a, struct evrt_config *b) {
    for (size_t i = 0; i < EVRT_OPTION_COUNT; i++) {
        const struct evrt_option *o = &evrt_options[i];
        char kept[sizeof(struct evrt_strings) + sizeof(struct evrt_applies)];
        if (!o->reloadable) continue;
        memcpy(kept, member(a, o), size_of(o));
        memcpy(member(a, o), member(b, o), size_of(o));
        memcpy(member(b, o), kept, size_of(o));
    }
}

/* See attributes.h. */
#include "core/attributes.h"

#include "core/bytes.h"
#include "core/utf8.h"

enum { HEADER = 6 };

static struct evrt_slice value_of(const struct evrt_attribute *a) {
    switch (a->kind) {
    case EVRT_ATTRIBUTE_INTEGER: return (struct evrt_slice){(const char *)&a->v.i, sizeof a->v.i};
    case EVRT_ATTRIBUTE_DOUBLE: return (struct evrt_slice){(const char *)&a->v.d, sizeof a->v.d};
    case EVRT_ATTRIBUTE_BOOL: return (struct evrt_slice){(const char *)&a->v.b, 1};
    default: return evrt_utf8_cut(a->text, EVRT_ATTRIBUTE_TEXT_MAX);
    }
}

void evrt_attributes_put(struct evrt_buf *out, const struct evrt_attribute *a) {
    struct evrt_slice name = evrt_utf8_cut(a->name, EVRT_ATTRIBUTE_NAME_MAX);
    struct evrt_slice value = value_of(a);
    char *p = evrt_buf_room(out, HEADER + name.n + value.n);
    p[0] = (char)a->kind;
    p[1] = (char)name.n;
    evrt_set_u32(p + 2, (uint32_t)value.n);
    if (name.n != 0) memcpy(p + HEADER, name.p, name.n);
    if (value.n != 0) memcpy(p + HEADER + name.n, value.p, value.n);
    out->n += HEADER + name.n + value.n;
}

bool evrt_attributes_next(struct evrt_slice all, size_t *at, struct evrt_attribute *a) {
    if (all.n - *at < HEADER) return false;
    const char *p = all.p + *at;
    size_t left = all.n - *at - HEADER, name_n = (unsigned char)p[1], n = evrt_get_u32(p + 2);
    if (name_n > left || n > left - name_n) return false;
    const char *value = p + HEADER + name_n;
    *a = (struct evrt_attribute){.kind = (enum evrt_attribute_kind)p[0],
                                 .name = {p + HEADER, name_n}};
    *at += HEADER + name_n + n;
    switch (a->kind) {
    case EVRT_ATTRIBUTE_TEXT: a->text = (struct evrt_slice){value, n}; return true;
    case EVRT_ATTRIBUTE_INTEGER:
    case EVRT_ATTRIBUTE_DOUBLE:
        if (n == sizeof a->v) memcpy(&a->v, value, n);
        return n == sizeof a->v;
    case EVRT_ATTRIBUTE_BOOL: a->v.b = n == 1 && value[0] != 0; return n == 1;
    default: return false;
    }
}

/* See event.h. */
#include "core/event.h"

#include <assert.h>
#include <errno.h>
#include <strings.h>

#include "core/bytes.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/jsonplain.h"
#include "core/utf8.h"

static const struct {
    const char *name;
    size_t at; /* offset of the slice in struct evrt_event */
    size_t max;
} fields[EVRT_FIELD_COUNT] = {
    [EVRT_FIELD_ID] = {"id", offsetof(struct evrt_event, id), EVRT_ATTRIBUTE_MAX},
    [EVRT_FIELD_TYPE] = {"type", offsetof(struct evrt_event, type), EVRT_TYPE_MAX},
    [EVRT_FIELD_SOURCE] = {"source", offsetof(struct evrt_event, source), EVRT_ATTRIBUTE_MAX},
    [EVRT_FIELD_TIME] = {"time", offsetof(struct evrt_event, time), 64},
    [EVRT_FIELD_SUBJECT] = {"subject", offsetof(struct evrt_event, subject), EVRT_ATTRIBUTE_MAX},
    [EVRT_FIELD_DATACONTENTTYPE] = {"datacontenttype", offsetof(struct evrt_event, datacontenttype),
                                    256},
    [EVRT_FIELD_DATASCHEMA] = {"dataschema", offsetof(struct evrt_event, dataschema),
                               EVRT_ATTRIBUTE_MAX},
    [EVRT_FIELD_EXTENSIONS] = {"extensions", offsetof(struct evrt_event, extensions),
                               EVRT_EXTENSIONS_MAX},
    [EVRT_FIELD_DATA] = {"data", offsetof(struct evrt_event, data), UINT32_MAX},
};

static const struct evrt_slice *slice_of(const struct evrt_event *e, int field) {
    return (const void *)((const char *)e + fields[field].at);
}

size_t evrt_event_size(const struct evrt_event *e) {
    size_t n = EVRT_EVENT_HEADER;
    for (int f = 0; f < EVRT_FIELD_COUNT; f++)
        n += slice_of(e, f)->n;
    return n + (e->cause_seq != 0 ? EVRT_EVENT_CAUSE_BYTES : 0);
}

void evrt_event_encode(const struct evrt_event *e, void *at) {
    char *p = at, *to = p + EVRT_EVENT_HEADER;
    evrt_event_stamp(p, e->seq, e->stored_ms);
    p[16] = (char)(e->cause_seq != 0 ? e->flags | EVRT_EVENT_CAUSED : e->flags);
    p[17] = (char)e->hops;
    evrt_set_u16(p + 18, 0);
    for (int f = 0; f < EVRT_FIELD_COUNT; f++) {
        const struct evrt_slice *s = slice_of(e, f);
        if (f == EVRT_FIELD_DATA)
            evrt_set_u32(p + 36, (uint32_t)s->n);
        else
            evrt_set_u16(p + 20 + 2 * f, (uint16_t)s->n);
        if (s->n != 0) memcpy(to, s->p, s->n);
        to += s->n;
    }
    if (e->cause_seq == 0) return;
    evrt_set_u64(to, e->cause_seq);
    evrt_set_u32(to + 8, e->cause_handler);
}

int evrt_event_decode(const void *at, size_t n, struct evrt_event *e) {
    const char *p = at;
    if (n < EVRT_EVENT_HEADER) return -EBADMSG;
    size_t from = EVRT_EVENT_HEADER;
    for (int f = 0; f < EVRT_FIELD_COUNT; f++) {
        struct evrt_slice *s = (void *)((char *)e + fields[f].at);
        s->n = f == EVRT_FIELD_DATA ? evrt_get_u32(p + 36) : evrt_get_u16(p + 20 + 2 * f);
        s->p = p + from;
        if (s->n > n - from) return -EBADMSG;
        from += s->n;
        bool empty = f == EVRT_FIELD_DATA && (p[16] & EVRT_EVENT_HAS_DATA);
        if (s->n == 0 && !empty) s->p = NULL;
    }
    bool caused = (unsigned char)p[16] & EVRT_EVENT_CAUSED;
    if (n - from != (caused ? EVRT_EVENT_CAUSE_BYTES : 0)) return -EBADMSG;
    e->cause_seq = caused ? evrt_get_u64(p + from) : 0;
    e->cause_handler = caused ? evrt_get_u32(p + from + 8) : 0;
    if (caused && e->cause_seq == 0) return -EBADMSG;
    e->seq = evrt_get_u64(p);
    e->stored_ms = (int64_t)evrt_get_u64(p + 8);
    e->flags = (unsigned char)p[16] & ~(unsigned)EVRT_EVENT_CAUSED;
    e->hops = (uint8_t)p[17];
    return 0;
}

struct evrt_slice evrt_event_field(const void *at, enum evrt_event_field field) {
    const char *p = at, *from = p + EVRT_EVENT_HEADER;
    for (int f = 0; f < (int)field; f++)
        from += evrt_get_u16(p + 20 + 2 * f);
    size_t n = field == EVRT_FIELD_DATA ? evrt_get_u32(p + 36) : evrt_get_u16(p + 20 + 2 * field);
    return (struct evrt_slice){from, n};
}

void evrt_event_stamp(void *at, uint64_t seq, int64_t stored_ms) {
    evrt_set_u64(at, seq);
    evrt_set_u64((char *)at + 8, (uint64_t)stored_ms);
}

static bool word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

size_t evrt_type_check(struct evrt_slice type) {
    for (size_t i = 0; i < type.n; i++) {
        bool at_edge = i == 0 || i + 1 == type.n || type.p[i - 1] == '.';
        if (!word(type.p[i]) && (type.p[i] != '.' || at_edge)) return i;
    }
    return type.n;
}

static int check_text(const char *name, struct evrt_slice s, struct evrt_error *err) {
    if (evrt_json_is_plain(s.p, s.n)) return 0; /* nearly all are, and this is quick */
    size_t bad = evrt_utf8_check(s.p, s.n);
    if (bad != s.n) return evrt_error_set(err, -EINVAL, "%s: not UTF-8 at byte %zu", name, bad + 1);
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return evrt_error_set(err, -EINVAL, "%s: control character at byte %zu", name, i + 1);
    return 0;
}

static int check_extensions(struct evrt_slice list, struct evrt_error *err) {
    struct evrt_extension x;
    size_t at = 0;
    while (evrt_extensions_next(list, &at, &x)) {
        char name[EVRT_EXTENSION_NAME_MAX + 1];
        memcpy(name, x.name.p, x.name.n);
        name[x.name.n] = '\0';
        if (x.value.n > EVRT_ATTRIBUTE_MAX)
            return evrt_error_set(err, -EINVAL, "%s: %zu bytes, at most %d", name, x.value.n,
                                  EVRT_ATTRIBUTE_MAX);
        int rc = check_text(name, x.value, err);
        if (rc < 0) return rc;
    }
    return at == list.n ? 0 : evrt_error_set(err, -EINVAL, "extensions: malformed");
}

int evrt_event_check(const struct evrt_event *e, struct evrt_error *err) {
    if (e->type.n == 0) return evrt_error_set(err, -EINVAL, "type: missing");
    if (e->id.n == 0) return evrt_error_set(err, -EINVAL, "id: missing");
    if (e->source.n == 0) return evrt_error_set(err, -EINVAL, "source: missing");
    for (int f = 0; f < EVRT_FIELD_DATA; f++) {
        struct evrt_slice s = *slice_of(e, f);
        if (s.n > fields[f].max)
            return evrt_error_set(err, -EINVAL, "%s: %zu bytes, at most %zu", fields[f].name, s.n,
                                  fields[f].max);
        int rc = f == EVRT_FIELD_EXTENSIONS ? check_extensions(s, err)
                                            : check_text(fields[f].name, s, err);
        if (rc < 0) return rc;
    }
    size_t bad = evrt_type_check(e->type);
    if (bad != e->type.n)
        return evrt_error_set(err, -EINVAL,
                              "type: byte %zu: expected segments of letters, digits, '_' or '-' "
                              "separated by single dots",
                              bad + 1);
    int64_t ms;
    if (e->time.n != 0 && evrt_rfc3339_parse(e->time, &ms, &bad) < 0)
        return evrt_error_set(err, -EINVAL,
                              "time: byte %zu: expected RFC 3339, as in "
                              "2025-01-07T10:30:45.123Z",
                              bad + 1);
    return 0;
}

bool evrt_type_own(struct evrt_slice type) {
    return type.n >= 5 && memcmp(type.p, "evrt.", 5) == 0;
}

int evrt_event_check_public(const struct evrt_event *e, struct evrt_error *err) {
    int rc = evrt_event_check(e, err);
    if (rc < 0 || !evrt_type_own(e->type)) return rc;
    return evrt_error_set(err, -EINVAL,
                          "type: only evrt itself publishes types that begin with \"evrt.\"; "
                          "give it another one");
}

bool evrt_event_json_type(struct evrt_slice type) {
    size_t n = 0;
    while (n < type.n && type.p[n] != ';')
        n++;
    while (n > 0 && (type.p[n - 1] == ' ' || type.p[n - 1] == '\t'))
        n--;
    if (n == 0) return type.n == 0;
    return (n == 16 && strncasecmp(type.p, "application/json", 16) == 0) ||
           (n == 9 && strncasecmp(type.p, "text/json", 9) == 0) ||
           (n > 5 && memchr(type.p, '/', n) != NULL &&
            strncasecmp(type.p + n - 5, "+json", 5) == 0);
}

void evrt_event_defaults(struct evrt_event *e, struct evrt_random *random, struct evrt_slice source,
                         char id[EVRT_UUID_SIZE], char time[25]) {
    if (e->id.n == 0) {
        evrt_uuid7(random, id);
        e->flags |= EVRT_EVENT_OWN_ID;
        e->id = (struct evrt_slice){id, EVRT_UUID_SIZE - 1};
    }
    if (e->time.n == 0)
        e->time =
            (struct evrt_slice){evrt_rfc3339_format(evrt_wall_ms(), time), EVRT_RFC3339_SIZE - 1};
    if (e->source.n == 0) e->source = source;
    if (e->data.p != NULL) e->flags |= EVRT_EVENT_HAS_DATA;
}

int evrt_extensions_add(struct evrt_buf *out, struct evrt_slice name, char kind,
                        struct evrt_slice value) {
    if (name.n == 0 || name.n > EVRT_EXTENSION_NAME_MAX || value.n > UINT16_MAX) return -EINVAL;
    for (size_t i = 0; i < name.n; i++)
        if (!word(name.p[i]) || name.p[i] == '_' || name.p[i] == '-' ||
            (name.p[i] >= 'A' && name.p[i] <= 'Z'))
            return -EINVAL;
    char *p = evrt_buf_room(out, 4 + name.n + value.n);
    p[0] = (char)name.n;
    p[1] = kind;
    evrt_set_u16(p + 2, (uint16_t)value.n);
    memcpy(p + 4, name.p, name.n);
    if (value.n != 0) memcpy(p + 4 + name.n, value.p, value.n);
    out->n += 4 + name.n + value.n;
    return 0;
}

bool evrt_extensions_next(struct evrt_slice list, size_t *at, struct evrt_extension *out) {
    size_t left = list.n - *at;
    if (left < 4) return false;
    const char *p = list.p + *at;
    size_t name = (unsigned char)p[0], value = evrt_get_u16(p + 2);
    if (4 + name + value > left || name > EVRT_EXTENSION_NAME_MAX) return false;
    *out = (struct evrt_extension){{p + 4, name}, {p + 4 + name, value}, p[1]};
    *at += 4 + name + value;
    return true;
}

/* What a handler orders its events by: an attribute, an extension, or a place in JSON data. Two events have
 * the same key when the value is the same: a string whatever its escapes, anything else to the byte. An
 * event without the value, or with null, has no key and is not ordered. */
#include "host/node.h"

#include "core/event.h"
#include "core/hash.h"
#include "json/json.h"

static uint64_t key(const char *p, size_t n, unsigned kind) {
    uint64_t hash = evrt_hash64(p, n, kind);
    return hash == 0 ? 1 : hash;
}

static uint64_t key_of_text(struct evrt_slice text) {
    return text.n == 0 ? 0 : key(text.p, text.n, 's');
}

static uint64_t key_of_json(struct evrt_slice value) {
    if (value.n == 0 || evrt_slice_eq(value, EVRT_STR("null"))) return 0;
    if (value.p[0] != '"') return key(value.p, value.n, 'j');
    if (memchr(value.p, '\\', value.n) == NULL) return key(value.p + 1, value.n - 2, 's');
    struct evrt_buf text;
    evrt_buf_init(&text);
    evrt_json_unquote(value, &text);
    uint64_t hash = key(text.p, text.n, 's');
    evrt_buf_finish(&text);
    return hash;
}

static uint64_t key_of_extension(struct evrt_slice extensions, struct evrt_slice name) {
    struct evrt_extension x;
    for (size_t at = 0; evrt_extensions_next(extensions, &at, &x);)
        if (evrt_slice_eq(x.name, name)) return key_of_text(x.value);
    return 0;
}

uint64_t host_key_of(const char *ordered_by, struct evrt_slice event) {
    static const char data[] = "data.";
    static const struct {
        const char *name;
        enum evrt_event_field field;
    } attributes[] = {
        {"subject", EVRT_FIELD_SUBJECT},
        {"source", EVRT_FIELD_SOURCE},
        {"type", EVRT_FIELD_TYPE},
        {"id", EVRT_FIELD_ID},
        {"time", EVRT_FIELD_TIME},
        {"datacontenttype", EVRT_FIELD_DATACONTENTTYPE},
        {"dataschema", EVRT_FIELD_DATASCHEMA},
    };
    if (strncmp(ordered_by, data, sizeof data - 1) == 0) {
        struct evrt_event e;
        if (evrt_event_decode(event.p, event.n, &e) < 0 || !(e.flags & EVRT_EVENT_JSON)) return 0;
        return key_of_json(evrt_json_at(e.data, evrt_slice_of(ordered_by + sizeof data - 1)));
    }
    for (size_t i = 0; i < sizeof attributes / sizeof attributes[0]; i++)
        if (strcmp(ordered_by, attributes[i].name) == 0)
            return key_of_text(evrt_event_field(event.p, attributes[i].field));
    return key_of_extension(evrt_event_field(event.p, EVRT_FIELD_EXTENSIONS),
                            evrt_slice_of(ordered_by));
}

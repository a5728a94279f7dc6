/* Structured mode and batch, see envelope.h. `data` is kept as the bytes that stand in the body. */
#include <errno.h>
#include <stdlib.h>

#include "core/base64.h"
#include "core/error.h"
#include "http/envelope_internal.h"

static const char *const type_names[] = {
    [EVRT_JSON_NULL] = "null",     [EVRT_JSON_BOOL] = "a boolean", [EVRT_JSON_NUMBER] = "a number",
    [EVRT_JSON_STRING] = "a text", [EVRT_JSON_ARRAY] = "an array", [EVRT_JSON_OBJECT] = "an object",
};

static int wrong_type(const struct evrt_envelope *e, const struct evrt_json_member *m,
                      const char *expected, struct evrt_error *err) {
    return evrt_error_set(err, -EINVAL, "%.*s: expected %s, got %s at byte %zu",
                          (int)(m->key.n < 80 ? m->key.n : 80), m->key.p, expected,
                          type_names[m->info.type], (size_t)(m->value.p - e->json.p) + 1);
}

/* The text of a JSON string: borrowed when it has no escapes, else appended to e->text. */
static bool borrow(struct evrt_envelope *e, struct evrt_slice value, struct evrt_slice *out) {
    bool plain = memchr(value.p, '\\', value.n) == NULL;
    if (plain)
        *out = (struct evrt_slice){value.p + 1, value.n - 2};
    else
        evrt_json_unquote(value, &e->text);
    return plain;
}

static int take_attribute(struct evrt_envelope *e, int field, const struct evrt_json_member *m,
                          struct evrt_error *err) {
    if (m->info.type == EVRT_JSON_NULL) return 0; /* the format says: as if absent */
    if (m->info.type != EVRT_JSON_STRING) return wrong_type(e, m, "a text", err);
    size_t at = e->text.n;
    struct evrt_slice value;
    if (borrow(e, m->value, &value))
        evrt_envelope_set(e, field, value);
    else
        evrt_envelope_set_text(e, field, at);
    return 0;
}

/* CloudEvents' Integer: 32 bits, whole. */
static bool whole32(struct evrt_slice s) {
    int64_t v = 0;
    size_t i = s.n > 0 && s.p[0] == '-';
    for (; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        v = v * 10 + (s.p[i] - '0');
        if (v > (int64_t)INT32_MAX + (s.p[0] == '-')) return false;
    }
    return true;
}

static int take_extension(struct evrt_envelope *e, const struct evrt_json_member *m,
                          struct evrt_error *err) {
    struct evrt_slice value = m->value;
    size_t at = e->text.n;
    switch (m->info.type) {
    case EVRT_JSON_NULL: return 0;
    case EVRT_JSON_BOOL: return evrt_envelope_extend(e, m->key, 'b', value, err);
    case EVRT_JSON_NUMBER:
        if (!whole32(value)) return wrong_type(e, m, "a whole number of 32 bits", err);
        return evrt_envelope_extend(e, m->key, 'i', value, err);
    case EVRT_JSON_STRING:
        if (!borrow(e, m->value, &value))
            value = (struct evrt_slice){e->text.p + at, e->text.n - at};
        return evrt_envelope_extend(e, m->key, 's', value, err);
    default: return wrong_type(e, m, "a text, a whole number or a boolean", err);
    }
}

static int take_version(struct evrt_envelope *e, const struct evrt_json_member *m,
                        struct evrt_error *err) {
    if (m->info.type != EVRT_JSON_STRING) return wrong_type(e, m, "the text \"1.0\"", err);
    return evrt_envelope_version((struct evrt_slice){m->value.p + 1, m->value.n - 2}, err);
}

static int take_member(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct evrt_envelope *e = arg;
    bool base64 = evrt_slice_eq(m->key, EVRT_STR("data_base64"));
    if (base64 || evrt_slice_eq(m->key, EVRT_STR("data"))) {
        if (base64 && m->info.type == EVRT_JSON_NULL) return 0;
        if (base64 && m->info.type != EVRT_JSON_STRING)
            return wrong_type(e, m, "a text in base64", err);
        if (e->data.p != NULL)
            return evrt_error_set(err, -EINVAL, "data and data_base64 are both given");
        e->data = m->value;
        e->data_type = m->info.type;
        e->has_base64 = base64;
        return 0;
    }
    if (evrt_slice_eq(m->key, EVRT_STR("specversion"))) return take_version(e, m, err);
    int field = evrt_envelope_attribute(m->key);
    return field < 0 ? take_extension(e, m, err) : take_attribute(e, field, m, err);
}

static int take_base64(struct evrt_envelope *e, bool json, struct evrt_error *err) {
    size_t at = e->text.n, bad = 0;
    struct evrt_slice value;
    struct evrt_buf unescaped;
    evrt_buf_init(&unescaped);
    value = (struct evrt_slice){e->data.p + 1, e->data.n - 2};
    if (memchr(value.p, '\\', value.n) != NULL) {
        evrt_json_unquote(e->data, &unescaped);
        value = evrt_buf_slice(&unescaped);
    }
    int rc = evrt_base64_decode(value, &e->text, &bad);
    evrt_buf_finish(&unescaped);
    if (rc < 0)
        return evrt_error_set(err, -EINVAL, "data_base64: not base64 at character %zu of it",
                              bad + 1);
    evrt_envelope_set_text(e, EVRT_FIELD_DATA, at);
    e->event.flags |= EVRT_EVENT_BASE64;
    if (!json) return 0;
    struct evrt_error why;
    rc = evrt_json_check((struct evrt_slice){e->text.p + at, e->text.n - at}, NULL, &why);
    if (rc == 0) e->event.flags |= EVRT_EVENT_JSON;
    /* Without a datacontenttype, base64 may hold anything. */
    if (rc == 0 || !e->field[EVRT_FIELD_DATACONTENTTYPE].given) return 0;
    return evrt_error_set(err, -EINVAL, "data_base64: datacontenttype is JSON: %s", why.message);
}

/* Last, because datacontenttype may come after it. */
static int take_data(struct evrt_envelope *e, struct evrt_error *err) {
    if (e->data.p == NULL) return 0;
    bool json = evrt_envelope_json_data(e);
    if (e->has_base64) return take_base64(e, json, err);
    if (!json && e->data_type == EVRT_JSON_STRING) { /* the string's text is the data */
        size_t at = e->text.n;
        struct evrt_slice value;
        if (borrow(e, e->data, &value))
            evrt_envelope_set(e, EVRT_FIELD_DATA, value);
        else
            evrt_envelope_set_text(e, EVRT_FIELD_DATA, at);
        return 0;
    }
    evrt_envelope_set(e, EVRT_FIELD_DATA, e->data);
    if (json) e->event.flags |= EVRT_EVENT_JSON;
    return 0;
}

int evrt_envelope_structured(struct evrt_envelope *e, struct evrt_slice json,
                             struct evrt_error *err) {
    struct evrt_json_info info;
    evrt_envelope_begin(e, json);
    int rc = evrt_json_members(json, take_member, e, &info, err);
    if (rc < 0) return -EINVAL; /* also when nested too deep: a bad event to the caller */
    if (info.type != EVRT_JSON_OBJECT)
        return evrt_error_set(err, -EINVAL, "expected an event as a JSON object, got %s",
                              type_names[info.type]);
    rc = take_data(e, err);
    if (rc < 0) return rc;
    return evrt_envelope_end(e, err);
}

static int take_item(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct evrt_batch *b = arg;
    if (b->count == b->max)
        return evrt_error_set(err, -E2BIG, "a batch has at most %zu events (http.max_batch)",
                              b->max);
    b->items = evrt_grow(b->items, b->count, &b->cap, sizeof *b->items);
    b->items[b->count++] = *m;
    return 0;
}

int evrt_envelope_batch(struct evrt_batch *b, struct evrt_slice body, size_t max,
                        struct evrt_error *err) {
    struct evrt_json_info info;
    b->count = 0;
    b->max = max;
    int rc = evrt_json_members(body, take_item, b, &info, err);
    if (rc < 0) return rc;
    if (info.type != EVRT_JSON_ARRAY)
        return evrt_error_set(err, -EINVAL, "expected a batch as a JSON array of events, got %s",
                              type_names[info.type]);
    return 0;
}

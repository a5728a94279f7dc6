/* See envelope.h. What the three modes share: where attributes go, and what becomes of `data`. */
#include "http/envelope.h"

#include <errno.h>
#include <stdlib.h>

#include "core/error.h"
#include "http/envelope_internal.h"

void evrt_envelope_init(struct evrt_envelope *e) {
    memset(e, 0, sizeof *e);
}

void evrt_envelope_finish(struct evrt_envelope *e) {
    evrt_buf_finish(&e->text);
    evrt_buf_finish(&e->extensions);
}

void evrt_envelope_begin(struct evrt_envelope *e, struct evrt_slice json) {
    memset(&e->event, 0, sizeof e->event);
    memset(e->field, 0, sizeof e->field);
    evrt_buf_clear(&e->text);
    evrt_buf_clear(&e->extensions);
    e->json = json;
    e->data = (struct evrt_slice){NULL, 0};
    e->has_base64 = false;
}

/* The attributes that are fields of struct evrt_event. */
static const struct {
    const char *name;
    enum evrt_event_field field;
    size_t at;
} attributes[] = {
#define A(name, FIELD) \
    { #name, EVRT_FIELD_##FIELD, offsetof(struct evrt_event, name) }
    A(id, ID),
    A(type, TYPE),
    A(source, SOURCE),
    A(time, TIME),
    A(subject, SUBJECT),
    A(datacontenttype, DATACONTENTTYPE),
    A(dataschema, DATASCHEMA),
#undef A
};
#define ATTRIBUTES (sizeof attributes / sizeof attributes[0])

int evrt_envelope_attribute(struct evrt_slice name) {
    for (size_t i = 0; i < ATTRIBUTES; i++)
        if (evrt_slice_eq(name, evrt_slice_of(attributes[i].name))) return (int)attributes[i].field;
    return -ENOENT;
}

void evrt_envelope_set(struct evrt_envelope *e, int field, struct evrt_slice value) {
    e->field[field].p = value.p;
    e->field[field].n = value.n;
    e->field[field].given = true;
}

void evrt_envelope_set_text(struct evrt_envelope *e, int field, size_t at) {
    e->field[field].p = NULL;
    e->field[field].at = at;
    e->field[field].n = e->text.n - at;
    e->field[field].given = true;
}

int evrt_envelope_extend(struct evrt_envelope *e, struct evrt_slice name, char kind,
                         struct evrt_slice value, struct evrt_error *err) {
    if (evrt_extensions_add(&e->extensions, name, kind, value) == 0) return 0;
    return evrt_error_set(err, -EINVAL,
                          "%.*s: an extension's name is 1 to %d lower-case letters and digits, its "
                          "value at most %d bytes",
                          (int)(name.n < 80 ? name.n : 80), name.p, EVRT_EXTENSION_NAME_MAX,
                          EVRT_ATTRIBUTE_MAX);
}

int evrt_envelope_version(struct evrt_slice version, struct evrt_error *err) {
    if (evrt_slice_eq(version, EVRT_STR("1.0"))) return 0;
    return evrt_error_set(err, -EINVAL, "specversion: expected 1.0, got \"%.*s\"",
                          (int)(version.n < 32 ? version.n : 32), version.p);
}

static struct evrt_slice resolve(const struct evrt_envelope *e, int field) {
    if (!e->field[field].given) return (struct evrt_slice){NULL, 0};
    if (e->field[field].p != NULL) return (struct evrt_slice){e->field[field].p, e->field[field].n};
    return (struct evrt_slice){e->text.p + e->field[field].at, e->field[field].n};
}

int evrt_envelope_end(struct evrt_envelope *e, struct evrt_error *err) {
    for (size_t i = 0; i < ATTRIBUTES; i++) {
        int field = (int)attributes[i].field;
        if (e->field[field].given && e->field[field].n == 0)
            return evrt_error_set(err, -EINVAL, "%s: empty; give it a value, or leave it out",
                                  attributes[i].name);
        *(struct evrt_slice *)(void *)((char *)&e->event + attributes[i].at) = resolve(e, field);
    }
    e->event.extensions = evrt_buf_slice(&e->extensions);
    e->event.data = resolve(e, EVRT_FIELD_DATA);
    if (e->field[EVRT_FIELD_DATA].given) e->event.flags |= EVRT_EVENT_HAS_DATA;
    return 0;
}

bool evrt_envelope_json_data(const struct evrt_envelope *e) {
    struct evrt_slice type = resolve(e, EVRT_FIELD_DATACONTENTTYPE);
    return evrt_event_json_type(type);
}

static const char what_to_send[] =
    "send either Content-Type: application/cloudevents+json with the event as JSON "
    "({\"specversion\":\"1.0\",\"type\":...,\"source\":...,\"data\":...}), or the headers ce-type and "
    "ce-source with the data as the body";

static bool has_ce_header(const struct evrt_header *h, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (h[i].name.n > 3 && evrt_caseless_eq((struct evrt_slice){h[i].name.p, 3}, "ce-"))
            return true;
    return false;
}

int evrt_envelope_detect(const struct evrt_header *h, size_t n, enum evrt_envelope_mode *mode,
                         struct evrt_error *err) {
    static const char prefix[] = "application/cloudevents";
    struct evrt_media media = evrt_media_parse(evrt_headers_get(h, n, "content-type"));
    bool cloudevents =
        media.type.n >= sizeof prefix - 1 &&
        evrt_caseless_eq((struct evrt_slice){media.type.p, sizeof prefix - 1}, prefix);
    if (!cloudevents) {
        *mode = EVRT_ENVELOPE_BINARY;
        if (has_ce_header(h, n)) return 0;
        return evrt_error_set(err, -EMEDIUMTYPE, "not a CloudEvent: %s", what_to_send);
    }
    if (evrt_caseless_eq(media.type, "application/cloudevents+json"))
        *mode = EVRT_ENVELOPE_STRUCTURED;
    else if (evrt_caseless_eq(media.type, "application/cloudevents-batch+json"))
        *mode = EVRT_ENVELOPE_BATCH;
    else
        return evrt_error_set(err, -EMEDIUMTYPE,
                              "Content-Type: %.*s is not understood; of CloudEvents' formats only "
                              "application/cloudevents+json and application/cloudevents-batch+json",
                              (int)(media.type.n < 80 ? media.type.n : 80), media.type.p);
    if (media.charset.p != NULL && !evrt_caseless_eq(media.charset, "utf-8") &&
        !evrt_caseless_eq(media.charset, "us-ascii"))
        return evrt_error_set(err, -EMEDIUMTYPE, "Content-Type: JSON is UTF-8, not charset %.*s",
                              (int)(media.charset.n < 40 ? media.charset.n : 40), media.charset.p);
    return 0;
}

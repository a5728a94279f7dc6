/* See trace_otlp.h. Each span is packed by itself, in one room that all of them share; the request then holds
 * the packed spans (in otlp.proto they are bytes, which on the wire is the same). */
#include "telemetry/trace_otlp.h"

#include <assert.h>
#include <otlp.pb-c.h>
#include <stdlib.h>

#include "core/attributes.h"
#include "core/utf8.h"

#include "telemetry/trace_record.h"

enum { OWN_MAX = 16, ROOM = EVRT_ATTRIBUTES_MAX + OWN_MAX };

/* Names and values of one message that has attributes. */
struct attributes {
    size_t n, most, dropped;
    Otlp__KeyValue keys[ROOM];
    Otlp__AnyValue values[ROOM];
    Otlp__KeyValue *list[ROOM];
    struct evrt_buf *clean;
};

struct evrt_otlp {
    struct evrt_slice resource;
    struct attributes attributes, exception;
    struct evrt_buf packed;  /* spans, end to end */
    struct evrt_buf request; /* all of it */
    struct evrt_buf clean;   /* texts that were not UTF-8, made so; room for them is made before */
    ProtobufCBinaryData *spans;
    size_t spans_cap;
};

struct evrt_otlp *evrt_otlp_create(struct evrt_slice resource) {
    struct evrt_otlp *o = evrt_zalloc(sizeof *o);
    o->resource = resource;
    o->attributes.clean = o->exception.clean = &o->clean;
    return o;
}

void evrt_otlp_destroy(struct evrt_otlp *o) {
    if (o == NULL) return;
    struct evrt_buf *all[] = {&o->packed, &o->request, &o->clean};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        evrt_buf_finish(all[i]);
    free(o->spans);
    free(o);
}

/* ---- Values ---- */

static ProtobufCBinaryData data_of(struct evrt_slice s) {
    return (ProtobufCBinaryData){s.n, (uint8_t *)(uintptr_t)s.p};
}

/* A collector refuses a whole request for one string that is not UTF-8. */
static ProtobufCBinaryData text_of(struct evrt_buf *clean, struct evrt_slice s) {
    size_t good = evrt_utf8_check(s.p, s.n);
    if (good == s.n) return data_of(s);
    size_t from = clean->n;
    assert(clean->cap - from >= 3 * s.n); /* what was given out must not move */
    while (s.n > 0) {
        good = evrt_utf8_check(s.p, s.n);
        evrt_buf_put(clean, s.p, good);
        if (good == s.n) break;
        evrt_buf_puts(clean, "\xef\xbf\xbd");
        s.p += good + 1;
        s.n -= good + 1;
    }
    return data_of((struct evrt_slice){clean->p + from, clean->n - from});
}

static void begin_attributes(struct attributes *a, size_t most) {
    a->n = a->dropped = 0;
    a->most = most;
}

static void add_attribute(void *arg, const struct evrt_attribute *from) {
    struct attributes *a = arg;
    if (a->n == a->most) {
        a->dropped++;
        return;
    }
    Otlp__KeyValue *key = &a->keys[a->n];
    Otlp__AnyValue *value = &a->values[a->n];
    otlp__key_value__init(key);
    otlp__any_value__init(value);
    key->has_key = true;
    key->key = text_of(a->clean, from->name);
    key->value = value;
    switch (from->kind) {
    case EVRT_ATTRIBUTE_TEXT:
        value->value_case = OTLP__ANY_VALUE__VALUE_STRING_VALUE;
        value->string_value = text_of(a->clean, from->text);
        break;
    case EVRT_ATTRIBUTE_INTEGER:
        value->value_case = OTLP__ANY_VALUE__VALUE_INT_VALUE;
        value->int_value = from->v.i;
        break;
    case EVRT_ATTRIBUTE_DOUBLE:
        value->value_case = OTLP__ANY_VALUE__VALUE_DOUBLE_VALUE;
        value->double_value = from->v.d;
        break;
    case EVRT_ATTRIBUTE_BOOL:
        value->value_case = OTLP__ANY_VALUE__VALUE_BOOL_VALUE;
        value->bool_value = from->v.b;
        break;
    }
    a->list[a->n++] = key;
}

static void add_text(struct attributes *a, const char *name, struct evrt_slice text) {
    if (text.n == 0) return;
    add_attribute(a, &(struct evrt_attribute){
                         .kind = EVRT_ATTRIBUTE_TEXT, .name = evrt_slice_of(name), .text = text});
}

/* ---- Spans ---- */

struct ids {
    uint64_t trace[2], span, parent, link;
};

static uint64_t time_of(int64_t mono_ns, int64_t unix_ns) {
    return (uint64_t)(mono_ns + unix_ns);
}

/* An exception is an event of the span that failed. */
static void describe_failure(struct evrt_otlp *o, const struct evrt_span *s, Otlp__Event *event) {
    struct attributes *a = &o->exception;
    begin_attributes(a, OWN_MAX);
    add_text(a, "exception.type", s->error_type);
    add_text(a, "exception.message", s->message);
    add_text(a, "exception.stacktrace", s->stack);
    event->has_name = true;
    event->name = data_of(EVRT_STR("exception"));
    event->n_attributes = a->n;
    event->attributes = a->list;
}

static void fill_ids(const struct evrt_span *s, struct ids *ids, Otlp__Span *to) {
    *ids = (struct ids){{__builtin_bswap64(s->high), __builtin_bswap64(s->low)},
                        __builtin_bswap64(s->id),
                        __builtin_bswap64(s->parent),
                        __builtin_bswap64(s->link)};
    to->has_trace_id = to->has_span_id = true;
    to->trace_id = (ProtobufCBinaryData){16, (uint8_t *)ids->trace};
    to->span_id = (ProtobufCBinaryData){8, (uint8_t *)&ids->span};
    to->has_parent_span_id = s->parent != 0;
    to->parent_span_id = (ProtobufCBinaryData){8, (uint8_t *)&ids->parent};
    to->has_flags = true;
    to->flags = s->flags;
}

static void fill_status(struct evrt_otlp *o, const struct evrt_span *s, Otlp__Span *to,
                        Otlp__Status *status) {
    if (s->status == EVRT_SPAN_UNSET) return;
    status->has_code = true;
    status->code = s->status;
    if (s->status == EVRT_SPAN_ERROR && s->message.n != 0) {
        status->has_message = true;
        status->message = text_of(&o->clean, s->message);
    }
    to->status = status;
}

static void pack_span(struct evrt_otlp *o, const struct evrt_span *s, int64_t unix_ns) {
    Otlp__Span to = OTLP__SPAN__INIT;
    Otlp__Event event = OTLP__EVENT__INIT, *events[] = {&event};
    Otlp__Link link = OTLP__LINK__INIT, *links[] = {&link};
    Otlp__Status status = OTLP__STATUS__INIT;
    struct ids ids;
    fill_ids(s, &ids, &to);
    to.has_name = to.has_kind = true;
    to.name = text_of(&o->clean, evrt_span_name(s));
    to.kind = evrt_span_otlp_kind((enum evrt_span_kind)s->kind);
    to.has_trace_state = s->state.n != 0;
    to.trace_state = data_of(s->state);
    to.has_start_time_unix_nano = to.has_end_time_unix_nano = true;
    to.start_time_unix_nano = time_of(s->start_ns, unix_ns);
    to.end_time_unix_nano = time_of(s->end_ns, unix_ns);
    begin_attributes(&o->attributes, ROOM);
    evrt_span_attributes(s, add_attribute, &o->attributes);
    to.n_attributes = o->attributes.n;
    to.attributes = o->attributes.list;
    to.has_dropped_attributes_count = o->attributes.dropped != 0;
    to.dropped_attributes_count = (uint32_t)o->attributes.dropped;
    fill_status(o, s, &to, &status);
    if (s->status == EVRT_SPAN_ERROR && s->error_type.n + s->message.n != 0) {
        describe_failure(o, s, &event);
        event.has_time_unix_nano = true;
        event.time_unix_nano = to.end_time_unix_nano;
        to.n_events = 1;
        to.events = events;
    }
    if (s->link != 0) {
        link.has_trace_id = link.has_span_id = true;
        link.trace_id = to.trace_id;
        link.span_id = (ProtobufCBinaryData){8, (uint8_t *)&ids.link};
        to.n_links = 1;
        to.links = links;
    }
    size_t n = otlp__span__get_packed_size(&to);
    o->packed.n += otlp__span__pack(&to, (uint8_t *)evrt_buf_room(&o->packed, n));
}

/* ---- Requests ---- */

static void pack_request(struct evrt_otlp *o, size_t spans) {
    Otlp__ExportRequest request = OTLP__EXPORT_REQUEST__INIT;
    Otlp__ResourceSpans of_resource = OTLP__RESOURCE_SPANS__INIT, *all = &of_resource;
    Otlp__ScopeSpans of_scope = OTLP__SCOPE_SPANS__INIT, *scopes = &of_scope;
    Otlp__Resource resource = OTLP__RESOURCE__INIT;
    Otlp__Scope scope = OTLP__SCOPE__INIT;
    struct evrt_attribute a;
    begin_attributes(&o->attributes, ROOM);
    for (size_t at = 0; evrt_attributes_next(o->resource, &at, &a);)
        add_attribute(&o->attributes, &a);
    resource.n_attributes = o->attributes.n;
    resource.attributes = o->attributes.list;
    scope.has_name = scope.has_version = true;
    scope.name = data_of(EVRT_STR("evrt"));
    scope.version = data_of(evrt_slice_of(EVRT_VERSION));
    of_scope.scope = &scope;
    of_scope.n_spans = spans;
    of_scope.spans = o->spans;
    of_resource.resource = &resource;
    of_resource.n_scope_spans = 1;
    of_resource.scope_spans = &scopes;
    request.n_resource_spans = 1;
    request.resource_spans = &all;
    size_t n = otlp__export_request__get_packed_size(&request);
    evrt_buf_clear(&o->request);
    o->request.n = otlp__export_request__pack(&request, (uint8_t *)evrt_buf_room(&o->request, n));
}

struct evrt_slice evrt_otlp_encode(struct evrt_otlp *o, struct evrt_slice records, size_t spans,
                                   int64_t unix_ns) {
    struct evrt_span s;
    size_t n = 0;
    if (spans > o->spans_cap) {
        o->spans_cap = spans;
        o->spans = evrt_realloc(o->spans, spans * sizeof *o->spans);
    }
    evrt_buf_clear(&o->packed);
    for (size_t at = 0, from = 0; n < spans; from = at, n++) {
        if (!evrt_span_next(records, &at, &s)) break;
        size_t begun = o->packed.n;
        evrt_buf_clear(&o->clean);
        evrt_buf_room(&o->clean, 4 * 3 * (at - from)); /* a text may be shown more than once */
        pack_span(o, &s, unix_ns);
        o->spans[n].len = o->packed.n - begun;
    }
    for (size_t i = 0, at = 0; i < n; at += o->spans[i++].len) /* it does not move any more */
        o->spans[i].data = (uint8_t *)o->packed.p + at;
    evrt_buf_room(&o->clean, 3 * o->resource.n);
    pack_request(o, n);
    return evrt_buf_slice(&o->request);
}

uint64_t evrt_otlp_rejected(struct evrt_slice answer, struct evrt_buf *why) {
    Otlp__ExportResponse *r =
        otlp__export_response__unpack(NULL, answer.n, (const uint8_t *)answer.p);
    if (r == NULL) return 0;
    const Otlp__PartialSuccess *p = r->partial_success;
    int64_t rejected = p != NULL && p->has_rejected_spans ? p->rejected_spans : 0;
    if (p != NULL && p->has_error_message)
        evrt_buf_put(why, p->error_message.data, p->error_message.len);
    otlp__export_response__free_unpacked(r, NULL);
    return rejected > 0 ? (uint64_t)rejected : 0;
}

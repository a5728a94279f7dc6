/* See trace_otlp.h. OTLP (opentelemetry-proto v1) is written straight from the records, in the order of the
 * schema's fields; what would be its generated structures costs three times as much to fill and to measure as to
 * write. Tags have the schema's names and numbers.
 *
 * What spans of one kind, type, source and handler have in common is written once and copied.
 *
 *     room for the head │ span │ span │ ...        resource, scope: packed once
 *               └ head, once the spans' length is known: request, resource, scope, right before the first span */
#include "telemetry/trace_otlp.h"

#include <assert.h>
#include <stdlib.h>

#include "core/attributes.h"
#include "core/utf8.h"
#include "core/varint.h"

#include "telemetry/protobuf.h"
#include "telemetry/trace_record.h"

enum { OWN_MAX = 16, ROOM = EVRT_ATTRIBUTES_MAX + OWN_MAX };

enum {
    REQUEST_RESOURCE_SPANS = EVRT_PB_MESSAGE(1),
    RESOURCE_SPANS_RESOURCE = EVRT_PB_MESSAGE(1),
    RESOURCE_SPANS_SCOPE_SPANS = EVRT_PB_MESSAGE(2),
    RESOURCE_ATTRIBUTES = EVRT_PB_MESSAGE(1),
    SCOPE_SPANS_SCOPE = EVRT_PB_MESSAGE(1),
    SCOPE_SPANS_SPANS = EVRT_PB_MESSAGE(2),
    SCOPE_NAME = EVRT_PB_TAG(1, EVRT_PB_BYTES),
    SCOPE_VERSION = EVRT_PB_TAG(2, EVRT_PB_BYTES),
    SPAN_TRACE_ID = EVRT_PB_TAG(1, EVRT_PB_BYTES),
    SPAN_SPAN_ID = EVRT_PB_TAG(2, EVRT_PB_BYTES),
    SPAN_TRACE_STATE = EVRT_PB_TAG(3, EVRT_PB_BYTES),
    SPAN_PARENT_SPAN_ID = EVRT_PB_TAG(4, EVRT_PB_BYTES),
    SPAN_NAME = EVRT_PB_TAG(5, EVRT_PB_BYTES),
    SPAN_KIND = EVRT_PB_TAG(6, EVRT_PB_VARINT),
    SPAN_START = EVRT_PB_TAG(7, EVRT_PB_FIXED64),
    SPAN_END = EVRT_PB_TAG(8, EVRT_PB_FIXED64),
    SPAN_ATTRIBUTES = EVRT_PB_MESSAGE(9),
    SPAN_DROPPED_ATTRIBUTES = EVRT_PB_TAG(10, EVRT_PB_VARINT),
    SPAN_EVENTS = EVRT_PB_MESSAGE(11),
    SPAN_LINKS = EVRT_PB_MESSAGE(13),
    SPAN_STATUS = EVRT_PB_MESSAGE(15),
    SPAN_FLAGS = EVRT_PB_TAG(16, EVRT_PB_FIXED32),
    EVENT_TIME = EVRT_PB_TAG(1, EVRT_PB_FIXED64),
    EVENT_NAME = EVRT_PB_TAG(2, EVRT_PB_BYTES),
    EVENT_ATTRIBUTES = EVRT_PB_MESSAGE(3),
    LINK_TRACE_ID = EVRT_PB_TAG(1, EVRT_PB_BYTES),
    LINK_SPAN_ID = EVRT_PB_TAG(2, EVRT_PB_BYTES),
    STATUS_MESSAGE = EVRT_PB_TAG(2, EVRT_PB_BYTES),
    STATUS_CODE = EVRT_PB_TAG(3, EVRT_PB_VARINT),
    PAIR_KEY = EVRT_PB_TAG(1, EVRT_PB_BYTES),
    PAIR_VALUE = EVRT_PB_MESSAGE(2),
    VALUE_STRING = EVRT_PB_TAG(1, EVRT_PB_BYTES),
    VALUE_BOOL = EVRT_PB_TAG(2, EVRT_PB_VARINT),
    VALUE_INT = EVRT_PB_TAG(3, EVRT_PB_VARINT),
    VALUE_DOUBLE = EVRT_PB_TAG(4, EVRT_PB_FIXED64),
    RESPONSE_PARTIAL_SUCCESS = EVRT_PB_MESSAGE(1),
    PARTIAL_REJECTED_SPANS = EVRT_PB_TAG(1, EVRT_PB_VARINT),
    PARTIAL_ERROR_MESSAGE = EVRT_PB_TAG(2, EVRT_PB_BYTES),
};

/* What a span takes at most: each byte of a record is shown twice at most, by three where it is not UTF-8; no
 * attribute takes more than 24 bytes beside its texts, and evrt's own names are short. */
enum { SPAN_ROOM = 2048, TIMES_ROOM = 6 };

/* Fields of a span that others have, too: name and kind; behind `named` the shared attributes. */
struct shared {
    struct evrt_buf of; /* type, source and handler, end to end: whose they are */
    size_t type_n, source_n;
    uint8_t kind;
    struct evrt_buf fields; /* empty: unused */
    size_t named, attributes;
};

enum { SHARED_BITS = 7, SHARED = 1 << SHARED_BITS };

struct evrt_otlp {
    struct evrt_buf resource, scope; /* with tag and length */
    struct shared shared[SHARED];    /* found by hash; the last one that came has the place */
    struct shared other;             /* of a span that nothing is kept of */
    struct evrt_buf request;
    struct evrt_buf clean; /* texts that were not UTF-8, made so; room for them is made before */
};

/* ---- Values ---- */

/* A collector refuses a whole request for one string that is not UTF-8. */
static struct evrt_slice text_of(struct evrt_buf *clean, struct evrt_slice s) {
    size_t good = evrt_utf8_check(s.p, s.n);
    if (good == s.n) return s;
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
    return (struct evrt_slice){clean->p + from, clean->n - from};
}

/* Attributes of one message, as they are written. */
struct attributes {
    struct evrt_buf *clean;
    char *p;
    unsigned tag;
    size_t n, dropped;
};

static char *put_value(char *p, const struct evrt_attribute *a, struct evrt_slice text) {
    switch (a->kind) {
    case EVRT_ATTRIBUTE_TEXT: return evrt_pb_bytes(p, VALUE_STRING, text);
    case EVRT_ATTRIBUTE_INTEGER: return evrt_pb_number(p, VALUE_INT, (uint64_t)a->v.i);
    case EVRT_ATTRIBUTE_BOOL: return evrt_pb_number(p, VALUE_BOOL, a->v.b);
    case EVRT_ATTRIBUTE_DOUBLE: break;
    }
    uint64_t bits;
    memcpy(&bits, &a->v.d, sizeof bits);
    return evrt_pb_fixed64(p, VALUE_DOUBLE, bits);
}

static size_t value_size(const struct evrt_attribute *a, size_t text) {
    switch (a->kind) {
    case EVRT_ATTRIBUTE_TEXT: return 1 + evrt_pb_varint_size(text) + text;
    case EVRT_ATTRIBUTE_INTEGER: return 1 + evrt_pb_varint_size((uint64_t)a->v.i);
    case EVRT_ATTRIBUTE_BOOL: return 1 + 1;
    case EVRT_ATTRIBUTE_DOUBLE: break;
    }
    return 1 + sizeof(double);
}

static void add_attribute(void *arg, const struct evrt_attribute *a) {
    struct attributes *to = arg;
    if (to->n == ROOM) {
        to->dropped++;
        return;
    }
    to->n++;
    struct evrt_slice name = a->own ? a->name : text_of(to->clean, a->name), text = {NULL, 0};
    if (a->kind == EVRT_ATTRIBUTE_TEXT) text = text_of(to->clean, a->text);
    size_t value = value_size(a, text.n);
    size_t pair = 2 + evrt_pb_varint_size(name.n) + name.n + evrt_pb_varint_size(value) + value;
    char *p = evrt_pb_number(to->p, to->tag, pair);
    p = evrt_pb_bytes(p, PAIR_KEY, name);
    to->p = put_value(evrt_pb_number(p, PAIR_VALUE, value), a, text);
}

static void add_text(struct attributes *a, struct evrt_slice name, struct evrt_slice text) {
    if (text.n == 0) return;
    add_attribute(a, &(struct evrt_attribute){
                         .kind = EVRT_ATTRIBUTE_TEXT, .own = true, .name = name, .text = text});
}

/* ---- Made once ---- */

static void pack_resource(struct evrt_otlp *o, struct evrt_slice from) {
    struct evrt_attribute a;
    evrt_buf_room(&o->clean, 3 * from.n);
    char *open = evrt_buf_room(&o->resource, SPAN_ROOM + TIMES_ROOM * from.n);
    struct attributes to = {&o->clean, evrt_pb_open(open), RESOURCE_ATTRIBUTES, 0, 0};
    for (size_t at = 0; evrt_attributes_next(from, &at, &a);)
        add_attribute(&to, &a);
    o->resource.n += (size_t)(evrt_pb_close(open, to.p, RESOURCE_SPANS_RESOURCE) - open);
}

static void pack_scope(struct evrt_otlp *o) {
    char *open = evrt_buf_room(&o->scope, SPAN_ROOM), *p = evrt_pb_open(open);
    p = evrt_pb_bytes(p, SCOPE_NAME, EVRT_STR("evrt"));
    p = evrt_pb_bytes(p, SCOPE_VERSION, evrt_slice_of(EVRT_VERSION));
    o->scope.n += (size_t)(evrt_pb_close(open, p, SCOPE_SPANS_SCOPE) - open);
}

struct evrt_otlp *evrt_otlp_create(struct evrt_slice resource) {
    struct evrt_otlp *o = evrt_zalloc(sizeof *o);
    pack_resource(o, resource);
    pack_scope(o);
    return o;
}

static void shared_finish(struct shared *k) {
    evrt_buf_finish(&k->of);
    evrt_buf_finish(&k->fields);
}

void evrt_otlp_destroy(struct evrt_otlp *o) {
    if (o == NULL) return;
    struct evrt_buf *const all[] = {&o->resource, &o->scope, &o->request, &o->clean};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        evrt_buf_finish(all[i]);
    for (size_t i = 0; i < SHARED; i++)
        shared_finish(&o->shared[i]);
    shared_finish(&o->other);
    free(o);
}

/* ---- Shared ---- */

/* The end of a name tells names apart best. */
static uint64_t tail(struct evrt_slice s) {
    uint64_t x = s.n;
    size_t n = s.n < sizeof x ? s.n : sizeof x;
    if (n != 0) memcpy(&x, s.p + s.n - n, n);
    return x;
}

static struct shared *place_of(struct evrt_otlp *o, const struct evrt_span *s) {
    uint64_t x = tail(s->type) ^ tail(s->source) << 1 ^ tail(s->handler) << 2 ^ s->kind;
    return &o->shared[(x * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - SHARED_BITS)];
}

static bool is_of(const struct shared *k, const struct evrt_span *s) {
    size_t n = s->type.n + s->source.n + s->handler.n;
    if (k->fields.n == 0 || k->kind != s->kind || k->of.n != n) return false;
    if (k->type_n != s->type.n || k->source_n != s->source.n) return false;
    const char *p = k->of.p;
    return evrt_slice_eq((struct evrt_slice){p, s->type.n}, s->type) &&
           evrt_slice_eq((struct evrt_slice){p + s->type.n, s->source.n}, s->source) &&
           evrt_slice_eq((struct evrt_slice){p + n - s->handler.n, s->handler.n}, s->handler);
}

static void pack_shared(struct evrt_otlp *o, struct shared *k, const struct evrt_span *s) {
    const struct evrt_slice of[] = {s->type, s->source, s->handler};
    evrt_buf_clear(&k->of);
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++)
        evrt_buf_put(&k->of, of[i].p, of[i].n);
    k->kind = s->kind;
    k->type_n = s->type.n;
    k->source_n = s->source.n;
    struct evrt_slice name = evrt_span_name(s);
    evrt_buf_clear(&k->fields);
    char *from = evrt_buf_room(&k->fields, SPAN_ROOM + TIMES_ROOM * (k->of.n + name.n)), *p = from;
    p = evrt_pb_bytes(p, SPAN_NAME, text_of(&o->clean, name));
    p = evrt_pb_number(p, SPAN_KIND, (uint64_t)evrt_span_otlp_kind((enum evrt_span_kind)s->kind));
    k->named = (size_t)(p - from);
    struct attributes a = {&o->clean, p, SPAN_ATTRIBUTES, 0, 0};
    evrt_span_shared_attributes(s, add_attribute, &a);
    k->attributes = a.n;
    k->fields.n = (size_t)(a.p - from);
}

/* Texts that are long are seldom the same, and not worth keeping. */
static const struct shared *shared_of(struct evrt_otlp *o, const struct evrt_span *s) {
    enum { KEPT_MAX = 512 };
    bool kept = s->kind != EVRT_SPAN_SCRIPT && s->type.n + s->source.n + s->handler.n <= KEPT_MAX;
    struct shared *k = kept ? place_of(o, s) : &o->other;
    if (!kept || !is_of(k, s)) pack_shared(o, k, s);
    return k;
}

/* ---- Spans ---- */

static char *put_id(char *p, unsigned tag, uint64_t id) {
    uint64_t wire = __builtin_bswap64(id);
    return evrt_pb_bytes(p, tag, (struct evrt_slice){(const char *)&wire, sizeof wire});
}

static char *put_trace_id(char *p, unsigned tag, const struct evrt_span *s) {
    uint64_t wire[] = {__builtin_bswap64(s->high), __builtin_bswap64(s->low)};
    return evrt_pb_bytes(p, tag, (struct evrt_slice){(const char *)wire, sizeof wire});
}

/* An exception is an event of the span that failed. */
static char *put_failure(struct evrt_otlp *o, char *open, const struct evrt_span *s, uint64_t end) {
    char *p = evrt_pb_fixed64(evrt_pb_open(open), EVENT_TIME, end);
    p = evrt_pb_bytes(p, EVENT_NAME, EVRT_STR("exception"));
    struct attributes a = {&o->clean, p, EVENT_ATTRIBUTES, 0, 0};
    add_text(&a, EVRT_STR("exception.type"), s->error_type);
    add_text(&a, EVRT_STR("exception.message"), s->message);
    add_text(&a, EVRT_STR("exception.stacktrace"), s->stack);
    return evrt_pb_close(open, a.p, SPAN_EVENTS);
}

static char *put_link(char *open, const struct evrt_span *s) {
    char *p = put_trace_id(evrt_pb_open(open), LINK_TRACE_ID, s);
    return evrt_pb_close(open, put_id(p, LINK_SPAN_ID, s->link), SPAN_LINKS);
}

static char *put_status(struct evrt_otlp *o, char *open, const struct evrt_span *s) {
    if (s->status != EVRT_SPAN_ERROR || s->message.n == 0)
        return evrt_pb_number(evrt_pb_number(open, SPAN_STATUS, 2), STATUS_CODE, s->status);
    char *p = evrt_pb_bytes(evrt_pb_open(open), STATUS_MESSAGE, text_of(&o->clean, s->message));
    return evrt_pb_close(open, evrt_pb_number(p, STATUS_CODE, s->status), SPAN_STATUS);
}

static char *put_span(struct evrt_otlp *o, char *open, const struct evrt_span *s, int64_t unix_ns) {
    const struct shared *shared = shared_of(o, s);
    uint64_t end = (uint64_t)(s->end_ns + unix_ns);
    char *p = put_trace_id(evrt_pb_open(open), SPAN_TRACE_ID, s);
    p = put_id(p, SPAN_SPAN_ID, s->id);
    if (s->state.n != 0) p = evrt_pb_bytes(p, SPAN_TRACE_STATE, s->state);
    if (s->parent != 0) p = put_id(p, SPAN_PARENT_SPAN_ID, s->parent);
    p = evrt_pb_raw(p, shared->fields.p, shared->named);
    p = evrt_pb_fixed64(p, SPAN_START, (uint64_t)(s->start_ns + unix_ns));
    p = evrt_pb_fixed64(p, SPAN_END, end);
    p = evrt_pb_raw(p, shared->fields.p + shared->named, shared->fields.n - shared->named);
    struct attributes a = {&o->clean, p, SPAN_ATTRIBUTES, shared->attributes, 0};
    evrt_span_own_attributes(s, add_attribute, &a);
    p = a.p;
    if (a.dropped != 0) p = evrt_pb_number(p, SPAN_DROPPED_ATTRIBUTES, a.dropped);
    if (s->status == EVRT_SPAN_ERROR && s->error_type.n + s->message.n != 0)
        p = put_failure(o, p, s, end);
    if (s->link != 0) p = put_link(p, s);
    if (s->status != EVRT_SPAN_UNSET) p = put_status(o, p, s);
    p = evrt_pb_fixed32(p, SPAN_FLAGS, s->flags);
    return evrt_pb_close(open, p, SCOPE_SPANS_SPANS);
}

/* ---- Requests ---- */

/* Before the spans, which begin at `from`. Returns where it begins itself. */
static size_t put_head(struct evrt_otlp *o, size_t from) {
    size_t scope_spans = o->scope.n + o->request.n - from;
    size_t resource_spans = o->resource.n + 1 + evrt_pb_varint_size(scope_spans) + scope_spans;
    size_t head = 1 + evrt_pb_varint_size(resource_spans) + resource_spans - (o->request.n - from);
    char *p = o->request.p + from - head;
    p = evrt_pb_number(p, REQUEST_RESOURCE_SPANS, resource_spans);
    p = evrt_pb_raw(p, o->resource.p, o->resource.n);
    p = evrt_pb_number(p, RESOURCE_SPANS_SCOPE_SPANS, scope_spans);
    p = evrt_pb_raw(p, o->scope.p, o->scope.n);
    assert(p == o->request.p + from);
    return from - head;
}

/* `n`: bytes of its record. */
static void add_span(struct evrt_otlp *o, const struct evrt_span *s, size_t n, int64_t unix_ns) {
    evrt_buf_clear(&o->clean);
    evrt_buf_room(&o->clean, 4 * 3 * n); /* a text may be shown more than once */
    char *p = evrt_buf_room(&o->request, SPAN_ROOM + TIMES_ROOM * n);
    o->request.n += (size_t)(put_span(o, p, s, unix_ns) - p);
}

struct evrt_slice evrt_otlp_encode(struct evrt_otlp *o, struct evrt_slice records,
                                   int64_t unix_ns) {
    struct evrt_span s;
    size_t from = 2 * (size_t)EVRT_PB_HEAD_MAX + o->resource.n + o->scope.n;
    evrt_buf_clear(&o->request);
    evrt_buf_room(&o->request, from);
    o->request.n = from;
    for (size_t at = 0, record = 0; evrt_span_next(records, &at, &s); record = at) {
        add_span(o, &s, at - record, unix_ns);
        if (!s.stores) continue;
        struct evrt_span store = evrt_span_store(&s);
        add_span(o, &store, at - record, unix_ns);
    }
    size_t begin = put_head(o, from);
    return (struct evrt_slice){o->request.p + begin, o->request.n - begin};
}

/* ---- Answers ---- */

/* One field: its tag, and what it holds: number or bytes. false: the end, or in->bad. */
static bool next_field(struct evrt_varint_input *in, uint64_t *tag, uint64_t *number,
                       struct evrt_slice *bytes) {
    static const size_t fixed[] = {[EVRT_PB_FIXED64] = 8, [EVRT_PB_FIXED32] = 4};
    if (in->bad || in->at == in->s.n) return false;
    *tag = evrt_varint_get(in);
    unsigned type = *tag & 7;
    if (type == EVRT_PB_VARINT) {
        *number = evrt_varint_get(in);
    } else if (type == EVRT_PB_BYTES) {
        *bytes = evrt_varint_get_slice(in);
    } else if (type == EVRT_PB_FIXED64 || type == EVRT_PB_FIXED32) {
        if (in->s.n - in->at < fixed[type]) in->bad = 1;
        in->at += fixed[type];
    } else {
        in->bad = 1;
    }
    return !in->bad;
}

uint64_t evrt_otlp_rejected(struct evrt_slice answer, struct evrt_buf *why) {
    struct evrt_varint_input in = {.s = answer};
    struct evrt_slice partial = {NULL, 0}, bytes = partial, text = partial;
    uint64_t tag = 0, number = 0, rejected = 0;
    while (next_field(&in, &tag, &number, &bytes))
        if (tag == RESPONSE_PARTIAL_SUCCESS) partial = bytes;
    struct evrt_varint_input of = {.s = partial};
    while (next_field(&of, &tag, &number, &bytes)) {
        if (tag == PARTIAL_REJECTED_SPANS) rejected = number;
        if (tag == PARTIAL_ERROR_MESSAGE) text = bytes;
    }
    if (in.bad || of.bad) return 0;
    evrt_buf_put(why, text.p, text.n);
    return (int64_t)rejected > 0 ? rejected : 0;
}

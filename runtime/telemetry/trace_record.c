/* See trace_record.h. The numbers of a span are copied as they stand; behind them come the lengths of its texts
 * and their bytes. */
#include "telemetry/trace_record.h"

#include "core/attributes.h"
#include "core/utf8.h"

#define X(member) +1
enum { TEXTS = 0 EVRT_SPAN_TEXTS(X) };
#undef X

struct header {
    uint32_t size;
    uint16_t length[TEXTS];
};

#define NUMBERS offsetof(struct evrt_span, type)

/* A text too long loses its end; attributes, which have their own limits, are left out. */
static size_t length_of(struct evrt_slice s) {
    return s.n <= EVRT_SPAN_TEXT_MAX ? s.n : evrt_utf8_cut(s, EVRT_SPAN_TEXT_MAX).n;
}

void evrt_span_put(struct evrt_buf *out, const struct evrt_span *s) {
    struct header h;
    size_t n = sizeof h + NUMBERS, i = 0;
#define X(member) n += h.length[i++] = (uint16_t)length_of(s->member);
    EVRT_SPAN_TEXTS(X)
#undef X
    h.size = (uint32_t)n;
    char *p = evrt_buf_room(out, n);
    memcpy(p, &h, sizeof h);
    memcpy(p + sizeof h, s, NUMBERS);
    p += sizeof h + NUMBERS;
    i = 0;
#define X(member)                                              \
    if (h.length[i] != 0) memcpy(p, s->member.p, h.length[i]); \
    p += h.length[i++];
    EVRT_SPAN_TEXTS(X)
#undef X
    out->n += n;
}

bool evrt_span_next(struct evrt_slice records, size_t *at, struct evrt_span *s) {
    struct header h;
    if (*at >= records.n) return false;
    const char *p = records.p + *at;
    memcpy(&h, p, sizeof h);
    memcpy(s, p + sizeof h, NUMBERS);
    p += sizeof h + NUMBERS;
    size_t i = 0;
#define X(member)                                    \
    s->member = (struct evrt_slice){p, h.length[i]}; \
    if (h.length[i] == 0) s->member.p = NULL;        \
    p += h.length[i++];
    EVRT_SPAN_TEXTS(X)
#undef X
    *at += h.size;
    return true;
}

struct evrt_span evrt_span_store(const struct evrt_span *publish) {
    struct evrt_span s = *publish;
    s.kind = EVRT_SPAN_STORE;
    s.stores = false;
    s.parent = publish->id;
    s.id = publish->id * 0x9e3779b97f4a7c15u | 1;
    s.source = s.event_id = (struct evrt_slice){NULL, 0};
    return s;
}

static const struct {
    const char *name;
    int otlp_kind;
} spans[] = {
#define X(id, name, kind, help) {name, kind},
    EVRT_SPANS(X)
#undef X
};

struct evrt_slice evrt_span_name(const struct evrt_span *s) {
    return s->kind == EVRT_SPAN_SCRIPT ? s->name : evrt_slice_of(spans[s->kind].name);
}

int evrt_span_otlp_kind(enum evrt_span_kind kind) {
    return spans[kind].otlp_kind;
}

/* ---- Attributes ---- */

struct teller {
    evrt_span_attribute_cb each;
    void *arg;
};

static void text(const struct teller *t, struct evrt_slice name, struct evrt_slice s) {
    if (s.n == 0) return;
    t->each(t->arg, &(struct evrt_attribute){
                        .kind = EVRT_ATTRIBUTE_TEXT, .own = true, .name = name, .text = s});
}

static void number(const struct teller *t, struct evrt_slice name, int64_t v) {
    t->each(t->arg, &(struct evrt_attribute){
                        .kind = EVRT_ATTRIBUTE_INTEGER, .own = true, .name = name, .v.i = v});
}

static bool is_message(const struct evrt_span *s) {
    return s->kind == EVRT_SPAN_PUBLISH || s->kind == EVRT_SPAN_HANDLE;
}

static void messaging(const struct teller *t, const struct evrt_span *s) {
    bool out = s->kind == EVRT_SPAN_PUBLISH;
    text(t, EVRT_STR("messaging.system"), EVRT_STR("evrt"));
    text(t, EVRT_STR("messaging.operation.name"), out ? EVRT_STR("publish") : EVRT_STR("handle"));
    text(t, EVRT_STR("messaging.operation.type"), out ? EVRT_STR("send") : EVRT_STR("process"));
    text(t, EVRT_STR("messaging.destination.name"), s->type);
    text(t, EVRT_STR("messaging.consumer.group.name"), s->handler);
}

static void http(const struct teller *t) {
    text(t, EVRT_STR("http.request.method"), EVRT_STR("POST"));
    text(t, EVRT_STR("http.route"), EVRT_STR("/events"));
    text(t, EVRT_STR("url.path"), EVRT_STR("/events"));
    text(t, EVRT_STR("url.scheme"), EVRT_STR("http"));
}

void evrt_span_shared_attributes(const struct evrt_span *s, evrt_span_attribute_cb each,
                                 void *arg) {
    const struct teller t = {each, arg};
    text(&t, EVRT_STR("event.type"), s->type);
    text(&t, EVRT_STR("event.source"), s->source);
    text(&t, EVRT_STR("handler.name"), s->handler);
    if (is_message(s)) messaging(&t, s);
    if (s->kind == EVRT_SPAN_SERVER) http(&t);
}

static void of_request(const struct teller *t, const struct evrt_span *s) {
    number(t, EVRT_STR("http.response.status_code"), s->number);
    text(t, EVRT_STR("client.address"), s->name);
}

static void of_script(const struct teller *t, const struct evrt_span *s) {
    struct evrt_attribute a;
    for (size_t at = 0; evrt_attributes_next(s->attributes, &at, &a);)
        if (s->status != EVRT_SPAN_ERROR || !evrt_slice_eq(a.name, EVRT_STR("error.type")))
            t->each(t->arg, &a);
}

void evrt_span_own_attributes(const struct evrt_span *s, evrt_span_attribute_cb each, void *arg) {
    const struct teller t = {each, arg};
    if (is_message(s)) text(&t, EVRT_STR("messaging.message.id"), s->event_id);
    switch ((enum evrt_span_kind)s->kind) {
    case EVRT_SPAN_HANDLE: number(&t, EVRT_STR("event.attempt"), s->number); break;
    case EVRT_SPAN_RETRY: number(&t, EVRT_STR("retry.attempt"), (int64_t)s->number - 1); break;
    case EVRT_SPAN_SERVER: of_request(&t, s); break;
    case EVRT_SPAN_SCRIPT: of_script(&t, s); break;
    default: break;
    }
    if (s->seq != 0) number(&t, EVRT_STR("event.seq"), (int64_t)s->seq);
    if (s->status == EVRT_SPAN_ERROR) text(&t, EVRT_STR("error.type"), s->error_type);
}

/* See trace_json.h. */
#include "telemetry/trace_json.h"

#include "core/attributes.h"
#include "core/jsonout.h"
#include "telemetry/trace_record.h"

static void put_attribute(void *arg, const struct evrt_attribute *a) {
    struct evrt_jsonout *o = arg;
    char name[EVRT_ATTRIBUTE_NAME_MAX + 1];
    memcpy(name, a->name.p, a->name.n);
    name[a->name.n] = '\0';
    evrt_jsonout_key(o, name);
    switch (a->kind) {
    case EVRT_ATTRIBUTE_TEXT: evrt_jsonout_str(o, a->text); break;
    case EVRT_ATTRIBUTE_INTEGER: evrt_jsonout_i64(o, a->v.i); break;
    case EVRT_ATTRIBUTE_DOUBLE: evrt_jsonout_double(o, a->v.d); break;
    case EVRT_ATTRIBUTE_BOOL: evrt_jsonout_bool(o, a->v.b); break;
    }
}

static void put_ids(struct evrt_jsonout *o, const struct evrt_span *s) {
    char trace[EVRT_TRACE_ID_SIZE], id[EVRT_SPAN_ID_SIZE];
    evrt_jsonout_put_cstr(o, "trace_id", evrt_trace_id_format(s->high, s->low, trace));
    evrt_jsonout_put_cstr(o, "span_id", evrt_span_id_format(s->id, id));
    if (s->parent != 0) {
        evrt_jsonout_put_cstr(o, "parent_span_id", evrt_span_id_format(s->parent, id));
    }
    evrt_jsonout_put_given_str(o, "trace_state", s->state);
    if (s->link == 0) return;
    evrt_jsonout_key(o, "links");
    evrt_jsonout_array(o);
    evrt_jsonout_object(o);
    evrt_jsonout_put_cstr(o, "trace_id", trace);
    evrt_jsonout_put_cstr(o, "span_id", evrt_span_id_format(s->link, id));
    evrt_jsonout_end(o);
    evrt_jsonout_end(o);
}

static void put_exception(struct evrt_jsonout *o, const struct evrt_span *s) {
    evrt_jsonout_key(o, "exception");
    evrt_jsonout_object(o);
    evrt_jsonout_put_given_str(o, "type", s->error_type);
    evrt_jsonout_put_given_str(o, "message", s->message);
    evrt_jsonout_put_given_str(o, "stacktrace", s->stack);
    evrt_jsonout_end(o);
}

void evrt_span_json(struct evrt_buf *out, const struct evrt_span *s, struct evrt_slice service,
                    int64_t unix_ns) {
    static const char *const kinds[] = {"unspecified", "internal", "server",
                                        "client",      "producer", "consumer"};
    static const char *const statuses[] = {"unset", "ok", "error"};
    struct evrt_jsonout o = evrt_jsonout_start(out);
    evrt_jsonout_object(&o);
    evrt_jsonout_put_cstr(&o, "kind", "span");
    evrt_jsonout_put_time(&o, "timestamp", (s->start_ns + unix_ns) / 1000000);
    evrt_jsonout_put_str(&o, "name", evrt_span_name(s));
    evrt_jsonout_put_given_str(&o, "service", service);
    put_ids(&o, s);
    evrt_jsonout_put_cstr(&o, "span_kind",
                          kinds[evrt_span_otlp_kind((enum evrt_span_kind)s->kind)]);
    evrt_jsonout_put_i64(&o, "start_time_unix_nano", s->start_ns + unix_ns);
    evrt_jsonout_put_i64(&o, "end_time_unix_nano", s->end_ns + unix_ns);
    evrt_jsonout_put_double(&o, "duration_ms", (double)(s->end_ns - s->start_ns) / 1e6);
    evrt_jsonout_put_cstr(&o, "status", statuses[s->status]);
    evrt_jsonout_key(&o, "attributes");
    evrt_jsonout_object(&o);
    evrt_span_shared_attributes(s, put_attribute, &o);
    evrt_span_own_attributes(s, put_attribute, &o);
    evrt_jsonout_end(&o);
    if (s->status == EVRT_SPAN_ERROR && s->error_type.n + s->message.n != 0) put_exception(&o, s);
    evrt_jsonout_end(&o);
    evrt_buf_putc(out, '\n');
}

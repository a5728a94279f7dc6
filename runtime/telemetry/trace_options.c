/* See trace_options.h. One table of variables; a variable for traces alone stands behind the one for all signals,
 * and so goes before it. What is empty counts as not set, as the specification has it. */
#include "telemetry/trace_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "core/attributes.h"
#include "core/random.h"

struct reading {
    struct evrt_trace_options *o;
    bool disabled, sampler_arg_used;
    struct evrt_buf service, attributes; /* OTEL_SERVICE_NAME; OTEL_RESOURCE_ATTRIBUTES */
};

/* ---- Values ---- */

static void set_text(struct evrt_buf *b, const char *text) {
    evrt_buf_clear(b);
    evrt_buf_puts(b, text);
    evrt_buf_cstr(b);
}

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool put_decoded(struct evrt_buf *out, struct evrt_slice s) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            int high = i + 2 < s.n ? hex(s.p[i + 1]) : -1;
            int low = i + 2 < s.n ? hex(s.p[i + 2]) : -1;
            if (high < 0 || low < 0) return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        evrt_buf_putc(out, c);
    }
    return true;
}

static struct evrt_slice trim(struct evrt_slice s) {
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.n--;
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* "a=1,b=2", values percent-encoded: the next pair. 1, 0 at the end, -EINVAL. */
static int next_pair(const char **at, struct evrt_slice *name, struct evrt_slice *value) {
    while (**at == ',' || **at == ' ')
        (*at)++;
    if (**at == '\0') return 0;
    size_t n = strcspn(*at, ",");
    const char *equals = memchr(*at, '=', n);
    if (equals == NULL) return -EINVAL;
    *name = trim((struct evrt_slice){*at, (size_t)(equals - *at)});
    *value = trim((struct evrt_slice){equals + 1, n - (size_t)(equals + 1 - *at)});
    *at += n;
    return name->n == 0 ? -EINVAL : 1;
}

static const char *parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *v) {
    char *end;
    errno = 0;
    unsigned long long got = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || got < least || got > most)
        return "a whole number is expected";
    *v = got;
    return NULL;
}

/* ---- Variables: each takes its value, or says what is wrong with it ---- */

static const char *take_disabled(struct reading *r, const char *v) {
    r->disabled = strcasecmp(v, "true") == 0;
    return r->disabled || strcasecmp(v, "false") == 0 ? NULL : "true or false is expected";
}

static const char *take_exporter(struct reading *r, const char *v) {
    if (strcmp(v, "none") == 0)
        r->o->exporter = EVRT_TRACE_NONE;
    else if (strcmp(v, "otlp") == 0)
        r->o->exporter = EVRT_TRACE_OTLP;
    else if (strcmp(v, "console") == 0 || strcmp(v, "stdout") == 0)
        r->o->exporter = EVRT_TRACE_STDOUT;
    else
        return "otlp, console or none is expected";
    return NULL;
}

static const char *take_url(struct reading *r, const char *v) {
    if (strncmp(v, "http://", 7) != 0 && strncmp(v, "https://", 8) != 0)
        return "a URL that begins with http:// or https:// is expected";
    set_text(&r->o->url, v);
    return NULL;
}

static const char *take_base(struct reading *r, const char *v) {
    static const char path[] = "/v1/traces";
    const char *why = take_url(r, v);
    struct evrt_buf *url = &r->o->url;
    if (why != NULL) return why;
    if (url->n >= sizeof path - 1 && strcmp(url->p + url->n - (sizeof path - 1), path) == 0)
        return NULL;
    while (url->n > 0 && url->p[url->n - 1] == '/')
        url->n--;
    evrt_buf_puts(url, path);
    evrt_buf_cstr(url);
    return NULL;
}

static bool is_header_name(struct evrt_slice s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", s.p[i]) != NULL)
            return false;
    return s.n != 0;
}

static const char *take_headers(struct reading *r, const char *v) {
    struct evrt_buf *out = &r->o->headers;
    struct evrt_slice name, value;
    int rc;
    evrt_buf_clear(out);
    while ((rc = next_pair(&v, &name, &value)) == 1) {
        if (!is_header_name(name)) break;
        evrt_buf_put(out, name.p, name.n);
        evrt_buf_puts(out, ": ");
        size_t from = out->n;
        if (!put_decoded(out, value)) break;
        for (size_t i = from; i < out->n; i++)
            if ((unsigned char)out->p[i] < ' ') rc = -EINVAL;
        if (rc < 0) break;
        evrt_buf_putc(out, '\0');
    }
    if (rc == 0) return NULL;
    evrt_buf_clear(out);
    return "name=value,name=value with percent-encoded values is expected";
}

static const char *take_protocol(struct reading *r, const char *v) {
    (void)r;
    return strcmp(v, "http/protobuf") == 0 ? NULL : "only http/protobuf is spoken, and is used";
}

static const char *take_timeout(struct reading *r, const char *v) {
    uint64_t ms;
    const char *why = parse_number(v, 1, 3600000, &ms);
    if (why == NULL) r->o->timeout_ms = (int64_t)ms;
    return why;
}

static const char *take_compression(struct reading *r, const char *v) {
    bool gzip = strcmp(v, "gzip") == 0;
    if (!gzip && strcmp(v, "none") != 0) return "gzip or none is expected";
    r->o->compression = gzip ? EVRT_TRACE_GZIP : EVRT_TRACE_PLAIN;
    return NULL;
}

static const char *take_sampler(struct reading *r, const char *v) {
    static const struct {
        const char *name;
        double ratio; /* negative: the argument's */
        bool parent_based;
    } samplers[] = {
        {"always_on", 1, false},
        {"always_off", 0, false},
        {"traceidratio", -1, false},
        {"parentbased_always_on", 1, true},
        {"parentbased_always_off", 0, true},
        {"parentbased_traceidratio", -1, true},
    };
    for (size_t i = 0; i < sizeof samplers / sizeof samplers[0]; i++) {
        if (strcmp(v, samplers[i].name) != 0) continue;
        r->o->parent_based = samplers[i].parent_based;
        r->sampler_arg_used = samplers[i].ratio < 0;
        r->o->ratio = samplers[i].ratio < 0 ? 1 : samplers[i].ratio;
        return NULL;
    }
    return "no sampler that there is here";
}

/* Only with a sampler that takes one. */
static const char *take_sampler_arg(struct reading *r, const char *v) {
    char *end;
    double ratio = strtod(v, &end);
    if (!r->sampler_arg_used) return NULL;
    if (end == v || *end != '\0' || !(ratio >= 0 && ratio <= 1))
        return "a number from 0 to 1 is expected";
    r->o->ratio = ratio;
    return NULL;
}

static const char *take_service(struct reading *r, const char *v) {
    set_text(&r->service, v);
    return NULL;
}

static const char *take_attributes(struct reading *r, const char *v) {
    struct evrt_slice name, value;
    struct evrt_buf key, text;
    int rc;
    bool good = true;
    evrt_buf_init(&key);
    evrt_buf_init(&text);
    while (good && (rc = next_pair(&v, &name, &value)) != 0) {
        evrt_buf_clear(&key);
        evrt_buf_clear(&text);
        good = rc > 0 && put_decoded(&key, name) && put_decoded(&text, value);
        if (good)
            evrt_attributes_put(&r->attributes,
                                &(struct evrt_attribute){.kind = EVRT_ATTRIBUTE_TEXT,
                                                         .name = evrt_buf_slice(&key),
                                                         .text = evrt_buf_slice(&text)});
    }
    evrt_buf_finish(&key);
    evrt_buf_finish(&text);
    if (good) return NULL;
    evrt_buf_clear(&r->attributes);
    return "name=value,name=value with percent-encoded values is expected";
}

#define TAKE_FILE(member)                                                \
    static const char *take_##member(struct reading *r, const char *v) { \
        set_text(&r->o->member, v);                                      \
        return NULL;                                                     \
    }
TAKE_FILE(ca)
TAKE_FILE(certificate)
TAKE_FILE(key)

#define TAKE_NUMBER(member, least, most)                                 \
    static const char *take_##member(struct reading *r, const char *v) { \
        uint64_t n;                                                      \
        const char *why = parse_number(v, least, most, &n);              \
        if (why == NULL) r->o->member = (__typeof__(r->o->member))n;     \
        return why;                                                      \
    }
TAKE_NUMBER(batch_size, 1, 10000)
TAKE_NUMBER(batch_delay_ms, 1, 3600000)
TAKE_NUMBER(queue_size, 1, 10000000)

static const struct variable {
    const char *name;
    const char *(*take)(struct reading *r, const char *value);
} variables[] = {
    {"OTEL_SDK_DISABLED", take_disabled},
    {"OTEL_TRACES_EXPORTER", take_exporter},
    {"OTEL_EXPORTER_OTLP_ENDPOINT", take_base},
    {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", take_url},
    {"OTEL_EXPORTER_OTLP_HEADERS", take_headers},
    {"OTEL_EXPORTER_OTLP_TRACES_HEADERS", take_headers},
    {"OTEL_EXPORTER_OTLP_PROTOCOL", take_protocol},
    {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", take_protocol},
    {"OTEL_EXPORTER_OTLP_TIMEOUT", take_timeout},
    {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", take_timeout},
    {"OTEL_EXPORTER_OTLP_COMPRESSION", take_compression},
    {"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", take_compression},
    {"OTEL_EXPORTER_OTLP_CERTIFICATE", take_ca},
    {"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", take_ca},
    {"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", take_certificate},
    {"OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", take_certificate},
    {"OTEL_EXPORTER_OTLP_CLIENT_KEY", take_key},
    {"OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", take_key},
    {"OTEL_SERVICE_NAME", take_service},
    {"OTEL_RESOURCE_ATTRIBUTES", take_attributes},
    {"OTEL_TRACES_SAMPLER", take_sampler},
    {"OTEL_TRACES_SAMPLER_ARG", take_sampler_arg},
    {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", take_batch_size},
    {"OTEL_BSP_SCHEDULE_DELAY", take_batch_delay_ms},
    {"OTEL_BSP_MAX_QUEUE_SIZE", take_queue_size},
};

static const char *value_of(const char *const *environment, const char *name) {
    size_t n = strlen(name);
    for (; environment != NULL && *environment != NULL; environment++)
        if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=')
            return *environment + n + 1;
    return NULL;
}

/* ---- The resource ---- */

static bool has(struct evrt_slice attributes, const char *name) {
    struct evrt_attribute a;
    for (size_t at = 0; evrt_attributes_next(attributes, &at, &a);)
        if (evrt_slice_eq(a.name, evrt_slice_of(name))) return true;
    return false;
}

/* Unless there is one of that name. */
static void describe(struct evrt_trace_options *o, const char *name, const char *text) {
    if (text == NULL || text[0] == '\0' || has(evrt_buf_slice(&o->resource), name)) return;
    evrt_attributes_put(&o->resource, &(struct evrt_attribute){.kind = EVRT_ATTRIBUTE_TEXT,
                                                               .name = evrt_slice_of(name),
                                                               .text = evrt_slice_of(text)});
}

static void describe_resource(struct reading *r, const struct evrt_trace_config *c) {
    struct evrt_trace_options *o = r->o;
    struct evrt_random random;
    struct evrt_attribute a;
    char host[256] = "", instance[EVRT_UUID_SIZE];
    evrt_random_init(&random);
    evrt_uuid7(&random, instance);
    (void)gethostname(host, sizeof host - 1);
    if (r->service.n != 0) describe(o, "service.name", evrt_buf_cstr(&r->service));
    for (size_t at = 0; evrt_attributes_next(evrt_buf_slice(&r->attributes), &at, &a);)
        if (r->service.n == 0 || !evrt_slice_eq(a.name, EVRT_STR("service.name")))
            evrt_attributes_put(&o->resource, &a);
    describe(o, "service.name", c->service);
    describe(o, "service.version", c->version);
    describe(o, "deployment.environment.name", c->environment);
    describe(o, "service.instance.id", instance);
    describe(o, "host.name", host);
    describe(o, "telemetry.sdk.name", "evrt");
    describe(o, "telemetry.sdk.language", "c");
    describe(o, "telemetry.sdk.version", EVRT_VERSION);
    evrt_attributes_put(&o->resource, &(struct evrt_attribute){.kind = EVRT_ATTRIBUTE_INTEGER,
                                                               .name = EVRT_STR("process.pid"),
                                                               .v.i = getpid()});
}

/* ---- All of it ---- */

static void from_config(struct reading *r, const struct evrt_trace_config *c) {
    struct evrt_trace_options *o = r->o;
    o->exporter = strcmp(c->exporter, "otlp") == 0     ? EVRT_TRACE_OTLP
                  : strcmp(c->exporter, "stdout") == 0 ? EVRT_TRACE_STDOUT
                                                       : EVRT_TRACE_NONE;
    o->compression = strcmp(c->compression, "gzip") == 0   ? EVRT_TRACE_GZIP
                     : strcmp(c->compression, "none") == 0 ? EVRT_TRACE_PLAIN
                                                           : EVRT_TRACE_AUTO;
    o->keep_errors = strcmp(c->keep, "errors") == 0;
    o->parent_based = true;
    o->ratio = c->sample_rate;
    o->max_spans_per_second = c->max_spans_per_second;
    o->batch_size = c->batch_size;
    o->queue_size = c->queue_size;
    o->batch_delay_ms = c->batch_delay_ms;
    o->timeout_ms = c->timeout_ms;
}

void evrt_trace_options_init(struct evrt_trace_options *o, const struct evrt_trace_config *config,
                             const char *const *environment,
                             void (*each)(void *arg, const char *name, const char *why),
                             void *arg) {
    *o = (struct evrt_trace_options){0};
    struct reading r = {.o = o};
    from_config(&r, config);
    const char *why = take_base(&r, config->endpoint);
    if (why != NULL && each != NULL) each(arg, "tracing.endpoint", why);
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        const char *value = value_of(environment, variables[i].name);
        if (value == NULL || value[0] == '\0') continue;
        why = variables[i].take(&r, value);
        if (why != NULL && each != NULL) each(arg, variables[i].name, why);
    }
    if (r.disabled) o->exporter = EVRT_TRACE_NONE;
    if (o->queue_size < o->batch_size) o->queue_size = o->batch_size;
    describe_resource(&r, config);
    evrt_buf_finish(&r.service);
    evrt_buf_finish(&r.attributes);
}

void evrt_trace_options_finish(struct evrt_trace_options *o) {
    if (o->headers.p != NULL) explicit_bzero(o->headers.p, o->headers.n);
    struct evrt_buf *all[] = {&o->url, &o->headers, &o->ca, &o->certificate, &o->key, &o->resource};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        evrt_buf_finish(all[i]);
}

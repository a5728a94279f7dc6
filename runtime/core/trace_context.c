/* See trace_context.h. */
#include "core/trace_context.h"

#include <errno.h>
#include <math.h>

#include "core/bytes.h"
#include "core/event.h"
#include "core/hash.h"

/* ---- traceparent: 00-<32 hex>-<16 hex>-<2 hex> ---- */

/* Eight digits at once, lower case only, as the recommendation has it: each byte's value, and whether it is what
 * that value is written as. */
static bool take_hex8(const char *p, uint64_t *v) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t x = evrt_get_u64(p);
    uint64_t n = (x & (ones * 0x0f)) + 9 * ((x >> 6) & ones);
    uint64_t letter = ((n + ones * 6) >> 4) & ones;
    bool good = (n & (ones * 0x10)) == 0 && n + ones * '0' + letter * ('a' - '0' - 10) == x;
    n = (n << 4 | n >> 8) & UINT64_C(0x00ff00ff00ff00ff);
    n = (n | n >> 8) & UINT64_C(0x0000ffff0000ffff);
    *v = *v << 32 | __builtin_bswap32((uint32_t)(n | n >> 16));
    return good;
}

static bool take_hex16(const char *p, uint64_t *v) {
    *v = 0;
    bool first = take_hex8(p, v), second = take_hex8(p + 8, v);
    return first && second;
}

static bool take_hex2(const char *p, uint64_t *v) {
    char padded[8] = {'0', '0', '0', '0', '0', '0', p[0], p[1]};
    *v = 0;
    return take_hex8(padded, v);
}

int evrt_traceparent_parse(struct evrt_slice text, struct evrt_trace_context *c) {
    enum { LENGTH = EVRT_TRACEPARENT_SIZE - 1 };
    uint64_t version, flags;
    const char *p = text.p;
    struct evrt_trace_context got = {0};
    *c = got;
    if (text.n < LENGTH || !take_hex2(p, &version) || version == 0xff) return -EINVAL;
    if (version == 0 ? text.n != LENGTH : text.n > LENGTH && p[LENGTH] != '-') return -EINVAL;
    if (p[2] != '-' || p[35] != '-' || p[52] != '-') return -EINVAL;
    if (!take_hex16(p + 3, &got.high) || !take_hex16(p + 19, &got.low)) return -EINVAL;
    if (!take_hex16(p + 36, &got.span) || !take_hex2(p + 53, &flags)) return -EINVAL;
    if (!evrt_trace_is_set(&got) || got.span == 0) return -EINVAL;
    got.flags = (uint8_t)(flags & (EVRT_TRACE_SAMPLED | EVRT_TRACE_RANDOM));
    *c = got;
    return 0;
}

/* Eight digits at once, first the highest. */
static char *put_hex8(char *to, uint32_t v) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t x = __builtin_bswap32(v);
    x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
    x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x >> 4 | x << 8) & (ones * 0x0f);
    uint64_t letter = ((x + ones * 6) >> 4) & ones;
    evrt_set_u64(to, x + ones * '0' + letter * ('a' - '0' - 10));
    return to + 8;
}

static char *put_hex16(char *to, uint64_t v) {
    return put_hex8(put_hex8(to, (uint32_t)(v >> 32)), (uint32_t)v);
}

char *evrt_traceparent_format(const struct evrt_trace_context *c, char buf[EVRT_TRACEPARENT_SIZE]) {
    char *p = buf;
    *p++ = '0', *p++ = '0', *p++ = '-';
    p = put_hex16(p, c->high);
    p = put_hex16(p, c->low);
    *p++ = '-';
    p = put_hex16(p, c->span);
    *p++ = '-';
    *p++ = "0123456789abcdef"[c->flags >> 4];
    *p++ = "0123456789abcdef"[c->flags & 15];
    *p = '\0';
    return buf;
}

char *evrt_trace_id_format(uint64_t high, uint64_t low, char buf[EVRT_TRACE_ID_SIZE]) {
    *put_hex16(put_hex16(buf, high), low) = '\0';
    return buf;
}

char *evrt_span_id_format(uint64_t id, char buf[EVRT_SPAN_ID_SIZE]) {
    *put_hex16(buf, id) = '\0';
    return buf;
}

/* ---- tracestate: key=value,key=value ---- */

enum { MEMBERS_MAX = 32, LONG_MEMBER = 128, KEY_MAX = 256, TENANT_MAX = 241, SYSTEM_MAX = 14 };

static bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool key_part(const char *p, size_t n, bool digit_first) {
    if (n == 0 || !(is_lower(p[0]) || (digit_first && is_digit(p[0])))) return false;
    for (size_t i = 1; i < n; i++)
        if (!is_lower(p[i]) && !is_digit(p[i]) && (p[i] == '\0' || strchr("_-*/", p[i]) == NULL))
            return false;
    return true;
}

/* Level 1: lower case first, or tenant@system; level 2 lets a digit be first as well. */
static bool is_key(struct evrt_slice s) {
    const char *at = s.n == 0 ? NULL : memchr(s.p, '@', s.n);
    if (at == NULL) return s.n <= KEY_MAX && key_part(s.p, s.n, true);
    size_t tenant = (size_t)(at - s.p), system = s.n - tenant - 1;
    return tenant <= TENANT_MAX && system <= SYSTEM_MAX && key_part(s.p, tenant, true) &&
           key_part(at + 1, system, false);
}

static bool is_value(struct evrt_slice s) {
    if (s.n == 0 || s.n > KEY_MAX || s.p[s.n - 1] == ' ') return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] > 0x7e || s.p[i] == ',' || s.p[i] == '=') return false;
    return true;
}

struct members {
    struct evrt_slice v[MEMBERS_MAX];
    size_t n, bytes;
};

static struct evrt_slice key_of(struct evrt_slice member) {
    const char *equals = memchr(member.p, '=', member.n);
    return (struct evrt_slice){member.p, equals == NULL ? 0 : (size_t)(equals - member.p)};
}

static bool take_member(struct members *m, struct evrt_slice s) {
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.n--;
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    if (s.n == 0) return true;
    struct evrt_slice key = key_of(s);
    struct evrt_slice value = {s.p + key.n + 1, key.n == 0 ? 0 : s.n - key.n - 1};
    if (m->n == MEMBERS_MAX || !is_key(key) || !is_value(value)) return false;
    for (size_t i = 0; i < m->n; i++)
        if (evrt_slice_eq(key_of(m->v[i]), key)) return false;
    m->v[m->n++] = s;
    m->bytes += s.n + 1;
    return true;
}

/* Takes out the last member longer than `most`; false: there is none. */
static bool leave_out(struct members *m, size_t most) {
    size_t i = m->n;
    while (i > 0 && m->v[i - 1].n <= most)
        i--;
    if (i == 0) return false;
    m->bytes -= m->v[i - 1].n + 1;
    memmove(&m->v[i - 1], &m->v[i], (m->n - i) * sizeof m->v[0]);
    m->n--;
    return true;
}

int evrt_tracestate_put(struct evrt_buf *out, struct evrt_slice text) {
    struct members m = {.n = 0};
    for (size_t at = 0; at < text.n;) {
        const char *comma = memchr(text.p + at, ',', text.n - at);
        size_t end = comma == NULL ? text.n : (size_t)(comma - text.p);
        if (!take_member(&m, (struct evrt_slice){text.p + at, end - at})) return -EINVAL;
        at = end + 1;
    }
    while (m.bytes > EVRT_TRACESTATE_MAX + 1 && leave_out(&m, LONG_MEMBER)) {
    }
    while (m.bytes > EVRT_TRACESTATE_MAX + 1)
        leave_out(&m, 0);
    for (size_t i = 0; i < m.n; i++) {
        if (i > 0) evrt_buf_putc(out, ',');
        evrt_buf_put(out, m.v[i].p, m.v[i].n);
    }
    return 0;
}

/* ---- Sampling ---- */

/* The same 63 bits that OpenTelemetry's TraceIdRatioBased samplers look at. */
uint64_t evrt_trace_threshold(double ratio) {
    if (!(ratio > 0)) return 0;
    return ratio >= 1 ? UINT64_MAX : (uint64_t)ldexp(ratio, 63);
}

/* ---- Of an event ---- */

static uint64_t never_zero(uint64_t v) {
    return v == 0 ? 1 : v;
}

uint64_t evrt_publish_span_id(const struct evrt_trace_context *trace, uint64_t seq) {
    const uint64_t about[] = {trace->high, trace->low, seq};
    return never_zero(evrt_hash64(about, sizeof about, 1));
}

uint64_t evrt_handle_span_id(const struct evrt_trace_context *trace, uint64_t delivery,
                             unsigned attempt) {
    const uint64_t about[] = {trace->high, trace->low, delivery, attempt};
    return never_zero(evrt_hash64(about, sizeof about, 2));
}

static void derive(const struct evrt_slice *fields, uint64_t seq, struct evrt_trace_context *c) {
    enum { FIELDS = 3 };
    struct iovec parts[FIELDS + 1] = {[FIELDS] = {&seq, sizeof seq}};
    for (int i = 0; i < FIELDS; i++)
        parts[i] = (struct iovec){(void *)(uintptr_t)fields[i].p, fields[i].n};
    c->high = evrt_hash64_iov(parts, FIELDS + 1, 3);
    c->low = never_zero(evrt_hash64_iov(parts, FIELDS + 1, 4));
}

void evrt_trace_derive(const struct evrt_event *e, uint64_t seq, struct evrt_trace_context *c) {
    const struct evrt_slice fields[] = {e->source, e->id, e->time};
    derive(fields, seq, c);
}

static void derive_encoded(const char *event, struct evrt_trace_context *c) {
    const struct evrt_slice fields[] = {evrt_event_field(event, EVRT_FIELD_SOURCE),
                                        evrt_event_field(event, EVRT_FIELD_ID),
                                        evrt_event_field(event, EVRT_FIELD_TIME)};
    derive(fields, evrt_event_seq(event), c);
}

static void take_extensions(const char *event, struct evrt_event_trace *t) {
    struct evrt_slice all = evrt_event_field(event, EVRT_FIELD_EXTENSIONS), state = {NULL, 0};
    struct evrt_extension x;
    for (size_t at = 0; evrt_extensions_next(all, &at, &x);) {
        if (evrt_slice_eq(x.name, EVRT_STR("traceparent")))
            t->given = evrt_traceparent_parse(x.value, &t->context) == 0;
        else if (evrt_slice_eq(x.name, EVRT_STR("tracestate")))
            state = x.value;
    }
    if (t->given) t->tracestate = state;
}

void evrt_event_trace(const char *event, uint64_t threshold, struct evrt_event_trace *t) {
    unsigned flags = (unsigned char)event[16];
    *t = (struct evrt_event_trace){.decided = (flags & EVRT_EVENT_TRACED) != 0};
    if (evrt_get_u16(event + 20 + 2 * EVRT_FIELD_EXTENSIONS) != 0) take_extensions(event, t);
    struct evrt_trace_context *c = &t->context;
    if (!t->given) derive_encoded(event, c);
    if (t->decided) c->span = evrt_publish_span_id(c, evrt_event_seq(event));
    bool sampled = t->decided ? (flags & EVRT_EVENT_UNSAMPLED) == 0
                   : t->given ? evrt_trace_is_sampled(c)
                              : evrt_trace_in_share(c->low, threshold);
    c->flags = (uint8_t)((c->flags & ~EVRT_TRACE_SAMPLED) | (sampled ? EVRT_TRACE_SAMPLED : 0));
}

/* Binary mode, see envelope.h. A header value is unescaped as the HTTP binding of CloudEvents 1.0.2 says:
 * first a quoted string loses its quotes, then one round of percent-decoding, which has to give UTF-8. */
#include <errno.h>

#include "core/error.h"
#include "core/utf8.h"
#include "http/envelope_internal.h"
#include "http/uri.h"

/* Appends the inside of "..." with its backslash pairs undone; anything else as it is. */
static void unquote(struct evrt_slice v, struct evrt_buf *out) {
    if (v.n < 2 || v.p[0] != '"' || v.p[v.n - 1] != '"') {
        evrt_buf_put(out, v.p, v.n);
        return;
    }
    for (size_t i = 1; i < v.n - 1; i++) {
        if (v.p[i] == '\\' && i + 1 < v.n - 1) i++;
        evrt_buf_putc(out, v.p[i]);
    }
}

/* The value as text, borrowed when there is nothing to decode; else appended to e->text. */
static int decode(struct evrt_envelope *e, const char *name, struct evrt_slice v, bool *borrowed,
                  struct evrt_error *err) {
    *borrowed = v.n == 0 || (v.p[0] != '"' && memchr(v.p, '%', v.n) == NULL);
    if (*borrowed) return 0;
    struct evrt_buf plain;
    evrt_buf_init(&plain);
    unquote(v, &plain);
    size_t at = e->text.n, bad = 0;
    int rc = evrt_percent_decode(evrt_buf_slice(&plain), &e->text, &bad);
    evrt_buf_finish(&plain);
    if (rc < 0)
        return evrt_error_set(err, -EINVAL,
                              "ce-%s: byte %zu: '%%' is not followed by two hex digits (a percent "
                              "sign itself is sent as %%25)",
                              name, bad + 1);
    bad = evrt_utf8_check(e->text.p + at, e->text.n - at);
    if (bad == e->text.n - at) return 0;
    return evrt_error_set(err, -EINVAL,
                          "ce-%s: percent-decodes to bytes that are not UTF-8, at byte %zu", name,
                          bad + 1);
}

static int take_value(struct evrt_envelope *e, struct evrt_slice name, struct evrt_slice value,
                      struct evrt_error *err) {
    bool borrowed;
    size_t at = e->text.n;
    int rc = decode(e, name.p, value, &borrowed, err);
    if (rc < 0) return rc;
    struct evrt_slice decoded = value;
    if (!borrowed) decoded = (struct evrt_slice){e->text.p + at, e->text.n - at};
    if (evrt_slice_eq(name, EVRT_STR("specversion"))) return evrt_envelope_version(decoded, err);
    int field = evrt_envelope_attribute(name);
    if (field < 0) return evrt_envelope_extend(e, name, 's', decoded, err);
    if (borrowed)
        evrt_envelope_set(e, field, value);
    else
        evrt_envelope_set_text(e, field, at);
    return 0;
}

static int take_header(struct evrt_envelope *e, const struct evrt_header *h,
                       struct evrt_error *err) {
    char lower[EVRT_EXTENSION_NAME_MAX + 1];
    struct evrt_slice name = {lower, h->name.n - 3};
    if (name.n > EVRT_EXTENSION_NAME_MAX)
        return evrt_error_set(err, -EINVAL,
                              "ce-%.20s...: an attribute's name has at most %d characters",
                              h->name.p + 3, EVRT_EXTENSION_NAME_MAX);
    for (size_t i = 0; i < name.n; i++) {
        char c = h->name.p[3 + i];
        lower[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    lower[name.n] = '\0';
    if (evrt_slice_eq(name, EVRT_STR("datacontenttype")))
        return evrt_error_set(err, -EINVAL,
                              "ce-datacontenttype: in binary mode this is the Content-Type header");
    if (evrt_slice_eq(name, EVRT_STR("data")) || evrt_slice_eq(name, EVRT_STR("data_base64")))
        return evrt_error_set(err, -EINVAL, "ce-%s: in binary mode the data is the body", lower);
    return take_value(e, name, h->value, err);
}

static int take_body(struct evrt_envelope *e, struct evrt_slice body, struct evrt_error *err) {
    if (body.n == 0) return 0;
    evrt_envelope_set(e, EVRT_FIELD_DATA, body);
    if (!evrt_envelope_json_data(e)) return 0;
    struct evrt_error why;
    if (evrt_json_check(body, NULL, &why) < 0)
        return evrt_error_set(err, -EINVAL, "data: %s", why.message);
    e->event.flags |= EVRT_EVENT_JSON;
    return 0;
}

int evrt_envelope_binary(struct evrt_envelope *e, const struct evrt_header *h, size_t n,
                         struct evrt_slice body, struct evrt_error *err) {
    evrt_envelope_begin(e, body);
    for (size_t i = 0; i < n; i++) {
        int rc = 0;
        if (h[i].name.n > 3 && evrt_caseless_eq((struct evrt_slice){h[i].name.p, 3}, "ce-"))
            rc = take_header(e, &h[i], err);
        else if (evrt_caseless_eq(h[i].name, "content-type") && h[i].value.n > 0)
            evrt_envelope_set(e, EVRT_FIELD_DATACONTENTTYPE, h[i].value);
        if (rc < 0) return rc;
    }
    int rc = take_body(e, body, err);
    if (rc < 0) return rc;
    return evrt_envelope_end(e, err);
}

/* CloudEvents 1.0 over HTTP: a request's headers and body become events. Binary mode (ce-* headers, the
 * body is the data), structured mode (one JSON envelope) and batch (an array of them).
 * Pure: no sockets, no clock. One thread; reused from request to request.
 *
 *      headers, body ──▶ mode? ─┬─ binary ───────▶ evrt_envelope_binary() ──▶ event
 *                               ├─ structured ───▶ evrt_envelope_structured() ──▶ event
 *                               └─ batch ──▶ evrt_envelope_batch() ──▶ item, item, ... each as structured
 *
 * Attributes are read, unescaped and kept; whether they make a good event (type's form, time, lengths)
 * is for evrt_event_check(), which every way in shares. */
#ifndef EVRT_HTTP_ENVELOPE_H
#define EVRT_HTTP_ENVELOPE_H

#include <stdbool.h>

#include "core/buf.h"
#include "core/event.h"
#include "http/headers.h"
#include "json/json.h"

enum evrt_envelope_mode { EVRT_ENVELOPE_BINARY, EVRT_ENVELOPE_STRUCTURED, EVRT_ENVELOPE_BATCH };

/* Decides by Content-Type and ce-* headers. -EMEDIUMTYPE: neither says CloudEvent, or in a format or
 * charset that is not understood; err says what to send. */
EVRT_MUST_CHECK int evrt_envelope_detect(const struct evrt_header *h, size_t n,
                                         enum evrt_envelope_mode *mode, struct evrt_error *err);

struct evrt_envelope {
    struct evrt_event event; /* the result: slices into headers, body and the buffers below */
    struct evrt_buf text;    /* values that had to be decoded */
    struct evrt_buf extensions;
    /* While reading: where each attribute is. In `text` when p is NULL, since that moves as it grows. */
    struct {
        const char *p;
        size_t at, n;
        bool given;
    } field[EVRT_FIELD_COUNT];
    struct evrt_slice json; /* the document being read, for positions */
    struct evrt_slice data; /* the value as it stands there */
    enum evrt_json_type data_type;
    bool has_base64;
};

void evrt_envelope_init(struct evrt_envelope *e);
void evrt_envelope_finish(struct evrt_envelope *e);

/* -EINVAL: err names the attribute and, within it or within the body, the byte (from 1). */
EVRT_MUST_CHECK int evrt_envelope_binary(struct evrt_envelope *e, const struct evrt_header *h,
                                         size_t n, struct evrt_slice body, struct evrt_error *err);
EVRT_MUST_CHECK int evrt_envelope_structured(struct evrt_envelope *e, struct evrt_slice json,
                                             struct evrt_error *err);

/* Splits a batch. Each item is valid JSON but perhaps not an event. */
struct evrt_batch {
    struct evrt_json_member *items; /* keys are absent */
    size_t count, cap;
    size_t max; /* set by evrt_envelope_batch */
};
/* -EINVAL: not a JSON array; -E2BIG: more than max items. The caller frees `items` in the end. */
EVRT_MUST_CHECK int evrt_envelope_batch(struct evrt_batch *b, struct evrt_slice body, size_t max,
                                        struct evrt_error *err);

#endif

/* Fuzz target: bytes as a request to POST /events: header lines ("Name: value", ended by LF), an empty
 * line, the body. What is accepted must point into its own memory, hold JSON where it says so, and
 * survive being encoded; what is refused must have a reason. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/event.h"
#include "http/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t take_headers(struct evrt_slice *text, struct evrt_header *h) {
    size_t count = 0;
    while (text->n > 0 && count < EVRT_HEADERS_MAX) {
        const char *end = memchr(text->p, '\n', text->n);
        struct evrt_slice line = {text->p, end == NULL ? text->n : (size_t)(end - text->p)};
        text->p += line.n + (end != NULL);
        text->n -= line.n + (end != NULL);
        if (line.n == 0) break;
        const char *colon = memchr(line.p, ':', line.n);
        if (colon == NULL) continue;
        h[count].name = (struct evrt_slice){line.p, (size_t)(colon - line.p)};
        h[count].value = (struct evrt_slice){colon + 1, line.n - h[count].name.n - 1};
        count++;
    }
    return count;
}

static void use(const struct evrt_envelope *e) {
    struct evrt_event event = e->event, back;
    if (event.flags & EVRT_EVENT_JSON) assert(evrt_json_check(event.data, NULL, NULL) == 0);
    assert((event.flags & EVRT_EVENT_HAS_DATA) || event.data.n == 0);
    struct evrt_random random;
    char id[EVRT_UUID_SIZE], time[25];
    evrt_random_init(&random);
    evrt_event_defaults(&event, &random, EVRT_STR("fuzz"), id, time);
    if (evrt_event_check(&event, NULL) < 0) return;
    size_t n = evrt_event_size(&event);
    char *at = evrt_alloc(n);
    evrt_event_encode(&event, at);
    assert(evrt_event_decode(at, n, &back) == 0);
    assert(evrt_slice_eq(back.data, event.data) && evrt_slice_eq(back.type, event.type));
    assert(evrt_slice_eq(back.extensions, event.extensions));
    free(at);
}

static void refused(const struct evrt_error *err) {
    assert(err->code < 0 && err->message[0] != '\0');
}

static void take_batch(struct evrt_envelope *e, struct evrt_slice body, struct evrt_error *err) {
    struct evrt_batch batch = {0};
    if (evrt_envelope_batch(&batch, body, 50, err) < 0) {
        refused(err);
    } else {
        for (size_t i = 0; i < batch.count; i++) {
            *err = (struct evrt_error){0};
            if (evrt_envelope_structured(e, batch.items[i].value, err) == 0)
                use(e);
            else
                refused(err);
        }
    }
    free(batch.items);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct evrt_header h[EVRT_HEADERS_MAX];
    struct evrt_slice body = {(const char *)data, size};
    struct evrt_error err = {0};
    enum evrt_envelope_mode mode;
    size_t n = take_headers(&body, h);
    if (evrt_headers_check(h, n, false, &err) < 0 || evrt_envelope_detect(h, n, &mode, &err) < 0) {
        refused(&err);
        return 0;
    }
    struct evrt_envelope e;
    evrt_envelope_init(&e);
    int rc = 0;
    if (mode == EVRT_ENVELOPE_BATCH)
        take_batch(&e, body, &err);
    else if (mode == EVRT_ENVELOPE_STRUCTURED)
        rc = evrt_envelope_structured(&e, body, &err);
    else
        rc = evrt_envelope_binary(&e, h, n, body, &err);
    if (rc < 0)
        refused(&err);
    else if (mode != EVRT_ENVELOPE_BATCH)
        use(&e);
    evrt_envelope_finish(&e);
    return 0;
}

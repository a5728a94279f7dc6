/* An event as bytes: one encoding for the journal, the frames to workers, and the worker's lazy reads,
 * so an event is encoded once and then only copied. Any thread; nothing here allocates.
 *
 *     0  u64 seq         16 u8  flags, u8 hops, u16 zero     40  id type source time subject
 *     8  i64 stored_ms   20 u16 length of each of 8 fields      datacontenttype dataschema
 *                        36 u32 length of data                  extensions data, end to end
 *
 * When a delivery published it (EVRT_EVENT_CAUSED in flags), 12 bytes follow: u64 its event's seq, u32 its
 * handler's number.
 *
 * Extensions: for each, u8 name length, u8 kind ('s', 'i' or 'b'), u16 value length, name, value as
 * text ("true"/"false" for 'b'). */
#ifndef EVRT_CORE_EVENT_H
#define EVRT_CORE_EVENT_H

#include <stdbool.h>

#include "core/buf.h"
#include "core/random.h"

#define EVRT_EVENT_HEADER 40

/* Flags of the encoding alone, beside those in evrt.h. TRACED: tracing was on when it was published, and the
 * span of that has the id that core/trace_context.h says; UNSAMPLED: it was decided against its spans. */
enum {
    EVRT_EVENT_UNSAMPLED = 32,
    EVRT_EVENT_TRACED = 64,
    EVRT_EVENT_CAUSED = 128,
    EVRT_EVENT_CAUSE_BYTES = 12
};

/* The order in which attributes stand in the encoding. */
enum evrt_event_field {
    EVRT_FIELD_ID,
    EVRT_FIELD_TYPE,
    EVRT_FIELD_SOURCE,
    EVRT_FIELD_TIME,
    EVRT_FIELD_SUBJECT,
    EVRT_FIELD_DATACONTENTTYPE,
    EVRT_FIELD_DATASCHEMA,
    EVRT_FIELD_EXTENSIONS,
    EVRT_FIELD_DATA,
    EVRT_FIELD_COUNT,
};

/* Limits of evrt_event_check(). */
enum {
    EVRT_TYPE_MAX = 256,       /* bytes of type */
    EVRT_ATTRIBUTE_MAX = 2048, /* bytes of id, source, subject, dataschema, one extension value */
    EVRT_EXTENSIONS_MAX = 32768,
    EVRT_EXTENSION_NAME_MAX = 64,
};

size_t evrt_event_size(const struct evrt_event *e);
/* Writes exactly evrt_event_size(e) bytes. The event has passed evrt_event_check(). */
void evrt_event_encode(const struct evrt_event *e, void *at);
/* Reads the encoding into slices that point into it. -EBADMSG when lengths do not fit n exactly. */
EVRT_MUST_CHECK int evrt_event_decode(const void *at, size_t n, struct evrt_event *e);
/* One field of an encoding that decoded well before. */
struct evrt_slice evrt_event_field(const void *at, enum evrt_event_field field);

/* In place, for an encoding that is being journaled. */
void evrt_event_stamp(void *at, uint64_t seq, int64_t stored_ms);
/* How many publishes by handlers led to it. */
static inline uint8_t evrt_event_hops(const void *at) {
    return ((const uint8_t *)at)[17];
}
static inline bool evrt_event_is_unsampled(const void *at) {
    return (((const uint8_t *)at)[16] & EVRT_EVENT_UNSAMPLED) != 0;
}
static inline bool evrt_event_has_extensions(const void *at) {
    uint16_t n;
    memcpy(&n, (const char *)at + 20 + 2 * EVRT_FIELD_EXTENSIONS, sizeof n);
    return n != 0;
}
static inline uint64_t evrt_event_seq(const void *at) {
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return v;
}

/* What every way in checks: presence and form of type, id, source; RFC 3339 time; lengths; UTF-8 and
 * no control characters in attributes. `data` is not looked at. -EINVAL with the reason. */
EVRT_MUST_CHECK int evrt_event_check(const struct evrt_event *e, struct evrt_error *err);
/* Type: segments of letters, digits, '_' and '-' between single dots. Offset of what is wrong, or n. */
size_t evrt_type_check(struct evrt_slice type);

/* Types that begin with "evrt." are published by evrt itself, and by nobody else. */
bool evrt_type_own(struct evrt_slice type);
/* evrt_event_check() of an event that is not evrt's own. */
EVRT_MUST_CHECK int evrt_event_check_public(const struct evrt_event *e, struct evrt_error *err);

/* Whether data of this datacontenttype is JSON: absent, application/json, text/json, anything+json; any
 * case, with or without parameters. */
bool evrt_event_json_type(struct evrt_slice datacontenttype);

/* Fills in what may be absent: id (a UUIDv7 into `id`), time (now into `time`), source. */
void evrt_event_defaults(struct evrt_event *e, struct evrt_random *random, struct evrt_slice source,
                         char id[EVRT_UUID_SIZE], char time[25]);

/* Appends one extension. -EINVAL: name not lower-case letters and digits, or too long. */
EVRT_MUST_CHECK int evrt_extensions_add(struct evrt_buf *out, struct evrt_slice name, char kind,
                                        struct evrt_slice value);
struct evrt_extension {
    struct evrt_slice name, value;
    char kind;
};
/* Steps through an encoded sequence: *at starts at 0. false at the end or where it is malformed. */
bool evrt_extensions_next(struct evrt_slice extensions, size_t *at, struct evrt_extension *out);

#endif

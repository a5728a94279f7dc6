/* Shared by the envelope_*.c files alone: filling a struct evrt_envelope. */
#ifndef EVRT_HTTP_ENVELOPE_INTERNAL_H
#define EVRT_HTTP_ENVELOPE_INTERNAL_H

#include "http/envelope.h"

/* Forgets the last event. */
void evrt_envelope_begin(struct evrt_envelope *e, struct evrt_slice json);
/* Makes e->event of what was set. -EINVAL: an attribute is empty, which CloudEvents knows none of. */
EVRT_MUST_CHECK int evrt_envelope_end(struct evrt_envelope *e, struct evrt_error *err);

/* The EVRT_FIELD_* of an attribute, or -ENOENT: it is an extension. */
int evrt_envelope_attribute(struct evrt_slice name);
/* Borrows the value. */
void evrt_envelope_set(struct evrt_envelope *e, int field, struct evrt_slice value);
/* The value is what was appended to e->text from `at` on. */
void evrt_envelope_set_text(struct evrt_envelope *e, int field, size_t at);
EVRT_MUST_CHECK int evrt_envelope_extend(struct evrt_envelope *e, struct evrt_slice name, char kind,
                                         struct evrt_slice value, struct evrt_error *err);
EVRT_MUST_CHECK int evrt_envelope_version(struct evrt_slice version, struct evrt_error *err);

/* Whether datacontenttype says JSON, or says nothing. */
bool evrt_envelope_json_data(const struct evrt_envelope *e);

#endif

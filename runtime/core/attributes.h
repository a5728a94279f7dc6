/* Typed names and values end to end, as a script gives them to a span: u8 kind, u8 length of the name, u32 length
 * of the value, name, value. Any thread. */
#ifndef EVRT_CORE_ATTRIBUTES_H
#define EVRT_CORE_ATTRIBUTES_H

#include <stdbool.h>

#include "core/buf.h"

enum evrt_attribute_kind {
    EVRT_ATTRIBUTE_TEXT,
    EVRT_ATTRIBUTE_INTEGER, /* i64 */
    EVRT_ATTRIBUTE_DOUBLE,  /* f64 */
    EVRT_ATTRIBUTE_BOOL,    /* u8 */
};

enum { EVRT_ATTRIBUTES_MAX = 128, EVRT_ATTRIBUTE_NAME_MAX = 255, EVRT_ATTRIBUTE_TEXT_MAX = 8192 };

struct evrt_attribute {
    enum evrt_attribute_kind kind;
    bool own; /* the runtime's name, not a script's: known to be UTF-8 */
    struct evrt_slice name;
    struct evrt_slice text;
    union {
        int64_t i;
        double d;
        bool b;
    } v;
};

/* A name that is too long and a text over EVRT_ATTRIBUTE_TEXT_MAX are cut. */
void evrt_attributes_put(struct evrt_buf *out, const struct evrt_attribute *a);
/* Steps through them: *at starts at 0. false at the end or where they are malformed. */
bool evrt_attributes_next(struct evrt_slice all, size_t *at, struct evrt_attribute *out);

#endif

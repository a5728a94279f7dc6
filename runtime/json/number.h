/* Numbers between JSON text and C, exactly and without regard to the locale. Any thread. */
#ifndef EVRT_JSON_NUMBER_H
#define EVRT_JSON_NUMBER_H

#include "core/buf.h"

/* Integers up to this hold in a double, each with its neighbours. */
#define EVRT_JSON_SAFE_INTEGER 9007199254740992 /* 2^53 */

enum evrt_json_number_kind {
    EVRT_JSON_DOUBLE, /* a fraction, an exponent, or an integer within +-2^53 */
    EVRT_JSON_INT64,
    EVRT_JSON_UINT64, /* beyond int64_t */
    EVRT_JSON_BIG,    /* an integer of more than 64 bits */
};

struct evrt_json_number {
    enum evrt_json_number_kind kind;
    double d; /* nearest double, whatever the kind */
    union {
        int64_t i;
        uint64_t u;
    };
};

/* Reads a number that keeps to JSON's grammar and fills the text. Beyond a double's range: d is inf. */
void evrt_json_number_read(struct evrt_slice text, struct evrt_json_number *out);

/* Writes a short text, 17 digits at most, that reads back as v, bit for bit, and as kind
 * EVRT_JSON_DOUBLE. v is finite. Returns the length. */
#define EVRT_JSON_NUMBER_SIZE 32
size_t evrt_json_number_write(char out[EVRT_JSON_NUMBER_SIZE], double v);

#endif

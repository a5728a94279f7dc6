/* The names seen so far in each open object, to refuse a name that comes twice. One scan's.
 *
 * Names of all open objects stand in one stack; an object is the part from its `first` on. Objects of up
 * to EVRT_JSON_KEYS_LINEAR names compare each new one with those before it, by a fingerprint first.
 * Larger ones are sorted once when they close. Both are bounded without a secret: a hostile document
 * makes fingerprints collide, which costs at most a few comparisons per byte. */
#ifndef EVRT_JSON_KEYS_H
#define EVRT_JSON_KEYS_H

#include <stdbool.h>

#include "core/buf.h"

enum {
    EVRT_JSON_KEYS_INLINE = 64,  /* names that need no allocation */
    EVRT_JSON_KEYS_LINEAR = 128, /* names of an object that are compared one by one */
};

struct evrt_json_key {
    struct evrt_slice name; /* unescaped */
    const char *at;         /* its opening quote in the text */
};

struct evrt_json_keys {
    struct evrt_json_key *keys;
    uint32_t *prints; /* fingerprint of each */
    size_t n, cap;
    struct evrt_json_key inline_keys[EVRT_JSON_KEYS_INLINE];
    uint32_t inline_prints[EVRT_JSON_KEYS_INLINE];
};

void evrt_json_keys_init(struct evrt_json_keys *k);
void evrt_json_keys_finish(struct evrt_json_keys *k);

/* Adds a name to the object that began at `first`; false when it is there already. */
EVRT_MUST_CHECK bool evrt_json_keys_add(struct evrt_json_keys *k, size_t first,
                                        struct evrt_slice name, const char *at);
/* Ends that object. Returns the later of two equal names that adding did not compare, or NULL. */
EVRT_MUST_CHECK const char *evrt_json_keys_close(struct evrt_json_keys *k, size_t first);

#endif

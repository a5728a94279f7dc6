/* The options: one table that the loader, the overrides, the help, the reference file conf/evrt.yaml
 * and the tests read. Constant data; any thread. */
#ifndef EVRT_CONFIG_OPTIONS_H
#define EVRT_CONFIG_OPTIONS_H

#include <stdbool.h>

#include "core/buf.h"

/* What a value is. name, how the type is called to a person. */
#define EVRT_OPTION_TYPES(X)                                                                    \
    X(STRING, "text")         /* char *; min and max: bytes */                                  \
    X(BOOL, "true or false")  /* bool */                                                        \
    X(NUMBER, "whole number") /* uint64_t; `choices` is a word for 0 */                         \
    X(DECIMAL, "number")      /* uint64_t, thousandths; so are min and max */                   \
    X(SIZE, "size")           /* uint64_t, bytes */                                             \
    X(DURATION, "duration")   /* int64_t, milliseconds */                                       \
    X(ADDRESS, "address")     /* char *, see config/config.h */                                 \
    X(CHOICE, "one of")       /* char *, one of `choices` */                                    \
    X(PATH, "path")           /* char *, absolute once read */                                  \
    X(PATHS, "list of paths") /* struct evrt_strings; `choices` are words that are not paths */ \
    X(APPLIES, "list of {events, policies}") /* struct evrt_applies */

enum evrt_option_type {
#define X(name, words) EVRT_OPTION_##name,
    EVRT_OPTION_TYPES(X)
#undef X
};

struct evrt_option {
    const char *key;     /* "http.listen": also the member of struct evrt_config */
    const char *def;     /* the default, as it would be written */
    const char *choices; /* joined by '|', or NULL */
    const char *help;
    uint64_t min, max; /* of numbers; bytes of a text; entries of a list */
    enum evrt_option_type type;
    bool reloadable; /* a reload may change it; else only a restart does */
    bool secret;     /* never shown */
    size_t offset;   /* in struct evrt_config */
};

#define EVRT_OPTION_COUNT 94
#define EVRT_OPTION_KEY_MAX 64

/* In the order of the reference file; keys of one section stand together. */
extern const struct evrt_option evrt_options[EVRT_OPTION_COUNT];

/* NULL: no such key. */
const struct evrt_option *evrt_option_find(struct evrt_slice key);
/* Whether keys begin with `key` and a dot. "" is the root section. */
bool evrt_option_is_section(struct evrt_slice key);
/* The key or section that `key` was probably meant to be. Copies it into buf; returns buf. */
char *evrt_option_nearest(struct evrt_slice key, char buf[EVRT_OPTION_KEY_MAX]);
/* "a duration from 50ms to 1h", "one of fsync, os, memory". Appends to out. */
void evrt_option_expects(const struct evrt_option *o, struct evrt_buf *out);

#endif

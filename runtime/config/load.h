/* Inside of loading: what config.c, yaml.c, value.c, reload.c and check.c share. One load is one thread's.
 *
 *     defaults ──▶ file (yaml.c) ──▶ EVRT_SET_* ──▶ overrides ──▶ check.c
 *                        └──── each value through evrt_value_set ────┘
 *
 * An error is told and loading goes on, so that one run names all of them; only YAML that does not
 * parse ends the reading of the file. */
#ifndef EVRT_CONFIG_LOAD_H
#define EVRT_CONFIG_LOAD_H

#include "config/config.h"
#include "config/options.h"

/* Where a value came from: a line of the file, an override, or neither for a default. */
struct evrt_place {
    int line;             /* > 0: of the file */
    const char *override; /* "key=value" */
    const char *prefix;   /* what introduced the override: "--set " or "" */
};

struct evrt_load {
    struct evrt_config *c;
    const char *file; /* as named by the user; NULL: none */
    const char *dir;  /* absolute folder that relative paths stand in */
    evrt_config_error_cb each;
    void *arg;
    struct evrt_error *first; /* the first error found, for the caller */
    unsigned errors;
    struct evrt_place from[EVRT_OPTION_COUNT];
};

/* Tells one error: at the place in the file, or "override: message". */
void evrt_load_fail(struct evrt_load *l, const struct evrt_place *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* "unknown key ...", with the nearest. */
void evrt_load_unknown(struct evrt_load *l, const struct evrt_place *at, struct evrt_slice key);
/* Text from outside, for a message: in quotes, short, and nothing a terminal would act on. */
#define EVRT_LOAD_QUOTE 96
char *evrt_load_quote(struct evrt_slice text, char buf[EVRT_LOAD_QUOTE]);

/* value.c. Checks the text and stores it; on a bad value tells the error and keeps what was there.
 * A list: evrt_value_finish, then evrt_value_add for each entry; set makes a list of one. */
void evrt_value_set(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice text,
                    const struct evrt_place *at);
void evrt_value_add(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice text,
                    const struct evrt_place *at);
/* Tells that a value is not what the option expects; `got` says what is there instead. */
void evrt_value_refuse(struct evrt_load *l, const struct evrt_option *o,
                       const struct evrt_place *at, const char *got);
/* Frees the value and leaves the member empty. */
void evrt_value_finish(struct evrt_config *c, const struct evrt_option *o);

/* Adds an entry to a list of texts; empties it. */
void evrt_strings_add(struct evrt_strings *list, struct evrt_slice text);
void evrt_strings_finish(struct evrt_strings *list);

/* yaml.c. Reads a whole file's text, or one flow list ("[a, b]") for option o. */
void evrt_yaml_file(struct evrt_load *l, struct evrt_slice text);
void evrt_yaml_list(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice text,
                    const struct evrt_place *at);

/* reload.c. Tells what differs from the configuration in force; keeps its values where only a restart may
 * change them. */
void evrt_load_compare(struct evrt_load *l, const struct evrt_config *running,
                       evrt_config_change_cb changed, void *arg);

/* check.c. What only the values together, or the files they name, can tell. */
void evrt_load_check(struct evrt_load *l, const struct evrt_config_source *source);

#endif

/* The scripts of a generation: every file frozen into one sealed memfd, and what they declare. Owner:
 * the host; one thread. */
#ifndef EVRT_HOST_SCRIPTS_H
#define EVRT_HOST_SCRIPTS_H

#include <stdbool.h>

#include "core/buf.h"

struct evrt_config;
struct evrt_frame_hello;

/* How a policy wants failures of a handler tried again. What it leaves open (-1, DEFAULT) is the
 * configuration's. */
enum evrt_retry_kind {
    EVRT_RETRY_DEFAULT,
    EVRT_RETRY_EXPONENTIAL,
    EVRT_RETRY_FIXED,
    EVRT_RETRY_LINEAR,
    EVRT_RETRY_FUNCTION /* a worker is asked for the delay */
};
struct evrt_retry {
    char *events; /* patterns joined by '\n'; "": whatever the handler gets */
    enum evrt_retry_kind kind;
    int64_t max_retries, initial_delay_ms, max_delay_ms, increment_ms;
    double multiplier, jitter;
    bool retry_if; /* a worker is asked whether at all */
};

/* What becomes of a timer's times that were missed. */
enum evrt_catch_up { EVRT_CATCH_UP_SKIP, EVRT_CATCH_UP_ONCE, EVRT_CATCH_UP_ALL };

/* A handler as its script declares it. */
struct evrt_handler {
    char *name, *file;
    int line;
    char *patterns; /* joined by '\n' */
    int64_t timeout_ms;
    uint32_t concurrency; /* 0: the configured default */
    bool from_beginning;
    char *ordered_by; /* "" not at all; an attribute, or "data." and a path */
    int priority;
    char *policies;             /* JSON array, for people: what is around it, outermost first */
    char *chain;                /* the same for comparing: without the lines where it is said */
    struct evrt_retry *retries; /* outermost first: of those that match an event the last counts */
    size_t retry_count;
    bool retry_skips; /* its retries let others of their key pass */
    /* A timer; schedule "" and every 0: it has none. */
    char *schedule, *timezone;
    int64_t every_ms;
    enum evrt_catch_up catch_up;
    bool on_dead_letter;
    uint64_t script; /* hash of its file */
};

struct evrt_script_file {
    char *path;
    uint64_t hash;
};

struct evrt_scripts {
    int snapshot;       /* memfd; -1: none */
    uint64_t hash;      /* of all the bytes */
    uint64_t signature; /* of names, times and sizes, as evrt_scripts_signature() gives it */
    struct evrt_script_file *files;
    size_t file_count;
    int64_t changed_ms; /* when the youngest file was written, renamed or the like; wall clock */
    char **folders;     /* where files were looked for */
    size_t folder_count;
    struct evrt_handler *handlers; /* in the order in which deliveries name them */
    size_t count;
};

/* Reads the folder (its *.lua in order of name; names that start with '_' and subfolders are modules for
 * require) or the globs of config->handlers. -EINVAL, -ENOENT and the like with the file. */
EVRT_MUST_CHECK int evrt_scripts_read(struct evrt_scripts *s, const struct evrt_config *config,
                                      struct evrt_error *err);
void evrt_scripts_finish(struct evrt_scripts *s);
/* What a look at the folders tells without reading a file; another one when a file was saved, added or
 * removed. 0: they cannot be read. Any thread. */
uint64_t evrt_scripts_signature(const struct evrt_config *config);

/* Whether the two declare the same but for where. */
bool evrt_handler_same(const struct evrt_handler *a, const struct evrt_handler *b);

/* The settings a worker starts with; its number and generation are the caller's to set. */
struct evrt_frame_hello evrt_scripts_hello(const struct evrt_config *config);

/* The two texts a worker answers with. */
EVRT_MUST_CHECK int evrt_scripts_declared(struct evrt_scripts *s, struct evrt_slice json,
                                          struct evrt_error *err);
/* The same as `as` declares, by the same text: without reading that again. */
void evrt_scripts_declare_same(struct evrt_scripts *s, const struct evrt_scripts *as);
void evrt_scripts_refused(struct evrt_slice text,
                          void (*each)(void *arg, const struct evrt_error *err), void *arg,
                          struct evrt_error *first);

#endif

/* The configuration: one table of options (config/options.h) that the parser, the help, the reference
 * file conf/evrt.yaml and the tests all read. Filled once, then read-only; any thread may read. */
#ifndef EVRT_CONFIG_CONFIG_H
#define EVRT_CONFIG_CONFIG_H

#include <stdbool.h>

#include "core/buf.h"

/* NULL-terminated; the strings and the array are the config's. */
struct evrt_strings {
    char **v;
    size_t n;
};

/* One entry of `apply`: the named policies around what has a matching event type. */
struct evrt_apply {
    int line; /* of the file; 0: an override */
    struct evrt_strings events, policies;
};
struct evrt_applies {
    struct evrt_apply *v;
    size_t n;
};

/* One member per option, filled by the table. Durations are milliseconds, sizes bytes; paths are made
 * absolute against the config file's folder. */
struct evrt_config {
    char *file; /* the file read, "" for none */
    struct {
        char *name, *version, *environment;
    } service;
    struct evrt_strings handlers; /* one folder, or globs */
    char *policies;               /* folder */
    struct evrt_applies apply;    /* outermost first */
    struct {
        uint64_t count; /* 0: auto, one per core */
        uint64_t memory_limit;
        int64_t stall_timeout, drain_timeout;
        uint64_t concurrency, nice;
        bool allow_ffi, confine;
        char *user;
    } workers;
    struct {
        bool watch;
        int64_t interval;
    } reload;
    struct {
        char *listen;
        uint64_t max_event_size, max_batch, max_connections, max_connections_per_address;
        uint64_t max_header_size; /* all header bytes of one request */
        uint64_t max_body_size;   /* bytes of a batch as it comes in */
        int64_t request_timeout;  /* from the first byte to the last */
        int64_t idle_timeout;     /* of a connection between requests */
        char *token_file;
    } http;
    struct {
        char *listen, *token_file;
        uint64_t max_queries; /* scans of the journal at once */
        uint64_t max_tails;
        uint64_t tail_lag; /* events that one may be behind */
    } admin;
    struct {
        char *path, *durability; /* fsync | os | memory */
        int64_t retention;
        uint64_t max_size;
        uint64_t max_backlog;       /* bytes that wait for the disk */
        uint64_t max_state_backlog; /* ... for state.db */
    } store;
    struct {
        uint64_t max_hops;
        int64_t orphan_ttl;
        uint64_t window;     /* deliveries of one handler in flight or ready */
        uint64_t max_parked; /* events of one handler that wait for their key */
        uint64_t
            memory_limit; /* bytes of fresh events kept for handlers; beyond it they read the journal */
    } bus;
    struct {
        char *policy; /* exponential | fixed | linear */
        uint64_t max_retries;
        int64_t initial_delay, max_delay;
        uint64_t multiplier; /* thousandths */
        int64_t increment;
        uint64_t jitter; /* thousandths */
        int64_t ttl;
    } retry;
    struct {
        int64_t ttl;
        uint64_t max;
    } dead_letters;
    struct {
        uint64_t concurrency, replay_concurrency, max, keep;
    } jobs;
    struct {
        int64_t window;
        uint64_t max; /* 0: off */
    } dedup;
    struct {
        uint64_t max;
        int64_t max_delay;
        uint64_t max_catch_up;
    } schedule;
    struct {
        uint64_t max_folds;
    } snapshots;
    struct {
        uint64_t max_entries, max_value_size; /* of a key and its value */
    } shared;
    struct {
        uint64_t max_key, max_value, max_effects, max_conflicts;
        char *writers;                         /* HANDLER=NAMESPACE, apart by spaces */
        uint64_t overlay, cache, shared_cache; /* bytes */
    } kv;
    struct {
        bool enabled;
        char *path;
        uint64_t max_series;
        int64_t series_ttl;
    } metrics;
    struct {
        char *exporter, *endpoint; /* none | otlp | stdout */
        uint64_t sample_rate;      /* thousandths */
        uint64_t max_spans_per_second;
        char *keep; /* sampled | errors */
        uint64_t batch_size;
        int64_t batch_delay;
        uint64_t queue_size;
        int64_t timeout;
        char *compression; /* auto | gzip | none */
    } tracing;
    struct {
        char *level, *encoding;
        bool caller, stacktrace;
        struct evrt_strings outputs;
        struct {
            uint64_t first, then_every;
        } sampling;
    } logging;
};

/* Reads the file (NULL: defaults alone), then EVRT_SET_KEY__SUB from the environment, then overrides
 * ("key.sub=value", NULL-terminated, may be NULL). -EINVAL with file:line, the key and the nearest valid
 * one; -ENOENT and the like for a file that cannot be read. */
EVRT_MUST_CHECK int evrt_config_load(struct evrt_config *c, const char *file,
                                     const char *const *overrides, struct evrt_error *err);
void evrt_config_finish(struct evrt_config *c);
/* Exchanges the values of all keys that may change without a restart. */
void evrt_config_exchange(struct evrt_config *a, struct evrt_config *b);

typedef void (*evrt_config_error_cb)(void *arg, const struct evrt_error *err);

/* A key whose value is not the one in force. The texts are valid during the call. */
struct evrt_config_change {
    const char *key; /* static */
    const char *from, *to;
    bool reloadable; /* else it needs a restart, and what is in force is kept */
};
typedef void (*evrt_config_change_cb)(void *arg, const struct evrt_config_change *change);

/* The same with every source named, for tools and tests. Zero-initialise. */
struct evrt_config_source {
    const char *file;               /* NULL: none */
    struct evrt_slice text;         /* when p is set: read this as the content of `file` */
    const char *const *environment; /* "NAME=value"; NULL: none */
    const char *const *overrides;   /* NULL: none */
    bool trust_files;               /* do not look whether the files and folders named exist */
    evrt_config_error_cb each;      /* told of every error; may be NULL. `err` gets the first */
    void *arg;
    /* For a reload: the configuration in force. Keys that need a restart keep its values; `changed` (may be
     * NULL) is told of every key that differs. */
    const struct evrt_config *running;
    evrt_config_change_cb changed;
};
EVRT_MUST_CHECK int evrt_config_load_from(struct evrt_config *c,
                                          const struct evrt_config_source *source,
                                          struct evrt_error *err);

/* Appends the reference file: every key with its default and a comment. conf/evrt.yaml is this text. */
void evrt_config_reference(struct evrt_buf *out);

/* Where to find the configuration when none is named: conf/evrt.yaml, /etc/evrt/evrt.yaml; NULL: neither
 * exists. Static strings. */
const char *evrt_config_find(void);

/* "host:port", "[v6]:port" or ":port" (every IPv4 address). -EINVAL with the reason. Port 0 asks for any
 * free port. */
struct evrt_address {
    char host[64]; /* always a literal IPv4 or IPv6 address, without brackets */
    uint16_t port;
};
EVRT_MUST_CHECK int evrt_address_parse(struct evrt_slice s, struct evrt_address *out,
                                       struct evrt_error *err);
bool evrt_address_is_loopback(const struct evrt_address *a);

#endif

/* Sampling: per second and per message the first n lines pass, then every m-th. Any thread; no lock: a race
 * at the turn of a second may let a line more or less through, which is not worth one. */
#ifndef EVRT_TELEMETRY_LOG_SAMPLE_H
#define EVRT_TELEMETRY_LOG_SAMPLE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "evrt.h"
#include "telemetry/log_events.h"

#define EVRT_LOG_SAMPLE_SETS 256
#define EVRT_LOG_SAMPLE_WAYS 4

struct evrt_log_sample_slot {
    union {
        _Atomic uint64_t key;  /* hash of level and message */
        _Atomic uint32_t next; /* one of the table's: the next that passes in this second */
    };
    _Atomic uint64_t state; /* the second << 32 | how many came in it: one addition counts a line */
};

struct evrt_log_sampler {
    _Atomic uint32_t first, then; /* first 0: everything passes */
    _Atomic uint64_t left_out;    /* in seconds that are over; evrt_log_sample_left_out() has all */
    struct evrt_log_sample_slot events[EVRT_MSG_COUNT]; /* the table's messages, by id */
    struct evrt_log_sample_slot others[EVRT_LOG_SAMPLE_SETS][EVRT_LOG_SAMPLE_WAYS];
};

/* The memory is zeroed before the first call; later ones change the limits. Any thread. */
void evrt_log_sampler_set(struct evrt_log_sampler *s, uint32_t first, uint32_t then);
/* Whether this one is to be logged; counts it as left out otherwise. `now_ns`: monotonic, some milliseconds old at
 * most. */
bool evrt_log_sample_event(struct evrt_log_sampler *s, enum evrt_log_message_id id, int64_t now_ns);
bool evrt_log_sample_text(struct evrt_log_sampler *s, enum evrt_log_level level,
                          struct evrt_slice msg, int64_t now_ns);
uint64_t evrt_log_sample_left_out(const struct evrt_log_sampler *s);

#endif

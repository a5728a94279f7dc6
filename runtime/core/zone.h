/* Time zones, from the system's tzdata (TZif files, RFC 8536), without the process-wide TZ of libc.
 *
 *     UTC ──────┤ +1:00 ├──────┤ +2:00 ├──────┤ +1:00 ├──▶   each piece is a span of one offset
 *
 * create/destroy; a loaded zone does not change; any thread. */
#ifndef EVRT_CORE_ZONE_H
#define EVRT_CORE_ZONE_H

#include "evrt.h"

struct evrt_zone;

/* "Europe/Berlin"; "UTC" and "" need no file. -EINVAL with the reason: no such zone, or a file that is none. */
EVRT_MUST_CHECK int evrt_zone_load(struct evrt_zone **out, struct evrt_slice name,
                                   struct evrt_error *err);
void evrt_zone_destroy(struct evrt_zone *z);

/* While local time is UTC plus `offset`: seconds since the epoch, [from, until). */
struct evrt_zone_span {
    int64_t from, until; /* INT64_MIN and INT64_MAX where there is no change */
    int32_t offset;      /* seconds */
};
struct evrt_zone_span evrt_zone_span_at(const struct evrt_zone *z, int64_t seconds);

/* Days since the epoch, in the proleptic Gregorian calendar; month and day from 1. */
int64_t evrt_days_of(int64_t year, int month, int day);
void evrt_date_of(int64_t days, int64_t *year, int *month, int *day);

#endif

/* Time: two clocks and RFC 3339. Any thread. */
#ifndef EVRT_CORE_CLOCK_H
#define EVRT_CORE_CLOCK_H

#include "evrt.h"

int64_t evrt_mono_ns(void); /* CLOCK_MONOTONIC, nanoseconds */
int64_t evrt_unix_ns(void); /* what CLOCK_REALTIME is ahead of CLOCK_MONOTONIC, nanoseconds */
int64_t evrt_wall_ms(void); /* CLOCK_REALTIME, milliseconds since the epoch */

/* "2025-01-07T10:30:45.123Z" (24 bytes and a NUL) for years 0 to 9999. Returns buf. */
#define EVRT_RFC3339_SIZE 25
char *evrt_rfc3339_format(int64_t ms, char buf[EVRT_RFC3339_SIZE]);

/* RFC 3339 date-time with any offset and fraction (beyond ms cut off); 'T' and 'Z' in either case;
 * second 60 is accepted and counts as 59.999. 0, or -EINVAL and *bad is the offset that is wrong. */
int evrt_rfc3339_parse(struct evrt_slice s, int64_t *ms, size_t *bad);

#endif

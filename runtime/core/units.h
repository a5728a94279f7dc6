/* Durations ("250ms", "30s", "7d") and sizes ("1MiB", "64KiB", "512"). Any thread. */
#ifndef EVRT_CORE_UNITS_H
#define EVRT_CORE_UNITS_H

#include "evrt.h"

/* A number, perhaps with a fraction, and one of ms s m h d. "0" needs no unit. 0, -EINVAL, -ERANGE. */
EVRT_MUST_CHECK int evrt_duration_parse(struct evrt_slice s, int64_t *ms);
/* A number and nothing, B, KiB, MiB, GiB, TiB (or KB, MB, GB, TB, powers of ten). */
EVRT_MUST_CHECK int evrt_size_parse(struct evrt_slice s, uint64_t *bytes);

/* The shortest form that parses back to the same value; "30s", "64MiB". Returns buf. */
#define EVRT_UNITS_SIZE 32
char *evrt_duration_format(int64_t ms, char buf[EVRT_UNITS_SIZE]);
char *evrt_size_format(uint64_t bytes, char buf[EVRT_UNITS_SIZE]);

#endif

/* Values as queries and bodies of the admin API have them. Pure but for the clock; any thread. */
#ifndef EVRT_HTTP_PARAMETER_H
#define EVRT_HTTP_PARAMETER_H

#include <stdbool.h>

#include "core/buf.h"

bool evrt_parameter_u64(struct evrt_slice s, uint64_t *out);
/* Two of them, as in 3-1207. */
bool evrt_parameter_pair(struct evrt_slice s, uint64_t *first, uint64_t *second);
/* RFC 3339, or a duration such as 1h: that long ago. Milliseconds since the epoch. */
bool evrt_parameter_time(struct evrt_slice s, int64_t *ms);
extern const char evrt_parameter_time_form[]; /* how it looks, for messages */

#endif

/* What the kernel says of this process: the standard process_* figures. Reads /proc: some 50 us, so not where
 * it would be waited for. Any thread. */
#ifndef EVRT_TELEMETRY_PROCESS_STATS_H
#define EVRT_TELEMETRY_PROCESS_STATS_H

#include "core/buf.h"

struct evrt_process_stats {
    uint64_t cpu_ns, start_ms;
    double virtual_bytes, virtual_max, resident_bytes; /* -1: no limit */
    double open_fds, max_fds, threads;
};
/* What cannot be read stays 0. */
void evrt_process_stats(struct evrt_process_stats *out);

#endif

/* Starting a process for a worker. It shares the host's memory until its program runs, where fork, as in uv_spawn,
 * copies its page tables first: 0.2 ms of the loop's time at any size, and not 1.3 at 10 MiB and 8.8 at 200. The
 * loop's thread. */
#ifndef EVRT_HOST_PROCESS_H
#define EVRT_HOST_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "core/buf.h"

/* Runs `path worker` with these descriptors as 3, 4, ... (a negative one ends the list), and nothing else but
 * standard output and error, with default signals; `aside`: from its first moment it gives way to all others
 * (core/cpu.h). 0 or a negative errno. */
EVRT_MUST_CHECK int host_process_start(pid_t *pid, const char *path, const int *fds, size_t count,
                                       bool aside);
/* Whether it has ended, without waiting; then it is reaped. `signal` 0: `status` is its exit code. */
bool host_process_ended(pid_t pid, int *status, int *signal);

#endif

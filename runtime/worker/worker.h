/* The worker process: one uv loop, one LuaJIT state, one socket to the host. Started by the host as
 * `evrt worker` with the socket on fd 3 and the snapshot of scripts on fd 4; nothing else is inherited
 * but 0, 1 and 2. It ends when the host does. */
#ifndef EVRT_WORKER_WORKER_H
#define EVRT_WORKER_WORKER_H

/* Runs until the host says DRAIN or goes away. Returns the process's exit code. */
int evrt_worker_main(void);
/* LuaJIT's version: "2.1.0-beta3". */
const char *evrt_worker_library(void);

#endif

/* evrt's own Lua library (lua/ in the source) as bytes inside the binary, so that it runs from anywhere.
 * The table is generated at build by worker/embed.cmake; read-only, any thread. */
#ifndef EVRT_WORKER_EMBEDDED_H
#define EVRT_WORKER_EMBEDDED_H

#include <stddef.h>

struct evrt_embedded_file {
    const char *module; /* as in require: "evrt", "evrt.policy.retry" */
    const char *path;   /* as in a chunk name: "lua/evrt/policy/retry.lua" */
    const unsigned char *bytes;
    size_t n;
};

/* Sorted by module. */
extern const struct evrt_embedded_file evrt_embedded_files[];
extern const size_t evrt_embedded_count;

#endif

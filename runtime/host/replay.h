/* Replays inside of the host. The loop's thread. */
#ifndef EVRT_HOST_REPLAY_H
#define EVRT_HOST_REPLAY_H

#include <stdint.h>

struct evrt_host;

extern const struct host_job_kind host_replay_kind;
/* The first event that a replay still reads; UINT64_MAX: none. It stays for as long as there is space. */
uint64_t host_replays_pin(const struct evrt_host *h);

#endif

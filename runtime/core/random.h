/* Fast random numbers (xoshiro256**, seeded by the kernel) and UUIDv7. Not for secrets.
 * One state per owner; that owner's thread. */
#ifndef EVRT_CORE_RANDOM_H
#define EVRT_CORE_RANDOM_H

#include <stdint.h>

struct evrt_random {
    uint64_t s[4];
    uint64_t uuid_ms;  /* of the last UUID made here */
    uint32_t uuid_sub; /* counter within that millisecond */
};

/* Seeds from getrandom(2); aborts if the kernel cannot give any (it always can). */
void evrt_random_init(struct evrt_random *r);
uint64_t evrt_random_u64(struct evrt_random *r);

/* RFC 9562 version 7, lower case, 36 bytes and a NUL. Ids made by one state sort by time of making,
 * also within a millisecond and when the wall clock steps back. */
#define EVRT_UUID_SIZE 37
void evrt_uuid7(struct evrt_random *r, char out[EVRT_UUID_SIZE]);

#endif

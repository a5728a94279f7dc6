/* xxh3: checksums of what is on disk, and hashing of keys. The only user of xxhash.h. Any thread. */
#ifndef EVRT_CORE_HASH_H
#define EVRT_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

uint64_t evrt_hash64(const void *p, size_t n, uint64_t seed);
/* The hash of the concatenation; equal to evrt_hash64 of the joined bytes. */
uint64_t evrt_hash64_iov(const struct iovec *iov, size_t count, uint64_t seed);

/* Of 128 bits under a key that nobody else knows: two different inputs do not have the same, whoever made
 * them. Not for what outlives the process. */
struct evrt_hash128 {
    uint64_t lo, hi;
};
struct evrt_hash_key {
    unsigned char secret[192];
};
/* From the kernel's random numbers. */
void evrt_hash_key_init(struct evrt_hash_key *key);
struct evrt_hash128 evrt_hash128(const void *p, size_t n, const struct evrt_hash_key *key);

#endif

/* See hash.h. The library is used as a shared object, not inlined: its dispatch picks AVX2 or better. */
#include "core/hash.h"

#include <stdlib.h>
#include <sys/random.h>

#define XXH_STATIC_LINKING_ONLY /* the state on the stack */
#include <xxhash.h>

uint64_t evrt_hash64(const void *p, size_t n, uint64_t seed) {
    return XXH3_64bits_withSeed(p, n, seed);
}

uint64_t evrt_hash64_iov(const struct iovec *iov, size_t count, uint64_t seed) {
    if (count == 1) return evrt_hash64(iov[0].iov_base, iov[0].iov_len, seed);
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset_withSeed(&state, seed);
    for (size_t i = 0; i < count; i++)
        XXH3_64bits_update(&state, iov[i].iov_base, iov[i].iov_len);
    return XXH3_64bits_digest(&state);
}

void evrt_hash_key_init(struct evrt_hash_key *key) {
    if (getrandom(key->secret, sizeof key->secret, 0) != (ssize_t)sizeof key->secret) abort();
}

struct evrt_hash128 evrt_hash128(const void *p, size_t n, const struct evrt_hash_key *key) {
    XXH128_hash_t h = XXH3_128bits_withSecret(p, n, key->secret, sizeof key->secret);
    return (struct evrt_hash128){h.low64, h.high64};
}

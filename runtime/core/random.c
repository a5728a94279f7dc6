/* See random.h. */
#include "core/random.h"

#include <stdlib.h>
#include <sys/random.h>

#include "core/clock.h"

void evrt_random_init(struct evrt_random *r) {
    *r = (struct evrt_random){{0}, 0, 0};
    if (getrandom(r->s, sizeof r->s, 0) != (ssize_t)sizeof r->s) abort();
    r->s[0] |= 1; /* all zero is the one state xoshiro cannot leave */
}

static uint64_t rotl(uint64_t x, int k) {
    return (x << k) | (x >> (64 - k));
}

uint64_t evrt_random_u64(struct evrt_random *r) {
    uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

/* Layout: 48 bits of milliseconds, version, 12 bits of counter, variant, 62 bits of randomness. The
 * counter starts in the lower half of its range each millisecond and carries into the time. */
void evrt_uuid7(struct evrt_random *r, char out[EVRT_UUID_SIZE]) {
    static const char hex[] = "0123456789abcdef";
    uint64_t now = (uint64_t)evrt_wall_ms(), tail = evrt_random_u64(r);
    if (now > r->uuid_ms) {
        r->uuid_ms = now;
        r->uuid_sub = (uint32_t)(tail >> 62) * 512;
    } else if (++r->uuid_sub > 0xfff) {
        r->uuid_ms++;
        r->uuid_sub = 0;
    }
    uint64_t hi = r->uuid_ms << 16 | 0x7000 | r->uuid_sub;
    uint64_t lo = (tail & 0x3fffffffffffffff) | 0x8000000000000000;
    for (int i = 0, at = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20) out[at++] = '-';
        uint64_t half = i < 16 ? hi : lo;
        out[at++] = hex[half >> (60 - 4 * (i % 16)) & 15];
    }
    out[36] = '\0';
}

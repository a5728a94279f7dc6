/* Little-endian integers at any alignment, and alignment arithmetic. evrt's disk and wire formats are
 * little-endian; so is every machine it builds for (asserted here), so these are plain copies. */
#ifndef EVRT_CORE_BYTES_H
#define EVRT_CORE_BYTES_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "evrt's formats are little-endian; this machine is not"
#endif

#define EVRT_BYTES_DEFINE(bits)                                      \
    static inline uint##bits##_t evrt_get_u##bits(const void *p) {   \
        uint##bits##_t v;                                            \
        memcpy(&v, p, sizeof v);                                     \
        return v;                                                    \
    }                                                                \
    static inline void evrt_set_u##bits(void *p, uint##bits##_t v) { \
        memcpy(p, &v, sizeof v);                                     \
    }
EVRT_BYTES_DEFINE(16)
EVRT_BYTES_DEFINE(32)
EVRT_BYTES_DEFINE(64)

#define EVRT_ALIGN(n, to) (((n) + (to)-1) & ~((uint64_t)(to)-1))

#endif

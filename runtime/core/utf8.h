/* Strict UTF-8 (no overlong forms, no surrogates, at most U+10FFFF). Any thread. */
#ifndef EVRT_CORE_UTF8_H
#define EVRT_CORE_UTF8_H

#include "evrt.h"

/* Length of the character at p (1 to 4) and its code point, or 0 when it is not UTF-8. n > 0. */
size_t evrt_utf8_next(const char *p, size_t n, uint32_t *code);
/* Offset of the first byte that is not UTF-8, or n when all is. */
size_t evrt_utf8_check(const char *p, size_t n);
/* Appends code (a scalar value) at out; returns its length, 1 to 4. */
size_t evrt_utf8_put(char out[4], uint32_t code);

/* At most that many bytes of it, cut at a character's start: what was UTF-8 stays it. */
struct evrt_slice evrt_utf8_cut(struct evrt_slice s, size_t most);

#endif

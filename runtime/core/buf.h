/* A growable byte buffer. Embedded (init/finish); the owner's thread only.
 * Running out of memory aborts the process: evrt has no useful way to go on without it. */
#ifndef EVRT_CORE_BUF_H
#define EVRT_CORE_BUF_H

#include <stdarg.h>
#include <string.h>

#include "evrt.h"

struct evrt_buf {
    char *p;
    size_t n;   /* bytes used */
    size_t cap; /* bytes allocated */
};

void evrt_buf_init(struct evrt_buf *b);
void evrt_buf_finish(struct evrt_buf *b);
/* Gives up the memory (caller frees) and leaves the buffer empty. */
char *evrt_buf_release(struct evrt_buf *b);

/* Makes room for n more bytes and returns where they go; does not change b->n. */
char *evrt_buf_room(struct evrt_buf *b, size_t n);
void evrt_buf_put(struct evrt_buf *b, const void *p, size_t n);
void evrt_buf_puts(struct evrt_buf *b, const char *s);
void evrt_buf_putc(struct evrt_buf *b, char c);
void evrt_buf_printf(struct evrt_buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Decimal, without printf. */
void evrt_buf_put_u64(struct evrt_buf *b, uint64_t v);
void evrt_buf_put_i64(struct evrt_buf *b, int64_t v);
/* Drops the first n bytes (moves the rest down). */
void evrt_buf_consume(struct evrt_buf *b, size_t n);
/* Ends the content with a NUL that is not counted; returns b->p. */
const char *evrt_buf_cstr(struct evrt_buf *b);

static inline void evrt_buf_clear(struct evrt_buf *b) {
    b->n = 0;
}

static inline struct evrt_slice evrt_buf_slice(const struct evrt_buf *b) {
    return (struct evrt_slice){b->p, b->n};
}

/* malloc, calloc, realloc, strdup that abort on exhaustion. */
void *evrt_alloc(size_t n) __attribute__((malloc, returns_nonnull));
void *evrt_zalloc(size_t n) __attribute__((malloc, returns_nonnull));
void *evrt_realloc(void *p, size_t n) __attribute__((returns_nonnull));
char *evrt_strdup(const char *s) __attribute__((malloc, returns_nonnull));
char *evrt_strndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));

/* An array that is to hold one more than its n: where it is now. It doubles when it is full. */
static inline void *evrt_grow(void *array, size_t n, size_t *cap, size_t each) {
    enum { START = 16 };
    if (n < *cap) return array;
    *cap = *cap == 0 ? START : *cap * 2;
    return evrt_realloc(array, *cap * each);
}

static inline struct evrt_slice evrt_slice_of(const char *s) {
    return (struct evrt_slice){s, s == NULL ? 0 : strlen(s)};
}

static inline int evrt_slice_eq(struct evrt_slice a, struct evrt_slice b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* By bytes, as memcmp: below, at or above 0. */
static inline int evrt_slice_order(struct evrt_slice a, struct evrt_slice b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int rc = n == 0 ? 0 : memcmp(a.p, b.p, n);
    return rc != 0 ? rc : a.n < b.n ? -1 : a.n > b.n;
}

#endif

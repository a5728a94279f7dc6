/* See buf.h. Growth doubles, so appending is linear in the bytes appended. */
#include "core/buf.h"

#include <stdio.h>
#include <stdlib.h>

static void *must(void *p) {
    if (p == NULL) {
        fputs("evrt: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *evrt_alloc(size_t n) {
    return must(malloc(n ? n : 1));
}

void *evrt_zalloc(size_t n) {
    return must(calloc(1, n ? n : 1));
}

void *evrt_realloc(void *p, size_t n) {
    return must(realloc(p, n ? n : 1));
}

char *evrt_strdup(const char *s) {
    return must(strdup(s));
}

char *evrt_strndup(const char *s, size_t n) {
    return must(strndup(s, n));
}

void evrt_buf_init(struct evrt_buf *b) {
    *b = (struct evrt_buf){0};
}

void evrt_buf_finish(struct evrt_buf *b) {
    free(b->p);
    *b = (struct evrt_buf){0};
}

char *evrt_buf_release(struct evrt_buf *b) {
    char *p = b->p;
    *b = (struct evrt_buf){0};
    return p;
}

char *evrt_buf_room(struct evrt_buf *b, size_t n) {
    if (b->cap - b->n < n) {
        size_t cap = b->cap ? b->cap : 256;
        while (cap - b->n < n)
            cap *= 2;
        b->p = evrt_realloc(b->p, cap);
        b->cap = cap;
    }
    return b->p + b->n;
}

void evrt_buf_put(struct evrt_buf *b, const void *p, size_t n) {
    if (n == 0) return;
    memcpy(evrt_buf_room(b, n), p, n);
    b->n += n;
}

void evrt_buf_puts(struct evrt_buf *b, const char *s) {
    evrt_buf_put(b, s, strlen(s));
}

void evrt_buf_putc(struct evrt_buf *b, char c) {
    *evrt_buf_room(b, 1) = c;
    b->n++;
}

void evrt_buf_printf(struct evrt_buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n <= 0) return;
    char *at = evrt_buf_room(b, (size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(at, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
}

void evrt_buf_put_u64(struct evrt_buf *b, uint64_t v) {
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    evrt_buf_put(b, digits + at, sizeof digits - at);
}

void evrt_buf_put_i64(struct evrt_buf *b, int64_t v) {
    if (v < 0) evrt_buf_putc(b, '-');
    evrt_buf_put_u64(b, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

void evrt_buf_consume(struct evrt_buf *b, size_t n) {
    if (n == 0) return;
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

const char *evrt_buf_cstr(struct evrt_buf *b) {
    *evrt_buf_room(b, 1) = '\0';
    return b->p;
}

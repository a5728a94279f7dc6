/* Filling a struct evrt_error. Any thread; the caller owns the struct. NULL is accepted everywhere. */
#ifndef EVRT_CORE_ERROR_H
#define EVRT_CORE_ERROR_H

#include <stdarg.h>

#include "evrt.h"

/* Sets code and message, clears file and line; returns `code` so that callers can return it. */
int evrt_error_set(struct evrt_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with a place. `line` 0: the file as a whole. */
int evrt_error_at(struct evrt_error *err, int code, const char *file, int line, const char *fmt,
                  ...) __attribute__((format(printf, 5, 6)));

/* "file:line: message" or "message" into buf, always terminated. Returns buf. */
char *evrt_error_format(const struct evrt_error *err, char *buf, size_t size);

#endif

/* See error.h. */
#include "core/error.h"

#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 5, 0))) static int
set(struct evrt_error *err, int code, const char *file, int line, const char *fmt, va_list ap) {
    if (err == NULL) return code;
    /* Formatted aside first: callers wrap an error in itself ("%s: %s", what, err->message). */
    char message[sizeof err->message];
    char path[sizeof err->file];
    vsnprintf(message, sizeof message, fmt, ap);
    snprintf(path, sizeof path, "%s", file);
    err->code = code;
    err->line = line;
    memcpy(err->message, message, sizeof message);
    memcpy(err->file, path, sizeof path);
    return code;
}

int evrt_error_set(struct evrt_error *err, int code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    set(err, code, "", 0, fmt, ap);
    va_end(ap);
    return code;
}

int evrt_error_at(struct evrt_error *err, int code, const char *file, int line, const char *fmt,
                  ...) {
    va_list ap;
    va_start(ap, fmt);
    set(err, code, file, line, fmt, ap);
    va_end(ap);
    return code;
}

char *evrt_error_format(const struct evrt_error *err, char *buf, size_t size) {
    if (err->file[0] == '\0')
        snprintf(buf, size, "%s", err->message);
    else if (err->line == 0)
        snprintf(buf, size, "%s: %s", err->file, err->message);
    else
        snprintf(buf, size, "%s:%d: %s", err->file, err->line, err->message);
    return buf;
}

/* See wrap.h. */
#include "core/wrap.h"

#include <stdbool.h>

static void put_prefix(struct evrt_buf *out, const char *prefix, size_t n) {
    while (n > 0 && prefix[n - 1] == ' ')
        n--;
    evrt_buf_put(out, prefix, n);
}

/* One line of text, of n bytes, in as many lines as it takes. */
static void wrap_line(struct evrt_buf *out, const char *prefix, size_t width, const char *text,
                      size_t n) {
    size_t indent = strlen(prefix), column = 0, at = 0;
    if (n == 0) put_prefix(out, prefix, indent);
    while (at < n) {
        size_t end = at;
        while (end < n && text[end] != ' ')
            end++;
        bool fits = column > 0 && column + 1 + (end - at) <= width;
        if (fits) {
            evrt_buf_putc(out, ' ');
        } else {
            if (column > 0) evrt_buf_putc(out, '\n');
            evrt_buf_put(out, prefix, indent);
        }
        evrt_buf_put(out, text + at, end - at);
        column = (fits ? column + 1 : indent) + (end - at);
        at = end + 1;
    }
    evrt_buf_putc(out, '\n');
}

void evrt_wrap(struct evrt_buf *out, const char *prefix, size_t width, const char *text) {
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");
        wrap_line(out, prefix, width, text, n);
        text += n + (text[n] == '\n');
    }
}

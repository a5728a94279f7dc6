/* See table.h. */
#include "cli/table.h"

#include <wchar.h>

#include "core/utf8.h"

#define GAP 2 /* blanks between columns */

void evrt_show(struct evrt_buf *out, struct evrt_slice text, bool lines) {
    for (size_t at = 0; at < text.n;) {
        uint32_t code;
        size_t n = evrt_utf8_next(text.p + at, text.n - at, &code);
        bool kept = lines && n == 1 && (code == '\n' || code == '\t');
        /* C0, DEL, C1, and the marks that turn the direction of what follows. */
        bool hidden = n == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0) ||
                      (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
        if (hidden && !kept)
            evrt_buf_putc(out, '?');
        else
            evrt_buf_put(out, text.p + at, n);
        at += n ? n : 1;
    }
}

/* wcwidth() follows the locale that main() set; what it does not know counts as one. */
size_t evrt_show_width(struct evrt_slice text) {
    size_t width = 0;
    for (size_t at = 0; at < text.n;) {
        uint32_t code = '?';
        size_t n = evrt_utf8_next(text.p + at, text.n - at, &code);
        int w = wcwidth((wchar_t)code);
        width += w < 0 ? 1 : (size_t)w;
        at += n ? n : 1;
    }
    return width;
}

void evrt_table_init(struct evrt_table *t, const char *const *headers) {
    *t = (struct evrt_table){.headers = headers};
    while (headers[t->columns] != NULL)
        t->columns++;
}

void evrt_table_finish(struct evrt_table *t) {
    evrt_buf_finish(&t->text);
    evrt_buf_finish(&t->ends);
}

void evrt_table_cell(struct evrt_table *t, struct evrt_slice text) {
    if (text.n == 0) text = EVRT_STR("-");
    evrt_show(&t->text, text, false);
    evrt_buf_put(&t->ends, &t->text.n, sizeof t->text.n);
    t->cells++;
}

static struct evrt_slice cell(const struct evrt_table *t, size_t i) {
    size_t from = 0, to;
    if (i > 0) memcpy(&from, t->ends.p + (i - 1) * sizeof from, sizeof from);
    memcpy(&to, t->ends.p + i * sizeof to, sizeof to);
    return (struct evrt_slice){t->text.p + from, to - from};
}

static bool right(const struct evrt_table *t, size_t column) {
    return t->headers[column][0] == '>';
}

static struct evrt_slice header(const struct evrt_table *t, size_t column) {
    return evrt_slice_of(t->headers[column] + right(t, column));
}

static size_t column_width(const struct evrt_table *t, size_t column) {
    size_t width = evrt_show_width(header(t, column));
    for (size_t i = column; i < t->cells; i += t->columns) {
        size_t w = evrt_show_width(cell(t, i));
        if (w > width) width = w;
    }
    return width;
}

static void pad(struct evrt_buf *out, size_t n) {
    while (n-- > 0)
        evrt_buf_putc(out, ' ');
}

static void put_cell(const struct evrt_table *t, struct evrt_buf *out, size_t column,
                     struct evrt_slice text, size_t width) {
    size_t blank = width - evrt_show_width(text);
    if (right(t, column)) pad(out, blank);
    evrt_buf_put(out, text.p, text.n);
    if (column + 1 == t->columns) return; /* no blanks at the end of a line */
    pad(out, GAP + (right(t, column) ? 0 : blank));
}

void evrt_table_print(const struct evrt_table *t, struct evrt_buf *out, bool colour) {
    struct evrt_buf widths;
    evrt_buf_init(&widths);
    for (size_t c = 0; c < t->columns; c++) {
        size_t width = column_width(t, c);
        evrt_buf_put(&widths, &width, sizeof width);
    }
    if (colour) evrt_buf_puts(out, "\033[1m");
    for (size_t i = 0; i < t->columns + t->cells; i++) {
        size_t column = i % t->columns, width;
        memcpy(&width, widths.p + column * sizeof width, sizeof width);
        put_cell(t, out, column, i < t->columns ? header(t, column) : cell(t, i - t->columns),
                 width);
        if (column + 1 < t->columns) continue;
        if (colour && i + 1 == t->columns) evrt_buf_puts(out, "\033[0m");
        evrt_buf_putc(out, '\n');
    }
    evrt_buf_finish(&widths);
}

/* Output for people: aligned columns, and text that a terminal cannot misread. Owner: the command. */
#ifndef EVRT_CLI_TABLE_H
#define EVRT_CLI_TABLE_H

#include <stdbool.h>

#include "core/buf.h"

struct evrt_table {
    size_t columns;
    size_t cells;
    struct evrt_buf text; /* cells, end to end */
    struct evrt_buf ends; /* size_t each: where a cell ends in text */
    const char *const *headers;
};

/* `headers` ends with NULL and outlives the table. A header that begins with '>' stands right. */
void evrt_table_init(struct evrt_table *t, const char *const *headers);
void evrt_table_finish(struct evrt_table *t);
/* Adds the next cell, row by row. Control characters and what is not UTF-8 are shown as '?'. */
void evrt_table_cell(struct evrt_table *t, struct evrt_slice text);
void evrt_table_print(const struct evrt_table *t, struct evrt_buf *out, bool colour);

/* Appends text in the same harmless form. '\n' and '\t' are kept when `lines`. */
void evrt_show(struct evrt_buf *out, struct evrt_slice text, bool lines);
/* Columns that the text takes on a terminal. */
size_t evrt_show_width(struct evrt_slice text);

#endif

/* Showing the admin API's JSON to people. */
#ifndef EVRT_CLI_VIEW_H
#define EVRT_CLI_VIEW_H

#include <stdbool.h>

#include "core/buf.h"

struct evrt_cli;

struct evrt_view_column {
    const char *header; /* as in cli/table.h */
    const char *path;   /* of the member: "error.message" */
};
#define EVRT_VIEW_COLUMNS 12

/* The text of a JSON value: strings unquoted, arrays of strings joined by ", ", null and absent empty,
 * the rest as it stands. Appends. */
void evrt_view_text(struct evrt_slice value, struct evrt_buf *out);
/* The whole number at a path of an object, 0 when there is none; and whether what stands there is that JSON. */
uint64_t evrt_view_number(struct evrt_slice json, const char *path);
bool evrt_view_is(struct evrt_slice json, const char *path, const char *value);
/* Appends "1 segment", "2 segments". */
void evrt_view_count(uint64_t n, const char *what, struct evrt_buf *out);
/* Appends a table of the objects in the JSON array `items`. Returns how many. */
size_t evrt_view_items(struct evrt_slice items, const struct evrt_view_column *columns,
                       struct evrt_buf *out);
/* Appends "key.sub  value" for every member of the object; members named in `skip` (NULL-terminated,
 * may be NULL) are left out. */
void evrt_view_object(struct evrt_slice object, const char *const *skip, struct evrt_buf *out);

/* Prints a page of a list, and empties it: a table of its items (`none`: what to say when there are none) and on standard error
 * where to go on ("There are more"); with --json the page as it is. An exit code. */
EVRT_MUST_CHECK int evrt_view_page(struct evrt_cli *cli, struct evrt_buf *page,
                                   const struct evrt_view_column *columns, const char *none,
                                   const char *more);
/* Appends the options of those names (NULL-terminated) that were given, as a query: "?a=..&b=..". Returns how
 * many there are. */
unsigned evrt_view_query(const struct evrt_cli *cli, const char *const *names,
                         struct evrt_buf *path);

struct evrt_request;
/* Sends a request to the admin listener: EVRT_EXIT_OK and the body, a checked JSON object; else told. */
EVRT_MUST_CHECK int evrt_view_send(struct evrt_cli *cli, const struct evrt_request *request,
                                   struct evrt_buf *out);
/* Sends it, and prints the answer: as people read it, or with --json as it is. */
EVRT_MUST_CHECK int evrt_view_tell(struct evrt_cli *cli, const struct evrt_request *request);
/* GETs a path of the admin listener. EVRT_EXIT_OK and the body, a checked JSON object; else told. */
EVRT_MUST_CHECK int evrt_view_get(struct evrt_cli *cli, const char *path, struct evrt_buf *out);

#endif

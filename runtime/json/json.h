/* Strict JSON (RFC 8259): validation with positions, and the byte ranges of an object's members.
 * Refused besides what the grammar refuses: nesting beyond a depth, a name twice in one object, lone
 * surrogates, bytes that are not UTF-8, numbers out of range of a double, a byte-order mark, bytes after
 * the document. Any thread; one call's state is that call's. */
#ifndef EVRT_JSON_JSON_H
#define EVRT_JSON_JSON_H

#include "core/buf.h"

enum {
    EVRT_JSON_DEPTH = 128, /* nesting that is accepted */
};

enum evrt_json_type {
    EVRT_JSON_NULL,
    EVRT_JSON_BOOL,
    EVRT_JSON_NUMBER,
    EVRT_JSON_STRING,
    EVRT_JSON_ARRAY,
    EVRT_JSON_OBJECT,
};

/* What a valid document holds. */
struct evrt_json_info {
    enum evrt_json_type type;
};

/* Scans one document that fills `text`. -EINVAL: err->message ends with "at byte N (line L, column C)"
 * and says what was expected; -E2BIG: nested deeper than EVRT_JSON_DEPTH. `info` may be NULL. */
EVRT_MUST_CHECK int evrt_json_check(struct evrt_slice text, struct evrt_json_info *info,
                                    struct evrt_error *err);

/* One member of an object, or one element of an array (key {NULL,0}). */
struct evrt_json_member {
    struct evrt_slice key;   /* unescaped; valid during the call */
    struct evrt_slice value; /* the exact bytes of the value within the text */
    struct evrt_json_info info;
};
/* Return 0 to go on; a negative value stops the scan and is returned. */
typedef int (*evrt_json_member_cb)(void *arg, const struct evrt_json_member *m,
                                   struct evrt_error *err);

/* Checks the document like evrt_json_check and calls `fn` for each top-level member or element, in
 * order. Members seen before an error have been told by then. */
EVRT_MUST_CHECK int evrt_json_members(struct evrt_slice text, evrt_json_member_cb fn, void *arg,
                                      struct evrt_json_info *info, struct evrt_error *err);

/* Unescapes a string value (quotes included) of a checked document; appends to out. */
void evrt_json_unquote(struct evrt_slice value, struct evrt_buf *out);

/* The value at `path` (dots between member names) in a checked object; {NULL,0} when absent. */
struct evrt_slice evrt_json_at(struct evrt_slice text, struct evrt_slice path);

#endif

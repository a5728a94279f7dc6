/* evrt why: why an event became what it did. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/view.h"
#include "json/json.h"

static void cell(struct evrt_table *t, struct evrt_slice object, const char *path) {
    struct evrt_buf text;
    evrt_buf_init(&text);
    evrt_view_text(evrt_json_at(object, evrt_slice_of(path)), &text);
    evrt_table_cell(t, evrt_buf_slice(&text));
    evrt_buf_finish(&text);
}

/* Tables of what each handler has several of: one row for each. */
struct rows {
    struct evrt_table table;
    const char *list;         /* member of a handler */
    const char *const *paths; /* of the columns behind HANDLER */
    struct evrt_slice handler;
};

static int add_row(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct rows *x = arg;
    (void)err;
    cell(&x->table, x->handler, "handler");
    for (const char *const *path = x->paths; *path != NULL; path++)
        cell(&x->table, m->value, *path);
    return 0;
}

static int add_rows(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct rows *x = arg;
    struct evrt_json_info info;
    struct evrt_slice list = evrt_json_at(m->value, evrt_slice_of(x->list));
    (void)err;
    x->handler = m->value;
    return list.n == 0 ? 0 : evrt_json_members(list, add_row, x, &info, NULL);
}

static void put_rows(struct evrt_slice handlers, const char *list, const char *const *headers,
                     const char *const *paths, struct evrt_buf *out) {
    struct rows x = {.list = list, .paths = paths};
    struct evrt_json_info info;
    evrt_table_init(&x.table, headers);
    if (evrt_json_members(handlers, add_rows, &x, &info, NULL) == 0 && x.table.cells > 0) {
        evrt_buf_putc(out, '\n');
        evrt_table_print(&x.table, out, evrt_cli_colour());
    }
    evrt_table_finish(&x.table);
}

/* ---- Handlers ---- */

static int add_name(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct evrt_buf *names = arg;
    (void)err;
    if (names->n > 0) evrt_buf_puts(names, ", ");
    evrt_view_text(evrt_json_at(m->value, EVRT_STR("name")), names);
    return 0;
}

static void policies_cell(struct evrt_table *t, struct evrt_slice handler) {
    struct evrt_json_info info;
    struct evrt_buf names;
    evrt_buf_init(&names);
    struct evrt_slice list = evrt_json_at(handler, EVRT_STR("policies"));
    if (list.n > 0 && evrt_json_members(list, add_name, &names, &info, NULL) == 0 && names.n == 0)
        evrt_buf_putc(&names, '-');
    evrt_table_cell(t, evrt_buf_slice(&names));
    evrt_buf_finish(&names);
}

static void retry_cell(struct evrt_table *t, struct evrt_slice handler) {
    struct evrt_buf text;
    evrt_buf_init(&text);
    evrt_view_text(evrt_json_at(handler, EVRT_STR("retry.policy")), &text);
    size_t before = text.n;
    if (before > 0) evrt_buf_puts(&text, ", at most ");
    size_t with = text.n;
    evrt_view_text(evrt_json_at(handler, EVRT_STR("retry.max_retries")), &text);
    if (text.n == with) text.n = before; /* a function decides */
    evrt_table_cell(t, evrt_buf_slice(&text));
    evrt_buf_finish(&text);
}

static int add_handler(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct evrt_table *t = arg;
    (void)err;
    cell(t, m->value, "handler");
    cell(t, m->value, "state");
    cell(t, m->value, "outcome");
    cell(t, m->value, "pattern");
    policies_cell(t, m->value);
    retry_cell(t, m->value);
    return 0;
}

static void put_handlers(struct evrt_slice handlers, struct evrt_buf *out) {
    static const char *const headers[] = {"HANDLER",  "STATE",   "OUTCOME", "PATTERN",
                                          "POLICIES", "RETRIES", NULL};
    struct evrt_table t;
    struct evrt_json_info info;
    evrt_table_init(&t, headers);
    evrt_buf_putc(out, '\n');
    if (evrt_json_members(handlers, add_handler, &t, &info, NULL) < 0 || t.cells == 0)
        evrt_buf_puts(out, "No handler matched it.\n");
    else
        evrt_table_print(&t, out, evrt_cli_colour());
    evrt_table_finish(&t);
}

/* ---- All of it ---- */

static void describe(struct evrt_slice why, struct evrt_buf *out) {
    static const char *const skip[] = {"data", "data_base64", NULL};
    static const struct evrt_view_column parents[] = {
        {">CAUSED BY", "seq"},         {"TYPE", "type"},     {"ID", "id"},
        {"IN THE HANDLER", "handler"}, {"STORED", "stored"}, {NULL, NULL},
    };
    static const char *const attempts[] = {"HANDLER", ">ATTEMPT",    "AT",    "OUTCOME",
                                           "DEAD",    ">GENERATION", "WHERE", "TYPE",
                                           "ERROR",   "NEXT",        "NOTES", NULL};
    static const char *const attempt_paths[] = {
        "attempt",       "at",   "outcome", "dead", "generation", "error.where", "error.type",
        "error.message", "next", "notes",   NULL};
    static const char *const published[] = {"HANDLER", ">PUBLISHED", "TYPE", "ID",
                                            "STORED",  "FOR",        NULL};
    static const char *const published_paths[] = {"seq", "type", "id", "stored", "for", NULL};
    struct evrt_slice handlers = evrt_json_at(why, EVRT_STR("handlers"));
    struct evrt_slice causes = evrt_json_at(why, EVRT_STR("caused_by"));
    evrt_view_object(evrt_json_at(why, EVRT_STR("event")), skip, out);
    put_handlers(handlers, out);
    put_rows(handlers, "attempts", attempts, attempt_paths, out);
    put_rows(handlers, "published", published, published_paths, out);
    if (causes.n > 2) {
        evrt_buf_putc(out, '\n');
        evrt_view_items(causes, parents, out);
    }
    struct evrt_slice left_out = evrt_json_at(why, EVRT_STR("attempts_left_out"));
    if (left_out.n != 0 && !evrt_slice_eq(left_out, EVRT_STR("0")))
        evrt_buf_printf(out, "\n%.*s attempts between the first and the latest are left out.\n",
                        (int)left_out.n, left_out.p);
    if (evrt_slice_eq(evrt_json_at(why, EVRT_STR("complete")), EVRT_STR("false")))
        evrt_buf_puts(out, "\nThe journal goes on far beyond it and was not read to its end: there "
                           "may be more.\n");
}

int evrt_cli_why(struct evrt_cli *cli) {
    struct evrt_buf path, json, out;
    evrt_buf_init(&path);
    evrt_buf_init(&json);
    evrt_buf_init(&out);
    evrt_buf_puts(&path, "/api/v1/events/");
    evrt_client_query(&path, evrt_slice_of(cli->args[0]));
    evrt_buf_puts(&path, "/why");
    int rc = evrt_view_get(cli, evrt_buf_cstr(&path), &json);
    if (rc == EVRT_EXIT_OK && !evrt_cli_has(cli, "json")) describe(evrt_buf_slice(&json), &out);
    if (rc == EVRT_EXIT_OK) rc = evrt_cli_print(evrt_cli_has(cli, "json") ? &json : &out);
    evrt_buf_finish(&path);
    evrt_buf_finish(&json);
    evrt_buf_finish(&out);
    return rc;
}

/* See view.h. */
#include "cli/view.h"

#include <assert.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/table.h"
#include "json/json.h"

#define TIMEOUT_MS 30000

/* ---- Values ---- */

static int join_element(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct evrt_buf *out = arg;
    (void)err;
    if (out->n > 0) evrt_buf_puts(out, ", ");
    evrt_view_text(m->value, out);
    return 0;
}

void evrt_view_count(uint64_t n, const char *what, struct evrt_buf *out) {
    evrt_buf_printf(out, "%llu %s%s", (unsigned long long)n, what, n == 1 ? "" : "s");
}

void evrt_view_text(struct evrt_slice value, struct evrt_buf *out) {
    struct evrt_json_info info;
    if (value.n == 0 || evrt_slice_eq(value, EVRT_STR("null"))) return;
    if (value.p[0] == '"') {
        evrt_json_unquote(value, out);
    } else if (value.p[0] == '[') {
        struct evrt_buf list;
        evrt_buf_init(&list);
        if (evrt_json_members(value, join_element, &list, &info, NULL) == 0)
            evrt_buf_put(out, list.p, list.n);
        evrt_buf_finish(&list);
    } else {
        evrt_buf_put(out, value.p, value.n);
    }
}

/* ---- Lists ---- */

struct items {
    struct evrt_table table;
    const struct evrt_view_column *columns;
    size_t count;
};

static int add_item(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct items *x = arg;
    struct evrt_buf text;
    evrt_buf_init(&text);
    (void)err;
    for (const struct evrt_view_column *c = x->columns; c->header != NULL; c++) {
        evrt_buf_clear(&text);
        if (m->info.type == EVRT_JSON_OBJECT)
            evrt_view_text(evrt_json_at(m->value, evrt_slice_of(c->path)), &text);
        evrt_table_cell(&x->table, evrt_buf_slice(&text));
    }
    x->count++;
    evrt_buf_finish(&text);
    return 0;
}

uint64_t evrt_view_number(struct evrt_slice json, const char *path) {
    struct evrt_slice value = evrt_json_at(json, evrt_slice_of(path));
    return value.n == 0 ? 0 : strtoull(value.p, NULL, 10);
}

bool evrt_view_is(struct evrt_slice json, const char *path, const char *value) {
    return evrt_slice_eq(evrt_json_at(json, evrt_slice_of(path)), evrt_slice_of(value));
}

size_t evrt_view_items(struct evrt_slice list, const struct evrt_view_column *columns,
                       struct evrt_buf *out) {
    const char *headers[EVRT_VIEW_COLUMNS + 1] = {NULL};
    struct evrt_json_info info;
    struct items x = {.columns = columns};
    for (size_t i = 0; columns[i].header != NULL; i++) {
        assert(i < EVRT_VIEW_COLUMNS);
        headers[i] = columns[i].header;
    }
    evrt_table_init(&x.table, headers);
    if (list.n > 0 && evrt_json_members(list, add_item, &x, &info, NULL) == 0 && x.count > 0)
        evrt_table_print(&x.table, out, evrt_cli_colour());
    evrt_table_finish(&x.table);
    return x.count;
}

/* ---- Objects ---- */

struct object {
    struct evrt_table table;
    struct evrt_buf path;
    const char *const *skip;
};

static bool skipped(const struct object *x, struct evrt_slice key) {
    for (const char *const *s = x->skip; s != NULL && *s != NULL; s++)
        if (x->path.n == 0 && evrt_slice_eq(evrt_slice_of(*s), key)) return true;
    return false;
}

static bool holds_objects(struct evrt_slice list) {
    size_t i = 1;
    while (i < list.n && strchr(" \t\r\n", list.p[i]) != NULL)
        i++;
    return i < list.n && list.p[i] == '{';
}

static void descend(struct object *x, const struct evrt_json_member *m);

static int add_member(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct object *x = arg;
    size_t before = x->path.n;
    (void)err;
    if (skipped(x, m->key)) return 0;
    if (before > 0) evrt_buf_putc(&x->path, '.');
    evrt_buf_put(&x->path, m->key.p, m->key.n);
    descend(x, m);
    x->path.n = before;
    return 0;
}

struct element {
    struct object *object;
    size_t index;
};

static int add_element(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct element *e = arg;
    size_t before = e->object->path.n;
    (void)err;
    evrt_buf_printf(&e->object->path, "[%zu]", e->index++);
    descend(e->object, m);
    e->object->path.n = before;
    return 0;
}

/* The depth is the document's, which json/ bounds. */
static void descend(struct object *x, const struct evrt_json_member *m) {
    struct evrt_json_info info;
    if (m->info.type == EVRT_JSON_OBJECT) {
        if (evrt_json_members(m->value, add_member, x, &info, NULL) < 0) return;
    } else if (m->info.type == EVRT_JSON_ARRAY && holds_objects(m->value)) {
        struct element e = {x, 0};
        if (evrt_json_members(m->value, add_element, &e, &info, NULL) < 0) return;
    } else {
        struct evrt_buf text;
        evrt_buf_init(&text);
        evrt_view_text(m->value, &text);
        evrt_table_cell(&x->table, evrt_buf_slice(&x->path));
        evrt_table_cell(&x->table, evrt_buf_slice(&text));
        evrt_buf_finish(&text);
    }
}

void evrt_view_object(struct evrt_slice json, const char *const *skip, struct evrt_buf *out) {
    static const char *const headers[] = {"NAME", "VALUE", NULL};
    struct evrt_json_info info;
    struct object x = {.skip = skip};
    evrt_table_init(&x.table, headers);
    if (evrt_json_members(json, add_member, &x, &info, NULL) == 0 && x.table.cells > 0)
        evrt_table_print(&x.table, out, evrt_cli_colour());
    evrt_table_finish(&x.table);
    evrt_buf_finish(&x.path);
}

/* ---- Lists ---- */

int evrt_view_page(struct evrt_cli *cli, struct evrt_buf *page,
                   const struct evrt_view_column *columns, const char *none, const char *more) {
    struct evrt_slice json = evrt_buf_slice(page);
    struct evrt_buf out;
    if (evrt_cli_has(cli, "json")) return evrt_cli_print(page);
    evrt_buf_init(&out);
    if (evrt_view_items(evrt_json_at(json, EVRT_STR("items")), columns, &out) == 0)
        evrt_buf_puts(&out, none);
    int rc = evrt_cli_print(&out);
    evrt_view_text(evrt_json_at(json, EVRT_STR("next")), &out);
    if (rc == EVRT_EXIT_OK && out.n > 0)
        fprintf(stderr, "%s: --after %s\n", more, evrt_buf_cstr(&out));
    evrt_buf_finish(&out);
    return rc;
}

unsigned evrt_view_query(const struct evrt_cli *cli, const char *const *names,
                         struct evrt_buf *path) {
    unsigned count = 0;
    for (size_t i = 0; names[i] != NULL; i++) {
        const char *value = evrt_cli_get(cli, names[i]);
        if (value == NULL) continue;
        evrt_buf_printf(path, "%c%s=", count++ == 0 ? '?' : '&', names[i]);
        evrt_client_query(path, evrt_slice_of(value));
    }
    return count;
}

/* ---- Requests ---- */

int evrt_view_send(struct evrt_cli *cli, const struct evrt_request *request, struct evrt_buf *out) {
    struct evrt_node node;
    struct evrt_json_info info;
    int rc = evrt_node_find(&node, cli, EVRT_LISTENER_ADMIN);
    if (rc != EVRT_EXIT_OK) return rc;
    rc = evrt_client_send(&node, request, out);
    if (rc == EVRT_EXIT_OK &&
        (evrt_json_check(evrt_buf_slice(out), &info, NULL) < 0 || info.type != EVRT_JSON_OBJECT))
        rc = evrt_cli_fail(EVRT_EXIT_FAILED, "%s does not answer as a node of evrt does", node.url);
    evrt_node_finish(&node);
    return rc;
}

int evrt_view_tell(struct evrt_cli *cli, const struct evrt_request *request) {
    struct evrt_buf json, out;
    evrt_buf_init(&json);
    evrt_buf_init(&out);
    int rc = evrt_view_send(cli, request, &json);
    if (rc == EVRT_EXIT_OK && !evrt_cli_has(cli, "json"))
        evrt_view_object(evrt_buf_slice(&json), NULL, &out);
    if (rc == EVRT_EXIT_OK) rc = evrt_cli_print(evrt_cli_has(cli, "json") ? &json : &out);
    evrt_buf_finish(&json);
    evrt_buf_finish(&out);
    return rc;
}

int evrt_view_get(struct evrt_cli *cli, const char *path, struct evrt_buf *out) {
    return evrt_view_send(cli, &(struct evrt_request){.path = path, .timeout_ms = TIMEOUT_MS}, out);
}

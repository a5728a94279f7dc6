/* evrt kv: the key-value store of a running node. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/view.h"
#include "core/error.h"
#include "json/json.h"

enum { TIMEOUT_MS = 30000 };

/* "/api/v1/kv?..." of the options and the key; NULL: the list. */
static void put_path(struct evrt_cli *cli, struct evrt_buf *out, const char *key) {
    static const char *const of_list[] = {"namespace", "prefix", "after", "limit", NULL};
    static const char *const of_key[] = {"namespace", "ttl", NULL};
    evrt_buf_puts(out, "/api/v1/kv");
    unsigned count = evrt_view_query(cli, key == NULL ? of_list : of_key, out);
    if (key == NULL) return;
    evrt_buf_puts(out, count == 0 ? "?key=" : "&key=");
    evrt_client_query(out, evrt_slice_of(key));
}

static int show_list(struct evrt_cli *cli, struct evrt_buf *json) {
    static const struct evrt_view_column keys[] = {
        {"KEY", "key"}, {"VALUE", "value"}, {"BASE64", "value_base64"}, {NULL, NULL}};
    static const struct evrt_view_column namespaces[] = {{"NAMESPACE", "namespace"}, {NULL, NULL}};
    bool named = evrt_cli_get(cli, "namespace") != NULL;
    return evrt_view_page(cli, json, named ? keys : namespaces,
                          named ? "No keys.\n" : "No namespaces.\n", "There are more");
}

/* The value alone, so that it can be used: JSON, or a string's text. */
static int show_value(struct evrt_cli *cli, struct evrt_buf *json) {
    struct evrt_buf out;
    if (evrt_cli_has(cli, "json")) return evrt_cli_print(json);
    evrt_buf_init(&out);
    struct evrt_slice value = evrt_json_at(evrt_buf_slice(json), EVRT_STR("value"));
    if (value.p == NULL) value = evrt_json_at(evrt_buf_slice(json), EVRT_STR("value_base64"));
    if (value.n != 0 && value.p[0] == '"')
        evrt_view_text(value, &out);
    else
        evrt_buf_put(&out, value.p, value.n);
    evrt_buf_putc(&out, '\n');
    int rc = evrt_cli_print(&out);
    evrt_buf_finish(&out);
    return rc;
}

static int read_keys(struct evrt_cli *cli, const char *key) {
    struct evrt_buf path, json;
    evrt_buf_init(&path);
    evrt_buf_init(&json);
    put_path(cli, &path, key);
    int rc = evrt_view_get(cli, evrt_buf_cstr(&path), &json);
    if (rc == EVRT_EXIT_OK) rc = key == NULL ? show_list(cli, &json) : show_value(cli, &json);
    evrt_buf_finish(&path);
    evrt_buf_finish(&json);
    return rc;
}

static int change(struct evrt_cli *cli, const char *method, const char *key, const char *value) {
    struct evrt_buf path, json, headers;
    evrt_buf_init(&path);
    evrt_buf_init(&json);
    evrt_buf_init(&headers);
    put_path(cli, &path, key);
    evrt_buf_puts(&headers, evrt_cli_has(cli, "text") ? "Content-Type: application/octet-stream"
                                                      : "Content-Type: application/json");
    evrt_buf_putc(&headers, '\0');
    struct evrt_request request = {.path = evrt_buf_cstr(&path),
                                   .headers = &headers,
                                   .body = evrt_slice_of(value),
                                   .post = true,
                                   .method = method,
                                   .timeout_ms = TIMEOUT_MS};
    int rc = evrt_view_send(cli, &request, &json);
    if (rc == EVRT_EXIT_OK && evrt_cli_has(cli, "json")) rc = evrt_cli_print(&json);
    evrt_buf_finish(&path);
    evrt_buf_finish(&json);
    evrt_buf_finish(&headers);
    return rc;
}

static int set(struct evrt_cli *cli, const char *key, const char *value) {
    struct evrt_json_info info;
    struct evrt_error err;
    if (evrt_cli_has(cli, "text") || evrt_json_check(evrt_slice_of(value), &info, &err) == 0)
        return change(cli, "PUT", key, value);
    return evrt_cli_usage(cli, "VALUE is JSON: %s; with --text it is any text", err.message);
}

int evrt_cli_kv(struct evrt_cli *cli) {
    static const struct {
        const char *name;
        size_t args;
        const char *expected;
    } verbs[] = {{"list", 1, "takes no argument; --prefix says which keys"},
                 {"get", 2, "KEY"},
                 {"set", 3, "KEY and VALUE"},
                 {"delete", 2, "KEY"}};
    const char *verb = cli->nargs > 0 ? cli->args[0] : "list";
    size_t nargs = cli->nargs > 0 ? (size_t)cli->nargs : 1;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verb, verbs[i].name) != 0) continue;
        if (nargs != verbs[i].args)
            return evrt_cli_usage(cli, "%s %s%s", verb, i == 0 ? "" : "expects ",
                                  verbs[i].expected);
        if (i == 0) return read_keys(cli, NULL);
        if (evrt_cli_get(cli, "namespace") == NULL)
            return evrt_cli_usage(cli, "of which namespace? Say --namespace NAME, as a handler's");
        if (i == 1) return read_keys(cli, cli->args[1]);
        if (i == 2) return set(cli, cli->args[1], cli->args[2]);
        int rc = evrt_cli_confirm(cli, verb);
        return rc == EVRT_EXIT_OK ? change(cli, "DELETE", cli->args[1], "") : rc;
    }
    return evrt_cli_usage(cli, "expected list, get, set or delete, got \"%s\"", verb);
}

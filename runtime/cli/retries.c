/* evrt retries: what a node will try again; one made due, or discarded. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/view.h"
#include "json/json.h"

enum { TIMEOUT_MS = 30000 };

static int show(struct evrt_cli *cli, struct evrt_buf *json) {
    static const struct evrt_view_column columns[] = {
        {"ID", "id"},   {"HANDLER", "handler"}, {"STATE", "state"},         {">ATTEMPT", "attempt"},
        {"DUE", "due"}, {"TYPE", "error.type"}, {"ERROR", "error.message"}, {NULL, NULL},
    };
    if (evrt_cli_has(cli, "json")) return evrt_cli_print(json);
    struct evrt_buf out;
    evrt_buf_init(&out);
    struct evrt_slice page = evrt_buf_slice(json);
    size_t count = evrt_view_items(evrt_json_at(page, EVRT_STR("items")), columns, &out);
    if (count == 0) evrt_buf_puts(&out, "No retries.\n");
    int rc = evrt_cli_print(&out);
    evrt_view_text(evrt_json_at(page, EVRT_STR("next")), &out);
    if (rc == EVRT_EXIT_OK && count > 0 && out.n > 0)
        fprintf(stderr, "There are more: --after %s\n", evrt_buf_cstr(&out));
    evrt_buf_finish(&out);
    return rc;
}

static int list(struct evrt_cli *cli) {
    static const char *const parameters[] = {"handler", "after", "limit", NULL};
    struct evrt_buf path, json;
    evrt_buf_init(&path);
    evrt_buf_init(&json);
    evrt_buf_puts(&path, "/api/v1/retries");
    char mark = '?';
    for (size_t i = 0; parameters[i] != NULL; i++) {
        const char *value = evrt_cli_get(cli, parameters[i]);
        if (value == NULL) continue;
        evrt_buf_printf(&path, "%c%s=", mark, parameters[i]);
        evrt_client_query(&path, evrt_slice_of(value));
        mark = '&';
    }
    int rc = evrt_view_get(cli, evrt_buf_cstr(&path), &json);
    if (rc == EVRT_EXIT_OK) rc = show(cli, &json);
    evrt_buf_finish(&path);
    evrt_buf_finish(&json);
    return rc;
}

static int change(struct evrt_cli *cli, bool discard) {
    struct evrt_buf path, json, out;
    evrt_buf_init(&path);
    evrt_buf_init(&json);
    evrt_buf_init(&out);
    evrt_buf_puts(&path, "/api/v1/retries/");
    evrt_client_query(&path, evrt_slice_of(cli->args[1]));
    if (!discard) evrt_buf_puts(&path, "/run");
    struct evrt_request request = {.path = evrt_buf_cstr(&path),
                                   .post = true,
                                   .method = discard ? "DELETE" : NULL,
                                   .timeout_ms = TIMEOUT_MS};
    int rc = evrt_view_send(cli, &request, &json);
    if (rc == EVRT_EXIT_OK && !evrt_cli_has(cli, "json"))
        evrt_view_object(evrt_buf_slice(&json), NULL, &out);
    if (rc == EVRT_EXIT_OK) rc = evrt_cli_print(evrt_cli_has(cli, "json") ? &json : &out);
    evrt_buf_finish(&path);
    evrt_buf_finish(&json);
    evrt_buf_finish(&out);
    return rc;
}

int evrt_cli_retries(struct evrt_cli *cli) {
    const char *verb = cli->nargs > 0 ? cli->args[0] : "list";
    bool run = strcmp(verb, "run") == 0, discard = strcmp(verb, "delete") == 0;
    if (!run && !discard && strcmp(verb, "list") != 0)
        return evrt_cli_usage(cli, "expected list, run or delete, got \"%s\"", verb);
    if ((run || discard) != (cli->nargs == 2))
        return run || discard ? evrt_cli_usage(cli, "which retry? Its ID is in the list")
                              : evrt_cli_usage(cli, "list takes no argument");
    if (discard && !evrt_cli_has(cli, "yes"))
        return evrt_cli_usage(cli, "the handler will not get this event again; say --yes");
    return run || discard ? change(cli, discard) : list(cli);
}

/* evrt handlers, evrt stats: what a running node says of itself. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/view.h"
#include "json/json.h"

enum { TIMEOUT_MS = 30000 };

/* evrt handlers pause|resume NAME */
static int pause_or_resume(struct evrt_cli *cli) {
    struct evrt_buf path, json, out;
    const char *verb = cli->args[0];
    evrt_buf_init(&path);
    evrt_buf_init(&json);
    evrt_buf_init(&out);
    evrt_buf_puts(&path, "/api/v1/handlers/");
    evrt_client_query(&path, evrt_slice_of(cli->args[1]));
    evrt_buf_printf(&path, "/%s", verb);
    struct evrt_request request = {
        .path = evrt_buf_cstr(&path), .post = true, .timeout_ms = TIMEOUT_MS};
    int rc = evrt_view_send(cli, &request, &json);
    if (rc == EVRT_EXIT_OK && !evrt_cli_has(cli, "json")) {
        evrt_view_object(evrt_buf_slice(&json), NULL, &out);
        rc = evrt_cli_print(&out);
    } else if (rc == EVRT_EXIT_OK) {
        rc = evrt_cli_print(&json);
    }
    evrt_buf_finish(&path);
    evrt_buf_finish(&json);
    evrt_buf_finish(&out);
    return rc;
}

int evrt_cli_handlers(struct evrt_cli *cli) {
    if (cli->nargs > 0 && strcmp(cli->args[0], "pause") != 0 && strcmp(cli->args[0], "resume") != 0)
        return evrt_cli_usage(cli, "expected pause or resume, got \"%s\"", cli->args[0]);
    if (cli->nargs == 1) return evrt_cli_usage(cli, "which handler is to be %sd?", cli->args[0]);
    if (cli->nargs == 2) return pause_or_resume(cli);
    static const struct evrt_view_column columns[] = {
        {"HANDLER", "name"},     {"STATE", "state"},          {"EVENTS", "events"},
        {">PENDING", "pending"}, {">RUNNING", "running"},     {">DONE", "done"},
        {">DEAD", "dead"},       {">DISCARDED", "discarded"}, {NULL, NULL},
    };
    struct evrt_buf json, out;
    evrt_buf_init(&json);
    evrt_buf_init(&out);
    int rc = evrt_view_get(cli, "/api/v1/handlers", &json);
    if (rc == EVRT_EXIT_OK && evrt_cli_has(cli, "json")) {
        rc = evrt_cli_print(&json);
    } else if (rc == EVRT_EXIT_OK) {
        struct evrt_slice items = evrt_json_at(evrt_buf_slice(&json), EVRT_STR("items"));
        if (evrt_view_items(items, columns, &out) == 0) evrt_buf_puts(&out, "No handlers.\n");
        rc = evrt_cli_print(&out);
    }
    evrt_buf_finish(&json);
    evrt_buf_finish(&out);
    return rc;
}

int evrt_cli_stats(struct evrt_cli *cli) {
    struct evrt_buf json, out;
    evrt_buf_init(&json);
    evrt_buf_init(&out);
    int rc = evrt_view_get(cli, "/api/v1/stats", &json);
    if (rc == EVRT_EXIT_OK && !evrt_cli_has(cli, "json"))
        evrt_view_object(evrt_buf_slice(&json), NULL, &out);
    if (rc == EVRT_EXIT_OK) rc = evrt_cli_print(evrt_cli_has(cli, "json") ? &json : &out);
    evrt_buf_finish(&json);
    evrt_buf_finish(&out);
    return rc;
}

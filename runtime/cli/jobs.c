/* evrt jobs: what takes long on a node, looked at and cancelled. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/view.h"
#include "json/json.h"

enum { TIMEOUT_MS = 30000 };

static int list(struct evrt_cli *cli, struct evrt_buf *json, struct evrt_buf *out) {
    static const struct evrt_view_column columns[] = {
        {">ID", "id"},
        {"KIND", "kind"},
        {"STATE", "state"},
        {">TOTAL", "total"},
        {">DONE", "done"},
        {">FAILED", "failed"},
        {">SKIPPED", "skipped"},
        {">IN FLIGHT", "in_flight"},
        {"CREATED", "created"},
        {">MS", "duration_ms"},
        {NULL, NULL},
    };
    int rc = evrt_view_get(cli, "/api/v1/jobs", json);
    struct evrt_slice items = evrt_json_at(evrt_buf_slice(json), EVRT_STR("items"));
    if (rc == EVRT_EXIT_OK && !evrt_cli_has(cli, "json") &&
        evrt_view_items(items, columns, out) == 0)
        evrt_buf_puts(out, "No jobs.\n");
    return rc;
}

static int one(struct evrt_cli *cli, bool cancel, struct evrt_buf *json, struct evrt_buf *out) {
    struct evrt_buf path;
    evrt_buf_init(&path);
    evrt_buf_puts(&path, "/api/v1/jobs/");
    evrt_client_query(&path, evrt_slice_of(cli->args[1]));
    struct evrt_request request = {.path = evrt_buf_cstr(&path),
                                   .post = cancel,
                                   .method = cancel ? "DELETE" : NULL,
                                   .timeout_ms = TIMEOUT_MS};
    int rc = evrt_view_send(cli, &request, json);
    if (rc == EVRT_EXIT_OK && !evrt_cli_has(cli, "json"))
        evrt_view_object(evrt_buf_slice(json), NULL, out);
    evrt_buf_finish(&path);
    return rc;
}

int evrt_cli_jobs(struct evrt_cli *cli) {
    const char *verb = cli->nargs > 0 ? cli->args[0] : "list";
    bool shows = strcmp(verb, "show") == 0, cancel = strcmp(verb, "cancel") == 0;
    struct evrt_buf json, out;
    if (!shows && !cancel && strcmp(verb, "list") != 0)
        return evrt_cli_usage(cli, "expected list, show or cancel, got \"%s\"", verb);
    if ((shows || cancel) != (cli->nargs == 2))
        return shows || cancel ? evrt_cli_usage(cli, "which job? Its ID is in the list")
                               : evrt_cli_usage(cli, "list takes no argument");
    evrt_buf_init(&json);
    evrt_buf_init(&out);
    int rc = shows || cancel ? one(cli, cancel, &json, &out) : list(cli, &json, &out);
    if (rc == EVRT_EXIT_OK) rc = evrt_cli_print(evrt_cli_has(cli, "json") ? &json : &out);
    evrt_buf_finish(&json);
    evrt_buf_finish(&out);
    return rc;
}

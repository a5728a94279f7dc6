/* evrt jobs: what takes long on a node, looked at and cancelled. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/view.h"

enum { TIMEOUT_MS = 30000 };

static int list(struct evrt_cli *cli) {
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
    struct evrt_buf json;
    evrt_buf_init(&json);
    int rc = evrt_view_get(cli, "/api/v1/jobs", &json);
    if (rc == EVRT_EXIT_OK)
        rc = evrt_view_page(cli, &json, columns, "No jobs.\n", "There are more");
    evrt_buf_finish(&json);
    return rc;
}

static int one(struct evrt_cli *cli, bool cancel) {
    struct evrt_buf path;
    evrt_buf_init(&path);
    evrt_buf_puts(&path, "/api/v1/jobs/");
    evrt_client_query(&path, evrt_slice_of(cli->args[1]));
    struct evrt_request request = {.path = evrt_buf_cstr(&path),
                                   .post = cancel,
                                   .method = cancel ? "DELETE" : NULL,
                                   .timeout_ms = TIMEOUT_MS};
    int rc = evrt_view_tell(cli, &request);
    evrt_buf_finish(&path);
    return rc;
}

int evrt_cli_jobs(struct evrt_cli *cli) {
    const char *verb = cli->nargs > 0 ? cli->args[0] : "list";
    bool shows = strcmp(verb, "show") == 0, cancel = strcmp(verb, "cancel") == 0;
    if (!shows && !cancel && strcmp(verb, "list") != 0)
        return evrt_cli_usage(cli, "expected list, show or cancel, got \"%s\"", verb);
    if ((shows || cancel) != (cli->nargs == 2))
        return shows || cancel ? evrt_cli_usage(cli, "which job? Its ID is in the list")
                               : evrt_cli_usage(cli, "list takes no argument");
    return shows || cancel ? one(cli, cancel) : list(cli);
}

/* evrt retries: what a node will try again; one made due, or discarded. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/view.h"

enum { TIMEOUT_MS = 30000 };

static int list(struct evrt_cli *cli) {
    static const struct evrt_view_column columns[] = {
        {"ID", "id"},   {"HANDLER", "handler"}, {"STATE", "state"},         {">ATTEMPT", "attempt"},
        {"DUE", "due"}, {"TYPE", "error.type"}, {"ERROR", "error.message"}, {NULL, NULL},
    };
    static const char *const parameters[] = {"handler", "after", "limit", NULL};
    struct evrt_buf path, json;
    evrt_buf_init(&path);
    evrt_buf_init(&json);
    evrt_buf_puts(&path, "/api/v1/retries");
    evrt_view_query(cli, parameters, &path);
    int rc = evrt_view_get(cli, evrt_buf_cstr(&path), &json);
    if (rc == EVRT_EXIT_OK)
        rc = evrt_view_page(cli, &json, columns, "No retries.\n", "There are more");
    evrt_buf_finish(&path);
    evrt_buf_finish(&json);
    return rc;
}

static int change(struct evrt_cli *cli, bool discard) {
    struct evrt_buf path;
    evrt_buf_init(&path);
    evrt_buf_puts(&path, "/api/v1/retries/");
    evrt_client_query(&path, evrt_slice_of(cli->args[1]));
    if (!discard) evrt_buf_puts(&path, "/run");
    struct evrt_request request = {.path = evrt_buf_cstr(&path),
                                   .post = true,
                                   .method = discard ? "DELETE" : NULL,
                                   .timeout_ms = TIMEOUT_MS};
    int rc = evrt_view_tell(cli, &request);
    evrt_buf_finish(&path);
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
    int rc = discard ? evrt_cli_confirm(cli, verb) : EVRT_EXIT_OK;
    if (rc != EVRT_EXIT_OK) return rc;
    return run || discard ? change(cli, discard) : list(cli);
}

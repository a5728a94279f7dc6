/* evrt handlers, evrt stats: what a running node says of itself. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/view.h"
#include "json/json.h"

int evrt_cli_handlers(struct evrt_cli *cli) {
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

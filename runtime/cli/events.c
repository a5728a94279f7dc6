/* evrt events: stored events of a running node, or one of them with what became of it; and those that wait for
 * their time. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/view.h"
#include "json/json.h"

/* The options that are the query's parameters of the same name. */
static const char *const parameters[] = {"type",  "source",  "subject", "from",  "to",
                                         "after", "handler", "state",   "limit", NULL};

static int list(struct evrt_buf *json, bool handler, struct evrt_buf *out) {
    static const struct evrt_view_column columns[] = {
        {">SEQ", "seq"},      {"STORED", "stored"}, {"TYPE", "type"},
        {"SOURCE", "source"}, {"ID", "id"},         {NULL, NULL},
    };
    static const struct evrt_view_column of_handler[] = {
        {">SEQ", "seq"},      {"STORED", "stored"}, {"TYPE", "type"},
        {"SOURCE", "source"}, {"ID", "id"},         {"OUTCOME", "delivery.outcome"},
        {NULL, NULL},
    };
    struct evrt_slice page = evrt_buf_slice(json);
    size_t count =
        evrt_view_items(evrt_json_at(page, EVRT_STR("items")), handler ? of_handler : columns, out);
    int rc = evrt_cli_print(out);
    if (rc != EVRT_EXIT_OK) return rc;
    evrt_view_text(evrt_json_at(page, EVRT_STR("next")), out);
    if (out->n > 0)
        fprintf(stderr, "%s: --after %s\n",
                count == 0 ? "None so far, and there is more to look at" : "There are more",
                evrt_buf_cstr(out));
    else if (count == 0)
        fputs("No such events.\n", stderr);
    return rc;
}

static int describe(struct evrt_buf *json, struct evrt_buf *out) {
    static const char *const skip[] = {"handlers", "data", NULL};
    static const struct evrt_view_column columns[] = {
        {"HANDLER", "handler"}, {"OUTCOME", "outcome"},     {">ATTEMPT", "attempt"},
        {"TYPE", "error.type"}, {"ERROR", "error.message"}, {NULL, NULL},
    };
    struct evrt_slice event = evrt_buf_slice(json);
    struct evrt_slice data = evrt_json_at(event, EVRT_STR("data"));
    evrt_view_object(event, skip, out);
    evrt_buf_putc(out, '\n');
    if (evrt_view_items(evrt_json_at(event, EVRT_STR("handlers")), columns, out) == 0)
        evrt_buf_puts(out, "No handler matched it.\n");
    if (data.n > 0) {
        evrt_buf_puts(out, "\ndata: ");
        evrt_show(out, data, true);
        evrt_buf_putc(out, '\n');
    }
    return evrt_cli_print(out);
}

/* ---- Those that wait for their time ---- */

static int list_scheduled(struct evrt_cli *cli, struct evrt_buf *path) {
    static const struct evrt_view_column columns[] = {
        {"ID", "id"},           {"DELIVER AT", "deliver_at"},
        {"TYPE", "event.type"}, {"SOURCE", "event.source"},
        {"EVENT", "event.id"},  {NULL, NULL},
    };
    struct evrt_buf json;
    evrt_buf_init(&json);
    evrt_buf_puts(path, "/api/v1/scheduled");
    evrt_view_query(cli, parameters, path);
    int rc = evrt_view_get(cli, evrt_buf_cstr(path), &json);
    if (rc == EVRT_EXIT_OK)
        rc = evrt_view_page(cli, &json, columns, "No scheduled events.\n", "There are more");
    evrt_buf_finish(&json);
    return rc;
}

static int cancel_scheduled(struct evrt_cli *cli, struct evrt_buf *path) {
    enum { TIMEOUT_MS = 30000 };
    evrt_buf_puts(path, "/api/v1/scheduled/");
    evrt_client_query(path, evrt_slice_of(evrt_cli_get(cli, "cancel")));
    struct evrt_request request = {
        .path = evrt_buf_cstr(path), .post = true, .method = "DELETE", .timeout_ms = TIMEOUT_MS};
    return evrt_view_tell(cli, &request);
}

static int scheduled(struct evrt_cli *cli) {
    bool cancel = evrt_cli_has(cli, "cancel");
    if (cli->nargs > 0)
        return evrt_cli_usage(cli, "--scheduled and --cancel take no SEQ: there is none yet");
    for (size_t i = 0; parameters[i] != NULL; i++)
        if (evrt_cli_has(cli, parameters[i]) && (cancel || (strcmp(parameters[i], "after") != 0 &&
                                                            strcmp(parameters[i], "limit") != 0)))
            return evrt_cli_usage(cli, "--%s is for stored events", parameters[i]);
    int rc = cancel ? evrt_cli_confirm(cli, "--cancel") : EVRT_EXIT_OK;
    if (rc != EVRT_EXIT_OK) return rc;
    struct evrt_buf path = {0};
    rc = (cancel ? cancel_scheduled : list_scheduled)(cli, &path);
    evrt_buf_finish(&path);
    return rc;
}

int evrt_cli_events(struct evrt_cli *cli) {
    if (evrt_cli_has(cli, "scheduled") || evrt_cli_has(cli, "cancel")) return scheduled(cli);
    const char *seq = cli->nargs > 0 ? cli->args[0] : NULL;
    if (seq != NULL && (*seq == '\0' || seq[strspn(seq, "0123456789")] != '\0'))
        return evrt_cli_usage(cli, "expected a sequence number, got \"%s\"", seq);
    for (size_t i = 0; seq != NULL && parameters[i] != NULL; i++)
        if (evrt_cli_has(cli, parameters[i]))
            return evrt_cli_usage(cli, "--%s is for lists; SEQ names one event", parameters[i]);
    struct evrt_buf path, json, out;
    evrt_buf_init(&path);
    evrt_buf_init(&json);
    evrt_buf_init(&out);
    evrt_buf_puts(&path, "/api/v1/events");
    if (seq != NULL)
        evrt_buf_printf(&path, "/%s", seq);
    else
        evrt_view_query(cli, parameters, &path);
    int rc = evrt_view_get(cli, evrt_buf_cstr(&path), &json);
    if (rc == EVRT_EXIT_OK)
        rc = evrt_cli_has(cli, "json") ? evrt_cli_print(&json)
             : seq != NULL             ? describe(&json, &out)
                                       : list(&json, evrt_cli_has(cli, "handler"), &out);
    evrt_buf_finish(&path);
    evrt_buf_finish(&json);
    evrt_buf_finish(&out);
    return rc;
}

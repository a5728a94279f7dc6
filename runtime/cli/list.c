/* evrt handlers, evrt stats: what a running node says of itself. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/dashboard.h"
#include "cli/view.h"
#include "json/json.h"

enum { TIMEOUT_MS = 30000 };

/* evrt handlers pause|resume NAME */
static int pause_or_resume(struct evrt_cli *cli) {
    struct evrt_buf path;
    const char *verb = cli->args[0];
    evrt_buf_init(&path);
    evrt_buf_puts(&path, "/api/v1/handlers/");
    evrt_client_query(&path, evrt_slice_of(cli->args[1]));
    evrt_buf_printf(&path, "/%s", verb);
    struct evrt_request request = {
        .path = evrt_buf_cstr(&path), .post = true, .timeout_ms = TIMEOUT_MS};
    int rc = evrt_view_tell(cli, &request);
    evrt_buf_finish(&path);
    return rc;
}

/* evrt handlers NAME */
struct search {
    const char *name;
    struct evrt_slice found; /* {NULL, 0}: not yet */
};

static int look(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct search *s = arg;
    struct evrt_buf name;
    (void)err;
    evrt_buf_init(&name);
    evrt_view_text(evrt_json_at(m->value, EVRT_STR("name")), &name);
    if (evrt_slice_eq(evrt_buf_slice(&name), evrt_slice_of(s->name))) s->found = m->value;
    evrt_buf_finish(&name);
    return 0;
}

static int show_handler(const struct evrt_cli *cli, struct evrt_slice items, struct evrt_buf *out) {
    static const struct evrt_view_column columns[] = {
        {"POLICY", "name"}, {"SCOPE", "scope"}, {"EVENTS", "events"}, {"OPTIONS", "options"},
        {"FROM", "from"},   {"FILE", "file"},   {NULL, NULL},
    };
    static const char *const skip[] = {"policies", NULL};
    struct search s = {.name = cli->args[0]};
    struct evrt_json_info info;
    if (evrt_json_members(items, look, &s, &info, NULL) < 0 || s.found.p == NULL)
        return evrt_cli_fail(EVRT_EXIT_FAILED, "no handler named \"%s\"; evrt handlers lists them",
                             s.name);
    if (evrt_cli_has(cli, "json")) {
        evrt_buf_put(out, s.found.p, s.found.n);
    } else {
        evrt_view_object(s.found, skip, out);
        evrt_buf_putc(out, '\n');
        struct evrt_slice policies = evrt_json_at(s.found, EVRT_STR("policies"));
        if (evrt_view_items(policies, columns, out) == 0) evrt_buf_puts(out, "No policies.\n");
    }
    return evrt_cli_print(out);
}

int evrt_cli_handlers(struct evrt_cli *cli) {
    bool verb = cli->nargs > 0 &&
                (strcmp(cli->args[0], "pause") == 0 || strcmp(cli->args[0], "resume") == 0);
    if (cli->nargs == 2 && !verb)
        return evrt_cli_usage(cli, "expected pause or resume, got \"%s\"", cli->args[0]);
    if (cli->nargs == 1 && verb)
        return evrt_cli_usage(cli, "which handler is to be %sd?", cli->args[0]);
    if (verb) return pause_or_resume(cli);
    static const struct evrt_view_column columns[] = {
        {"HANDLER", "name"},         {"STATE", "state"},
        {"EVENTS", "events"},        {">PENDING", "pending"},
        {">RUNNING", "running"},     {">RETRYING", "retrying"},
        {">DONE", "done"},           {">DEAD", "dead"},
        {">DISCARDED", "discarded"}, {NULL, NULL},
    };
    struct evrt_buf json, out;
    evrt_buf_init(&json);
    evrt_buf_init(&out);
    int rc = evrt_view_get(cli, "/api/v1/handlers", &json);
    struct evrt_slice items = {NULL, 0};
    if (rc == EVRT_EXIT_OK) items = evrt_json_at(evrt_buf_slice(&json), EVRT_STR("items"));
    if (rc == EVRT_EXIT_OK && cli->nargs > 0) {
        rc = show_handler(cli, items, &out);
    } else if (rc == EVRT_EXIT_OK && evrt_cli_has(cli, "json")) {
        rc = evrt_cli_print(&json);
    } else if (rc == EVRT_EXIT_OK) {
        if (evrt_view_items(items, columns, &out) == 0) evrt_buf_puts(&out, "No handlers.\n");
        rc = evrt_cli_print(&out);
    }
    evrt_buf_finish(&json);
    evrt_buf_finish(&out);
    return rc;
}

/* evrt stats: the dashboard; with --all every figure; as JSON both, the dashboard as a member of its own. */
static int get_stats(struct evrt_cli *cli, struct evrt_buf *stats, struct evrt_buf *dashboard) {
    bool json = evrt_cli_has(cli, "json"), all = evrt_cli_has(cli, "all");
    int rc = EVRT_EXIT_OK;
    if (json || all) rc = evrt_view_get(cli, "/api/v1/stats", stats);
    if (rc == EVRT_EXIT_OK && (json || !all))
        rc = evrt_view_get(cli, "/api/v1/dashboard", dashboard);
    return rc;
}

/* {"events":..} and {..} into {"events":..,"dashboard":{..}} */
static void join(const struct evrt_buf *stats, const struct evrt_buf *dashboard,
                 struct evrt_buf *out) {
    size_t n = stats->n;
    while (n > 0 && stats->p[n - 1] != '}')
        n--;
    evrt_buf_put(out, stats->p, n - 1);
    evrt_buf_puts(out, ",\"dashboard\":");
    evrt_buf_put(out, dashboard->p, dashboard->n);
    while (out->p[out->n - 1] == '\n')
        out->n--;
    evrt_buf_puts(out, "}\n");
}

int evrt_cli_stats(struct evrt_cli *cli) {
    struct evrt_buf stats, dashboard, out;
    struct evrt_dashboard_view view = {.colour = evrt_cli_colour()};
    evrt_buf_init(&stats);
    evrt_buf_init(&dashboard);
    evrt_buf_init(&out);
    int rc = get_stats(cli, &stats, &dashboard);
    if (rc == EVRT_EXIT_OK && evrt_cli_has(cli, "json"))
        join(&stats, &dashboard, &out);
    else if (rc == EVRT_EXIT_OK && evrt_cli_has(cli, "all"))
        evrt_view_object(evrt_buf_slice(&stats), NULL, &out);
    else if (rc == EVRT_EXIT_OK)
        evrt_dashboard_show(evrt_buf_slice(&dashboard), &view, &out);
    if (rc == EVRT_EXIT_OK) rc = evrt_cli_print(&out);
    evrt_buf_finish(&stats);
    evrt_buf_finish(&dashboard);
    evrt_buf_finish(&out);
    return rc;
}

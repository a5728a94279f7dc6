/* evrt tail: follows a running node's events until Ctrl-C. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/view.h"
#include "json/json.h"

struct tail {
    bool json, colour;
    int rc;
    struct evrt_buf text, out;
    struct evrt_buf reason; /* why it has ended, when the node says so */
};

/* ---- Lines for people ---- */

static void put(struct tail *t, struct evrt_slice event, const char *path, const char *colour,
                size_t width) {
    struct evrt_slice value = evrt_json_at(event, evrt_slice_of(path));
    evrt_buf_clear(&t->text);
    evrt_view_text(value, &t->text);
    if (t->text.n == 0) evrt_buf_putc(&t->text, '-');
    size_t wide = evrt_show_width(evrt_buf_slice(&t->text));
    if (t->colour) evrt_buf_puts(&t->out, colour);
    evrt_show(&t->out, evrt_buf_slice(&t->text), false);
    if (t->colour) evrt_buf_puts(&t->out, "\033[0m");
    for (size_t i = wide; i < width; i++)
        evrt_buf_putc(&t->out, ' ');
    evrt_buf_puts(&t->out, "  ");
}

static void put_gap(struct tail *t, struct evrt_slice gap) {
    if (t->colour) evrt_buf_puts(&t->out, "\033[33m");
    evrt_buf_puts(&t->out, "... ");
    evrt_view_text(evrt_json_at(gap, EVRT_STR("skipped")), &t->out);
    evrt_buf_puts(&t->out, " events skipped, seq ");
    evrt_view_text(evrt_json_at(gap, EVRT_STR("from")), &t->out);
    evrt_buf_puts(&t->out, " to ");
    evrt_view_text(evrt_json_at(gap, EVRT_STR("to")), &t->out);
    bool slow = evrt_slice_eq(evrt_json_at(gap, EVRT_STR("reason")), EVRT_STR("\"slow\""));
    evrt_buf_puts(&t->out, slow ? ": this end is too slow" : ": the journal has them no more");
    if (t->colour) evrt_buf_puts(&t->out, "\033[0m");
}

static void put_event(struct tail *t, struct evrt_slice event) {
    put(t, event, "seq", "\033[2m", 8);
    put(t, event, "stored", "\033[2m", 24);
    put(t, event, "type", "\033[1m", 24);
    put(t, event, "source", "", 0);
    evrt_show(&t->out, evrt_json_at(event, EVRT_STR("data")), false);
}

/* What the node says besides events; those have members of such names only as extensions. */
static bool take_note(struct tail *t, struct evrt_slice line) {
    if (evrt_json_at(line, EVRT_STR("specversion")).n > 0) return false;
    struct evrt_slice gap = evrt_json_at(line, EVRT_STR("gap"));
    evrt_view_text(evrt_json_at(line, EVRT_STR("end.reason")), &t->reason);
    if (gap.n > 0 && !t->json) put_gap(t, gap);
    return !t->json;
}

static int on_line(void *arg, struct evrt_slice line) {
    struct tail *t = arg;
    struct evrt_json_info info;
    if (evrt_json_check(line, &info, NULL) < 0 || info.type != EVRT_JSON_OBJECT) {
        t->rc = evrt_cli_fail(EVRT_EXIT_FAILED, "that is no line of a node of evrt");
        return -1;
    }
    if (!take_note(t, line)) {
        if (t->json)
            evrt_buf_put(&t->out, line.p, line.n);
        else
            put_event(t, line);
    }
    while (t->out.n > 0 && t->out.p[t->out.n - 1] == ' ')
        t->out.n--;
    if (t->out.n == 0) return 0;
    evrt_buf_putc(&t->out, '\n');
    t->rc = evrt_cli_print(&t->out);
    return t->rc == EVRT_EXIT_OK ? 0 : -1;
}

/* ---- The request ---- */

static void put_parameter(struct evrt_buf *path, const char *name, const char *value) {
    if (value == NULL) return;
    evrt_buf_printf(path, "%c%s=", strchr(path->p, '?') == NULL ? '?' : '&', name);
    evrt_client_query(path, evrt_slice_of(value));
    evrt_buf_cstr(path);
}

/* A number is the first sequence wanted; else it is a time. */
static int put_from(struct evrt_cli *cli, struct evrt_buf *path) {
    const char *from = evrt_cli_get(cli, "from");
    char after[24];
    uint64_t seq;
    if (from == NULL || from[strspn(from, "0123456789")] != '\0' || *from == '\0') {
        put_parameter(path, "from", from);
        return EVRT_EXIT_OK;
    }
    if (!evrt_cli_number(cli, "from", 0, 1, UINT64_MAX - 1, &seq)) return EVRT_EXIT_USAGE;
    snprintf(after, sizeof after, "%llu", (unsigned long long)seq - 1);
    put_parameter(path, "after", after);
    return EVRT_EXIT_OK;
}

static int follow(struct evrt_cli *cli, const char *path, struct tail *t) {
    struct evrt_node node;
    bool interrupted = false;
    int rc = evrt_node_find(&node, cli, EVRT_LISTENER_ADMIN);
    if (rc != EVRT_EXIT_OK) return rc;
    struct evrt_request request = {.path = path};
    rc = evrt_client_stream(&node, &request, on_line, t, &interrupted);
    evrt_node_finish(&node);
    if (interrupted) return EVRT_EXIT_OK;
    if (rc != EVRT_EXIT_OK || t->rc != EVRT_EXIT_OK) return t->rc != EVRT_EXIT_OK ? t->rc : rc;
    return evrt_cli_fail(EVRT_EXIT_UNREACHABLE, "%s",
                         t->reason.n > 0 ? evrt_buf_cstr(&t->reason) : "the node has gone");
}

int evrt_cli_tail(struct evrt_cli *cli) {
    struct tail t = {.json = evrt_cli_has(cli, "json"), .colour = evrt_cli_colour()};
    struct evrt_buf path;
    evrt_buf_init(&path);
    evrt_buf_puts(&path, "/api/v1/tail");
    evrt_buf_cstr(&path);
    put_parameter(&path, "type", cli->nargs > 0 ? cli->args[0] : NULL);
    put_parameter(&path, "source", evrt_cli_get(cli, "source"));
    put_parameter(&path, "subject", evrt_cli_get(cli, "subject"));
    int rc = put_from(cli, &path);
    if (rc == EVRT_EXIT_OK) rc = follow(cli, evrt_buf_cstr(&path), &t);
    evrt_buf_finish(&path);
    evrt_buf_finish(&t.text);
    evrt_buf_finish(&t.out);
    evrt_buf_finish(&t.reason);
    return rc;
}

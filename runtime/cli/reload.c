/* evrt reload: asks a running node to reload, waits, and tells what came of it. */
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/view.h"
#include "json/json.h"

enum {
    TIMEOUT_MS = 86400000
}; /* the node decides: workers.stall_timeout and drain_timeout bound it */

/* Called for each element of the array at `path`. */
struct listing {
    struct evrt_buf *out;
    const char *word;
    unsigned count;
};

static void put_member(const struct evrt_json_member *m, const char *path, struct evrt_buf *out) {
    evrt_view_text(evrt_json_at(m->value, evrt_slice_of(path)), out);
}

static int put_name(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct listing *l = arg;
    (void)err;
    evrt_buf_printf(l->out, "  %s handler ", l->word);
    evrt_view_text(m->value, l->out);
    evrt_buf_putc(l->out, '\n');
    return 0;
}

static int put_changed(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct listing *l = arg;
    (void)err;
    evrt_buf_puts(l->out, "  changed handler ");
    put_member(m, "handler", l->out);
    evrt_buf_puts(l->out, ": ");
    put_member(m, "changes", l->out);
    evrt_buf_putc(l->out, '\n');
    return 0;
}

static int put_renamed(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct listing *l = arg;
    (void)err;
    evrt_buf_puts(l->out, "  renamed handler ");
    put_member(m, "from", l->out);
    evrt_buf_puts(l->out, " to ");
    put_member(m, "to", l->out);
    evrt_buf_puts(l->out,
                  ": a subscription of its own; what was pending stays with the old name\n");
    return 0;
}

static int put_config(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct listing *l = arg;
    (void)err;
    bool restart =
        evrt_slice_eq(evrt_json_at(m->value, EVRT_STR("needs_restart")), EVRT_STR("true"));
    evrt_buf_puts(l->out, restart ? "  needs a restart: " : "  set ");
    put_member(m, "key", l->out);
    evrt_buf_puts(l->out, " from \"");
    put_member(m, "old", l->out);
    evrt_buf_puts(l->out, "\" to \"");
    put_member(m, "new", l->out);
    evrt_buf_puts(l->out, "\"\n");
    return 0;
}

static int put_error(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct listing *l = arg;
    struct evrt_buf file, line, message;
    evrt_buf_init(&file);
    evrt_buf_init(&line);
    evrt_buf_init(&message);
    put_member(m, "file", &file);
    put_member(m, "line", &line);
    put_member(m, "message", &message);
    struct evrt_error one = {.line = atoi(evrt_buf_cstr(&line))};
    (void)err;
    snprintf(one.file, sizeof one.file, "%s", evrt_buf_cstr(&file));
    snprintf(one.message, sizeof one.message, "%s", evrt_buf_cstr(&message));
    evrt_cli_error(EVRT_EXIT_CONFIG, &one);
    evrt_buf_finish(&file);
    evrt_buf_finish(&line);
    evrt_buf_finish(&message);
    l->count++;
    return 0;
}

static unsigned each(struct evrt_slice json, const char *path, evrt_json_member_cb fn,
                     struct evrt_buf *out, const char *word) {
    struct listing l = {.out = out, .word = word};
    struct evrt_slice array = evrt_json_at(json, evrt_slice_of(path));
    if (array.n != 0 && evrt_json_members(array, fn, &l, NULL, NULL) < 0) return 0;
    return l.count;
}

static void show(struct evrt_slice json, struct evrt_buf *out) {
    bool same = evrt_slice_eq(evrt_json_at(json, EVRT_STR("outcome")), EVRT_STR("\"unchanged\""));
    evrt_buf_puts(out, "generation ");
    evrt_view_text(evrt_json_at(json, EVRT_STR("generation")), out);
    evrt_buf_puts(out, same ? " stays: nothing has changed\n" : " serves\n");
    each(json, "handlers.added", put_name, out, "added");
    each(json, "handlers.changed", put_changed, out, NULL);
    each(json, "handlers.removed", put_name, out, "removed");
    each(json, "handlers.renamed", put_renamed, out, NULL);
    each(json, "config", put_config, out, NULL);
}

static int ask(struct evrt_cli *cli, long *status, struct evrt_buf *json) {
    struct evrt_node node;
    struct evrt_request request = {
        .path = "/api/v1/reload",
        .post = true,
        .timeout_ms = TIMEOUT_MS,
        .refusal = 422,
        .status = status,
    };
    int rc = evrt_node_find(&node, cli, EVRT_LISTENER_ADMIN);
    if (rc != EVRT_EXIT_OK) return rc;
    rc = evrt_client_send(&node, &request, json);
    evrt_node_finish(&node);
    if (rc == EVRT_EXIT_OK && evrt_json_check(evrt_buf_slice(json), NULL, NULL) < 0)
        rc = evrt_cli_fail(EVRT_EXIT_FAILED, "the answer is not JSON: that is no evrt node");
    return rc;
}

int evrt_cli_reload(struct evrt_cli *cli) {
    struct evrt_buf json, out;
    long status = 0;
    evrt_buf_init(&json);
    evrt_buf_init(&out);
    int rc = ask(cli, &status, &json);
    bool refused = status == 422;
    if (rc == EVRT_EXIT_OK && evrt_cli_has(cli, "json")) {
        rc = evrt_cli_print(&json);
    } else if (rc == EVRT_EXIT_OK && refused) {
        each(evrt_buf_slice(&json), "errors", put_error, NULL, NULL);
        evrt_buf_puts(&out, "refused: generation ");
        evrt_view_text(evrt_json_at(evrt_buf_slice(&json), EVRT_STR("generation")), &out);
        evrt_buf_puts(&out, " goes on serving\n");
        rc = evrt_cli_print(&out);
    } else if (rc == EVRT_EXIT_OK) {
        show(evrt_buf_slice(&json), &out);
        rc = evrt_cli_print(&out);
    }
    evrt_buf_finish(&json);
    evrt_buf_finish(&out);
    return rc == EVRT_EXIT_OK && refused ? EVRT_EXIT_CONFIG : rc;
}

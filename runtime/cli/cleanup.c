/* evrt cleanup, evrt backup: what an operator does with a running node's store. */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/view.h"
#include "core/jsonout.h"
#include "core/units.h"
#include "json/json.h"

enum { TIMEOUT_MS = 60000 };

static uint64_t number_at(struct evrt_slice json, const char *path) {
    struct evrt_slice value = evrt_json_at(json, evrt_slice_of(path));
    return value.n == 0 ? 0 : strtoull(value.p, NULL, 10);
}

/* ---- Cleanup ---- */

static void put_part(struct evrt_buf *out, struct evrt_slice json, const char *part,
                     const char *what) {
    char size[EVRT_UNITS_SIZE];
    struct evrt_slice p = evrt_json_at(json, evrt_slice_of(part));
    evrt_buf_printf(out, "%s ", what);
    evrt_view_count(number_at(p, "segments"), "segment", out);
    evrt_buf_puts(out, ", ");
    evrt_view_count(number_at(p, "events"), "event", out);
    evrt_buf_printf(out, ", %s\n", evrt_size_format(number_at(p, "bytes"), size));
}

static void show_cleanup(struct evrt_slice json, bool dry_run, struct evrt_buf *out) {
    static const struct evrt_view_column columns[] = {
        {"PINNED BY", "reason"},     {"HANDLER", "handler"}, {">NEEDS SEQ", "seq"},
        {">NOT ENDED", "not_ended"}, {NULL, NULL},
    };
    put_part(out, json, "dropped", dry_run ? "would drop" : "dropped");
    if (number_at(json, "kept.segments") == 0) return;
    put_part(out, json, "kept", dry_run ? "would keep" : "kept");
    evrt_view_items(evrt_json_at(json, EVRT_STR("pins")), columns, out);
}

static void put_body(struct evrt_buf *body, const char *key, const char *text, const char *flag,
                     bool on) {
    struct evrt_jsonout o = evrt_jsonout_start(body);
    evrt_jsonout_object(&o);
    evrt_jsonout_put_cstr(&o, key, text);
    evrt_jsonout_put_bool(&o, flag, on);
    evrt_jsonout_end(&o);
}

/* Asks the node, and shows what it says; *some: it drops, or would drop, something. */
static int clean(struct evrt_cli *cli, const char *before, bool dry_run, bool *some) {
    struct evrt_buf body, json, out;
    evrt_buf_init(&body);
    evrt_buf_init(&json);
    evrt_buf_init(&out);
    put_body(&body, "before", before, "dry_run", dry_run);
    struct evrt_request request = {.path = "/api/v1/cleanup",
                                   .body = evrt_buf_slice(&body),
                                   .post = true,
                                   .timeout_ms = TIMEOUT_MS};
    int rc = evrt_view_send(cli, &request, &json);
    if (rc == EVRT_EXIT_OK) {
        *some = number_at(evrt_buf_slice(&json), "dropped.segments") > 0;
        if (!evrt_cli_has(cli, "json")) show_cleanup(evrt_buf_slice(&json), dry_run, &out);
        rc = evrt_cli_print(evrt_cli_has(cli, "json") ? &json : &out);
    }
    evrt_buf_finish(&body);
    evrt_buf_finish(&json);
    evrt_buf_finish(&out);
    return rc;
}

int evrt_cli_cleanup(struct evrt_cli *cli) {
    const char *before = evrt_cli_get(cli, "before");
    bool dry_run = evrt_cli_has(cli, "dry-run"), yes = evrt_cli_has(cli, "yes"), some = false;
    if (before == NULL) return evrt_cli_usage(cli, "what is to go? name a time with --before");
    if (dry_run && yes) return evrt_cli_usage(cli, "--dry-run or --yes, not both");
    int rc = clean(cli, before, !yes, &some);
    if (rc != EVRT_EXIT_OK || yes || dry_run || !some) return rc;
    rc = evrt_cli_confirm(cli, "");
    return rc == EVRT_EXIT_OK ? clean(cli, before, false, &some) : rc;
}

/* ---- Backup ---- */

struct backup {
    bool terminal; /* standard error is one: show progress there */
    struct evrt_buf result;
    int rc;
};

static int on_line(void *arg, struct evrt_slice line) {
    struct backup *b = arg;
    if (evrt_json_check(line, NULL, NULL) < 0) return -1;
    struct evrt_slice progress = evrt_json_at(line, EVRT_STR("progress"));
    struct evrt_slice result = evrt_json_at(line, EVRT_STR("backup"));
    struct evrt_slice message = evrt_json_at(line, EVRT_STR("error.message"));
    if (progress.n > 0 && b->terminal) {
        char done[EVRT_UNITS_SIZE];
        uint64_t bytes = number_at(progress, "bytes"), total = number_at(progress, "total");
        fprintf(stderr, "\r\033[K%3.0f %% of %s",
                total == 0 ? 0.0 : (double)bytes / (double)total * 100,
                evrt_size_format(total >> 20 << 20, done));
        fflush(stderr);
    }
    if (progress.n == 0 && b->terminal) fputs("\r\033[K", stderr);
    if (result.n > 0) evrt_buf_put(&b->result, result.p, result.n);
    if (message.n > 0) {
        struct evrt_buf text;
        evrt_buf_init(&text);
        evrt_view_text(message, &text);
        b->rc = evrt_cli_fail(EVRT_EXIT_FAILED, "%s", evrt_buf_cstr(&text));
        evrt_buf_finish(&text);
    }
    return 0;
}

static void show_backup(struct evrt_slice json, struct evrt_buf *out) {
    char size[EVRT_UNITS_SIZE];
    evrt_view_text(evrt_json_at(json, EVRT_STR("dir")), out);
    evrt_buf_puts(out, ": ");
    evrt_view_count(number_at(json, "events"), "event", out);
    evrt_buf_printf(out, " (seq %" PRIu64 " to %" PRIu64 ") in ", number_at(json, "first_seq"),
                    number_at(json, "next_seq") - 1);
    evrt_view_count(number_at(json, "segments"), "segment", out);
    evrt_buf_printf(out, ", %s, as of group %" PRIu64 "\n",
                    evrt_size_format(number_at(json, "bytes"), size), number_at(json, "group"));
}

/* The node is on this machine, and has a folder of its own that it stands in. */
static void absolute(const char *dir, struct evrt_buf *out) {
    char cwd[4096];
    if (dir[0] != '/' && getcwd(cwd, sizeof cwd) != NULL) evrt_buf_printf(out, "%s/", cwd);
    evrt_buf_puts(out, dir);
    while (out->n > 1 && out->p[out->n - 1] == '/')
        out->n--;
}

static int ask(struct evrt_cli *cli, const struct evrt_buf *body, struct backup *b) {
    struct evrt_node node;
    bool interrupted = false;
    int rc = evrt_node_find(&node, cli, EVRT_LISTENER_ADMIN);
    if (rc != EVRT_EXIT_OK) return rc;
    struct evrt_request request = {
        .path = "/api/v1/backup", .body = evrt_buf_slice(body), .post = true};
    rc = evrt_client_stream(&node, &request, on_line, b, &interrupted);
    evrt_node_finish(&node);
    if (interrupted)
        return evrt_cli_fail(EVRT_EXIT_FAILED, "interrupted; the node takes away what it has made");
    if (rc != EVRT_EXIT_OK || b->rc != EVRT_EXIT_OK) return rc != EVRT_EXIT_OK ? rc : b->rc;
    return b->result.n > 0
               ? EVRT_EXIT_OK
               : evrt_cli_fail(EVRT_EXIT_FAILED, "the node has ended before the backup was made");
}

int evrt_cli_backup(struct evrt_cli *cli) {
    struct backup b = {.terminal = evrt_cli_terminal(STDERR_FILENO)};
    struct evrt_buf dir, body, out;
    evrt_buf_init(&dir);
    evrt_buf_init(&body);
    evrt_buf_init(&out);
    absolute(cli->args[0], &dir);
    put_body(&body, "dir", evrt_buf_cstr(&dir), "copy", evrt_cli_has(cli, "copy"));
    int rc = ask(cli, &body, &b);
    if (rc == EVRT_EXIT_OK) {
        if (evrt_cli_has(cli, "json")) {
            evrt_buf_put(&out, b.result.p, b.result.n);
            evrt_buf_putc(&out, '\n');
        } else {
            show_backup(evrt_buf_slice(&b.result), &out);
        }
        rc = evrt_cli_print(&out);
    }
    evrt_buf_finish(&b.result);
    evrt_buf_finish(&dir);
    evrt_buf_finish(&body);
    evrt_buf_finish(&out);
    return rc;
}

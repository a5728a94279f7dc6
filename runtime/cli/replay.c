/* evrt replay: stored events delivered once more to one handler; those that were begun, listed, watched,
 * cancelled. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/view.h"
#include "core/jsonout.h"
#include "json/json.h"

enum {
    TIMEOUT_MS = 30000,
    FIRST_MS = 20, /* between two looks, doubling to */
    LOOK_MS = 500,
    FEW = 10, /* failures that are shown unasked */
};

/* ---- Showing ---- */

static double part_done(struct evrt_slice json) {
    uint64_t from = evrt_view_number(json, "from_seq"), next = evrt_view_number(json, "next_seq");
    uint64_t end = evrt_view_number(json, "to_seq") + 1;
    return end <= from ? 1 : (double)(next - from) / (double)(end - from);
}

static void put_summary(struct evrt_slice json, struct evrt_buf *out) {
    uint64_t ms = evrt_view_number(json, "duration_ms");
    bool dry = evrt_view_is(json, "dry_run", "true");
    evrt_buf_puts(out, "Replay ");
    evrt_view_text(evrt_json_at(json, EVRT_STR("id")), out);
    evrt_buf_puts(out, " to ");
    evrt_view_text(evrt_json_at(json, EVRT_STR("handler")), out);
    evrt_buf_puts(out, dry ? " (dry run): " : ": ");
    evrt_view_text(evrt_json_at(json, EVRT_STR("state")), out);
    if (dry)
        evrt_buf_printf(out, ", %" PRIu64 " would be replayed",
                        evrt_view_number(json, "skipped_count"));
    else
        evrt_buf_printf(out, ", %" PRIu64 " replayed, %" PRIu64 " failed, %" PRIu64 " skipped",
                        evrt_view_number(json, "replayed_count"),
                        evrt_view_number(json, "failed_count"),
                        evrt_view_number(json, "skipped_count"));
    evrt_buf_printf(out, ", %.1f s", (double)ms / 1000);
    if (evrt_view_is(json, "state", "\"running\""))
        evrt_buf_printf(out, ", %.0f %%", part_done(json) * 100);
    evrt_buf_putc(out, '\n');
    struct evrt_slice error = evrt_json_at(json, EVRT_STR("error"));
    if (error.n > 2) {
        evrt_view_text(error, out);
        evrt_buf_putc(out, '\n');
    }
}

struct first {
    struct evrt_buf items; /* a JSON array */
    size_t most, count;
};

static int add_first(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct first *f = arg;
    (void)err;
    if (f->count == f->most) return 0;
    if (f->count++ > 0) evrt_buf_putc(&f->items, ',');
    evrt_buf_put(&f->items, m->value.p, m->value.n);
    return 0;
}

static void put_failures(struct evrt_slice json, size_t most, struct evrt_buf *out) {
    static const struct evrt_view_column columns[] = {
        {">FAILED SEQ", "seq"}, {"TYPE", "error.type"}, {"ERROR", "error.message"}, {NULL, NULL}};
    struct first f = {.most = most};
    struct evrt_json_info info;
    struct evrt_slice failures = evrt_json_at(json, EVRT_STR("failures"));
    evrt_buf_putc(&f.items, '[');
    int rc = failures.n == 0 ? -1 : evrt_json_members(failures, add_first, &f, &info, NULL);
    evrt_buf_putc(&f.items, ']');
    size_t shown =
        rc == 0 && f.count > 0 ? evrt_view_items(evrt_buf_slice(&f.items), columns, out) : 0;
    evrt_buf_finish(&f.items);
    if (evrt_view_number(json, "failed_count") > shown)
        evrt_buf_printf(out, "%s%" PRIu64 " more failed; %s\n", shown > 0 ? "... " : "",
                        evrt_view_number(json, "failed_count") - shown,
                        f.count == most ? "show has the first hundred, the log all of them"
                                        : "the log has them");
}

/* What it came to; the exit code says whether that is well. */
static int show(struct evrt_cli *cli, struct evrt_buf *json) {
    struct evrt_slice replay = evrt_buf_slice(json);
    bool bad =
        evrt_view_is(replay, "state", "\"failed\"") || evrt_view_number(replay, "failed_count") > 0;
    int rc;
    if (evrt_cli_has(cli, "json")) {
        rc = evrt_cli_print(json);
    } else {
        struct evrt_buf out;
        evrt_buf_init(&out);
        put_summary(replay, &out);
        put_failures(replay, cli->nargs > 0 ? SIZE_MAX : FEW, &out);
        rc = evrt_cli_print(&out);
        evrt_buf_finish(&out);
    }
    bool told = !evrt_cli_has(cli, "detach");
    return rc == EVRT_EXIT_OK && bad && told ? EVRT_EXIT_FAILED : rc;
}

static int list(struct evrt_cli *cli) {
    static const struct evrt_view_column columns[] = {
        {">ID", "id"},
        {"HANDLER", "handler"},
        {"STATE", "state"},
        {"DRY RUN", "dry_run"},
        {">REPLAYED", "replayed_count"},
        {">FAILED", "failed_count"},
        {">SKIPPED", "skipped_count"},
        {">NEXT SEQ", "next_seq"},
        {">TO SEQ", "to_seq"},
        {"CREATED", "created"},
        {">MS", "duration_ms"},
        {NULL, NULL},
    };
    struct evrt_buf json;
    evrt_buf_init(&json);
    int rc = evrt_view_get(cli, "/api/v1/replays", &json);
    if (rc == EVRT_EXIT_OK)
        rc = evrt_view_page(cli, &json, columns, "No replays.\n", "There are more");
    evrt_buf_finish(&json);
    return rc;
}

/* ---- One ---- */

static int ask(struct evrt_cli *cli, const char *id, const char *method, struct evrt_buf *json) {
    struct evrt_buf path;
    evrt_buf_init(&path);
    evrt_buf_clear(json);
    evrt_buf_puts(&path, "/api/v1/replays/");
    evrt_client_query(&path, evrt_slice_of(id));
    struct evrt_request request = {.path = evrt_buf_cstr(&path),
                                   .post = method != NULL,
                                   .method = method,
                                   .timeout_ms = TIMEOUT_MS};
    int rc = evrt_view_send(cli, &request, json);
    evrt_buf_finish(&path);
    return rc;
}

static void progress(struct evrt_slice json) {
    struct evrt_slice id = evrt_json_at(json, EVRT_STR("id"));
    fprintf(stderr, "\r\033[KReplay %.*s: %3.0f %%  %" PRIu64 " replayed, %" PRIu64 " failed",
            id.n > 2 ? (int)id.n - 2 : 0, id.p + 1, part_done(json) * 100,
            evrt_view_number(json, "replayed_count"), evrt_view_number(json, "failed_count"));
    fflush(stderr);
}

/* Until it has ended. Ctrl-C ends this command and not the replay. */
static int wait_for(struct evrt_cli *cli, const char *id, struct evrt_buf *json) {
    bool terminal = evrt_cli_terminal(STDERR_FILENO) && !evrt_cli_has(cli, "json");
    int rc = EVRT_EXIT_OK;
    for (int64_t ms = FIRST_MS; rc == EVRT_EXIT_OK; ms = ms * 2 < LOOK_MS ? ms * 2 : LOOK_MS) {
        rc = ask(cli, id, NULL, json);
        if (rc != EVRT_EXIT_OK || !evrt_view_is(evrt_buf_slice(json), "state", "\"running\""))
            break;
        if (terminal) progress(evrt_buf_slice(json));
        nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
    }
    if (terminal) fputs("\r\033[K", stderr);
    return rc == EVRT_EXIT_OK ? show(cli, json) : rc;
}

/* ---- A new one ---- */

static void put_text(struct evrt_cli *cli, struct evrt_jsonout *o, const char *option) {
    const char *value = evrt_cli_get(cli, option);
    if (value == NULL) return;
    evrt_jsonout_put_cstr(o, option, value);
}

static bool put_number(struct evrt_cli *cli, struct evrt_jsonout *o, const char *option,
                       const char *key) {
    uint64_t value;
    if (!evrt_cli_has(cli, option)) return true;
    if (!evrt_cli_number(cli, option, 0, 1, UINT64_MAX - 1, &value)) return false;
    evrt_jsonout_put_u64(o, key, value);
    return true;
}

static bool put_body(struct evrt_cli *cli, struct evrt_buf *body) {
    static const char *const texts[] = {"handler", "from", "to", "type", "source"};
    struct evrt_jsonout o = evrt_jsonout_start(body);
    evrt_jsonout_object(&o);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        put_text(cli, &o, texts[i]);
    bool good = put_number(cli, &o, "from-seq", "from_seq") &&
                put_number(cli, &o, "to-seq", "to_seq") && put_number(cli, &o, "limit", "limit") &&
                put_number(cli, &o, "rate", "rate");
    evrt_jsonout_put_bool(&o, "dry_run", evrt_cli_has(cli, "dry-run"));
    evrt_jsonout_end(&o);
    return good;
}

static int begin(struct evrt_cli *cli, struct evrt_buf *json) {
    struct evrt_buf body, id;
    evrt_buf_init(&body);
    evrt_buf_init(&id);
    int rc = put_body(cli, &body) ? EVRT_EXIT_OK : EVRT_EXIT_USAGE;
    struct evrt_request request = {.path = "/api/v1/replays",
                                   .body = evrt_buf_slice(&body),
                                   .post = true,
                                   .timeout_ms = TIMEOUT_MS};
    if (rc == EVRT_EXIT_OK) rc = evrt_view_send(cli, &request, json);
    if (rc == EVRT_EXIT_OK) {
        evrt_view_text(evrt_json_at(evrt_buf_slice(json), EVRT_STR("id")), &id);
        rc =
            evrt_cli_has(cli, "detach") ? show(cli, json) : wait_for(cli, evrt_buf_cstr(&id), json);
    }
    evrt_buf_finish(&body);
    evrt_buf_finish(&id);
    return rc;
}

static bool chooses(struct evrt_cli *cli) {
    static const char *const options[] = {"from",     "to",     "type", "source",
                                          "from-seq", "to-seq", "limit"};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (evrt_cli_has(cli, options[i])) return true;
    return false;
}

int evrt_cli_replay(struct evrt_cli *cli) {
    const char *verb = cli->nargs > 0 ? cli->args[0] : NULL;
    bool cancel = verb != NULL && strcmp(verb, "cancel") == 0;
    bool wait = verb != NULL && strcmp(verb, "wait") == 0;
    bool shows = verb != NULL && strcmp(verb, "show") == 0;
    if (verb != NULL && strcmp(verb, "list") == 0 && cli->nargs == 1) return list(cli);
    if (verb != NULL && !cancel && !wait && !shows)
        return evrt_cli_usage(cli, "expected list, show, wait or cancel, got \"%s\"", verb);
    if (verb != NULL && cli->nargs != 2)
        return evrt_cli_usage(cli, "which replay? Its ID is in the list");
    if (verb == NULL && !evrt_cli_has(cli, "handler"))
        return evrt_cli_usage(cli, "to whom? name a handler with --handler");
    if (verb == NULL && !chooses(cli))
        return evrt_cli_usage(cli, "which events? say --from or --from-seq, --type, --source or "
                                   "--limit; --from-seq 1 is all of them");
    struct evrt_buf json;
    evrt_buf_init(&json);
    int rc;
    if (verb == NULL) {
        rc = begin(cli, &json);
    } else if (wait) {
        rc = wait_for(cli, cli->args[1], &json);
    } else {
        rc = ask(cli, cli->args[1], cancel ? "DELETE" : NULL, &json);
        if (rc == EVRT_EXIT_OK) rc = show(cli, &json);
    }
    evrt_buf_finish(&json);
    return rc;
}

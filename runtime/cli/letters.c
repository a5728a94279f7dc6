/* evrt dead-letters: what a node gave up on; shown, given once more, deleted, exported. */
#include <inttypes.h>
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
    DELETE_MS = 600000, /* a million of them */
    FIRST_MS = 20,      /* between two looks, doubling to */
    LOOK_MS = 500,
};

static const char *const filters[] = {"handler", "type", "reason", "from", "to", NULL};
static const char *const pages[] = {"handler", "type",  "reason", "from",
                                    "to",      "after", "limit",  NULL};

/* ---- Looking ---- */

static int list(struct evrt_cli *cli) {
    static const struct evrt_view_column columns[] = {
        {"ID", "id"},         {"HANDLER", "handler"},     {"TYPE", "type"},
        {"REASON", "reason"}, {">ATTEMPTS", "attempts"},  {"DEAD", "dead_at"},
        {"STATE", "state"},   {"ERROR", "error.message"}, {NULL, NULL},
    };
    struct evrt_buf path, json;
    evrt_buf_init(&path);
    evrt_buf_init(&json);
    evrt_buf_puts(&path, "/api/v1/dead-letters");
    evrt_view_query(cli, pages, &path);
    int rc = evrt_view_get(cli, evrt_buf_cstr(&path), &json);
    if (rc == EVRT_EXIT_OK)
        rc = evrt_view_page(cli, &json, columns, "No dead letters.\n", "There may be more");
    evrt_buf_finish(&path);
    evrt_buf_finish(&json);
    return rc;
}

static void put_letter(struct evrt_slice letter, struct evrt_buf *out) {
    static const char *const apart[] = {"history", "error", NULL};
    static const struct evrt_view_column columns[] = {
        {">ATTEMPT", "attempt"},
        {"AT", "at"},
        {"TYPE", "error.type"},
        {"ERROR", "error.message"},
        {">GENERATION", "generation"},
        {"SCRIPT", "script"},
        {NULL, NULL},
    };
    struct evrt_slice traceback = evrt_json_at(letter, EVRT_STR("error.traceback"));
    evrt_view_object(letter, apart, out);
    evrt_buf_putc(out, '\n');
    evrt_view_items(evrt_json_at(letter, EVRT_STR("history")), columns, out);
    if (traceback.n <= 2) return;
    evrt_buf_putc(out, '\n');
    evrt_view_text(traceback, out);
    evrt_buf_putc(out, '\n');
}

static void put_path(struct evrt_buf *path, const char *id, const char *rest) {
    evrt_buf_puts(path, "/api/v1/dead-letters/");
    evrt_client_query(path, evrt_slice_of(id));
    evrt_buf_puts(path, rest);
}

static int show(struct evrt_cli *cli) {
    struct evrt_buf path, json, out;
    evrt_buf_init(&path);
    evrt_buf_init(&json);
    evrt_buf_init(&out);
    put_path(&path, cli->args[1], "");
    int rc = evrt_view_get(cli, evrt_buf_cstr(&path), &json);
    if (rc == EVRT_EXIT_OK && !evrt_cli_has(cli, "json")) put_letter(evrt_buf_slice(&json), &out);
    if (rc == EVRT_EXIT_OK) rc = evrt_cli_print(evrt_cli_has(cli, "json") ? &json : &out);
    evrt_buf_finish(&path);
    evrt_buf_finish(&json);
    evrt_buf_finish(&out);
    return rc;
}

/* ---- Exporting: their events, with what became of them as extensions ---- */

static void put_extension(struct evrt_slice letter, const char *name, const char *path,
                          struct evrt_buf *out) {
    struct evrt_slice value = evrt_json_at(letter, evrt_slice_of(path));
    if (value.n != 0) evrt_buf_printf(out, ",\"%s\":%.*s", name, (int)value.n, value.p);
}

struct export {
    struct evrt_buf out;
    uint64_t without; /* letters whose event is in the store no more */
};

static int put_event(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct export *e = arg;
    struct evrt_slice event = evrt_json_at(m->value, EVRT_STR("event"));
    (void)err;
    if (event.n < 2 || event.p[0] != '{') {
        e->without++;
        return 0;
    }
    evrt_buf_put(&e->out, event.p, event.n - 1);
    put_extension(m->value, "evrtdeadletter", "id", &e->out);
    put_extension(m->value, "evrthandler", "handler", &e->out);
    put_extension(m->value, "evrtreason", "reason", &e->out);
    put_extension(m->value, "evrterror", "error.message", &e->out);
    evrt_buf_puts(&e->out, "}\n");
    return 0;
}

static int export(struct evrt_cli *cli) {
    struct evrt_buf path, json, next;
    struct export e = {.without = 0};
    int rc = EVRT_EXIT_OK;
    evrt_buf_init(&path);
    evrt_buf_init(&json);
    evrt_buf_init(&next);
    for (bool more = true; more && rc == EVRT_EXIT_OK;) {
        struct evrt_json_info info;
        evrt_buf_clear(&path);
        evrt_buf_clear(&json);
        evrt_buf_clear(&e.out);
        evrt_buf_puts(&path, "/api/v1/dead-letters");
        evrt_buf_puts(&path,
                      evrt_view_query(cli, filters, &path) == 0 ? "?full=true" : "&full=true");
        if (next.n != 0) evrt_buf_printf(&path, "&after=%s", evrt_buf_cstr(&next));
        rc = evrt_view_get(cli, evrt_buf_cstr(&path), &json);
        if (rc != EVRT_EXIT_OK) break;
        struct evrt_slice page = evrt_buf_slice(&json);
        int bad =
            evrt_json_members(evrt_json_at(page, EVRT_STR("items")), put_event, &e, &info, NULL);
        if (bad == 0) rc = evrt_cli_print(&e.out);
        evrt_buf_clear(&next);
        evrt_view_text(evrt_json_at(page, EVRT_STR("next")), &next);
        more = bad == 0 && next.n != 0;
    }
    if (e.without != 0)
        fprintf(stderr, "%" PRIu64 " have no event any more and are left out.\n", e.without);
    evrt_buf_finish(&path);
    evrt_buf_finish(&json);
    evrt_buf_finish(&next);
    evrt_buf_finish(&e.out);
    return rc;
}

/* ---- Deleting ---- */

static int delete (struct evrt_cli *cli) {
    struct evrt_buf path;
    evrt_buf_init(&path);
    if (cli->nargs == 2) {
        put_path(&path, cli->args[1], "");
    } else {
        evrt_buf_puts(&path, "/api/v1/dead-letters");
        if (evrt_view_query(cli, filters, &path) == 0) evrt_buf_puts(&path, "?all=true");
    }
    struct evrt_request request = {
        .path = evrt_buf_cstr(&path), .post = true, .method = "DELETE", .timeout_ms = DELETE_MS};
    int rc = evrt_view_tell(cli, &request);
    evrt_buf_finish(&path);
    return rc;
}

/* ---- Giving once more ---- */

static void put_summary(struct evrt_slice job, struct evrt_buf *out) {
    static const struct evrt_view_column columns[] = {
        {"FAILED", "id"}, {"TYPE", "error.type"}, {"ERROR", "error.message"}, {NULL, NULL}};
    evrt_buf_puts(out, "Job ");
    evrt_view_text(evrt_json_at(job, EVRT_STR("id")), out);
    evrt_buf_puts(out, ": ");
    evrt_view_text(evrt_json_at(job, EVRT_STR("state")), out);
    evrt_buf_printf(
        out, ", %" PRIu64 " handled, %" PRIu64 " failed again, %" PRIu64 " skipped, %.1f s\n",
        evrt_view_number(job, "done"), evrt_view_number(job, "failed"),
        evrt_view_number(job, "skipped"), (double)evrt_view_number(job, "duration_ms") / 1000);
    struct evrt_slice error = evrt_json_at(job, EVRT_STR("error"));
    if (error.n > 2) {
        evrt_view_text(error, out);
        evrt_buf_putc(out, '\n');
    }
    if (evrt_view_number(job, "failed") != 0)
        evrt_view_items(evrt_json_at(job, EVRT_STR("failures")), columns, out);
}

/* What it came to; the exit code says whether that is well. */
static int show_job(struct evrt_cli *cli, struct evrt_buf *json) {
    struct evrt_slice job = evrt_buf_slice(json);
    bool bad = evrt_view_is(job, "state", "\"failed\"") || evrt_view_number(job, "failed") > 0;
    struct evrt_buf out;
    evrt_buf_init(&out);
    if (!evrt_cli_has(cli, "json")) put_summary(job, &out);
    int rc = evrt_cli_print(evrt_cli_has(cli, "json") ? json : &out);
    evrt_buf_finish(&out);
    return rc == EVRT_EXIT_OK && bad && !evrt_cli_has(cli, "detach") ? EVRT_EXIT_FAILED : rc;
}

static void progress(struct evrt_slice job) {
    uint64_t total = evrt_view_number(job, "total"), done = evrt_view_number(job, "done");
    uint64_t failed = evrt_view_number(job, "failed"),
             gone = done + failed + evrt_view_number(job, "skipped");
    fputs("\r\033[K", stderr);
    if (total != 0) fprintf(stderr, "%3.0f %%  ", (double)gone / (double)total * 100);
    fprintf(stderr, "%" PRIu64 " handled, %" PRIu64 " failed again", done, failed);
    fflush(stderr);
}

/* Until it has ended. Ctrl-C ends this command and not the job. */
static int wait_for(struct evrt_cli *cli, struct evrt_buf *json) {
    bool terminal = evrt_cli_terminal(STDERR_FILENO) && !evrt_cli_has(cli, "json");
    struct evrt_buf path;
    int rc = EVRT_EXIT_OK;
    evrt_buf_init(&path);
    evrt_buf_puts(&path, "/api/v1/jobs/");
    evrt_view_text(evrt_json_at(evrt_buf_slice(json), EVRT_STR("id")), &path);
    for (int64_t ms = FIRST_MS; evrt_view_is(evrt_buf_slice(json), "state", "\"running\"");
         ms = ms * 2 < LOOK_MS ? ms * 2 : LOOK_MS) {
        if (terminal) progress(evrt_buf_slice(json));
        nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
        evrt_buf_clear(json);
        rc = evrt_view_get(cli, evrt_buf_cstr(&path), json);
        if (rc != EVRT_EXIT_OK) break;
    }
    if (terminal) fputs("\r\033[K", stderr);
    evrt_buf_finish(&path);
    return rc == EVRT_EXIT_OK ? show_job(cli, json) : rc;
}

static bool put_number(struct evrt_cli *cli, struct evrt_jsonout *o, const char *option) {
    uint64_t value;
    if (!evrt_cli_has(cli, option)) return true;
    if (!evrt_cli_number(cli, option, 0, 1, UINT64_MAX - 1, &value)) return false;
    evrt_jsonout_put_u64(o, option, value);
    return true;
}

static bool put_body(struct evrt_cli *cli, struct evrt_buf *body) {
    struct evrt_jsonout o = evrt_jsonout_start(body);
    evrt_jsonout_object(&o);
    for (size_t i = 0; filters[i] != NULL; i++) {
        const char *value = evrt_cli_get(cli, filters[i]);
        if (value == NULL) continue;
        evrt_jsonout_put_cstr(&o, filters[i], value);
    }
    if (evrt_cli_has(cli, "all")) evrt_jsonout_put_bool(&o, "all", true);
    bool good = put_number(cli, &o, "limit") && put_number(cli, &o, "rate");
    evrt_jsonout_end(&o);
    return good;
}

static int reprocess(struct evrt_cli *cli) {
    struct evrt_buf path, body, json;
    evrt_buf_init(&path);
    evrt_buf_init(&body);
    evrt_buf_init(&json);
    bool one = cli->nargs == 2;
    int rc = one || put_body(cli, &body) ? EVRT_EXIT_OK : EVRT_EXIT_USAGE;
    if (one)
        put_path(&path, cli->args[1], "/reprocess?wait=false");
    else
        evrt_buf_puts(&path, "/api/v1/dead-letters/reprocess");
    struct evrt_request request = {.path = evrt_buf_cstr(&path),
                                   .body = evrt_buf_slice(&body),
                                   .post = true,
                                   .timeout_ms = TIMEOUT_MS};
    if (rc == EVRT_EXIT_OK) rc = evrt_view_send(cli, &request, &json);
    if (rc == EVRT_EXIT_OK)
        rc = evrt_cli_has(cli, "detach") ? show_job(cli, &json) : wait_for(cli, &json);
    evrt_buf_finish(&path);
    evrt_buf_finish(&body);
    evrt_buf_finish(&json);
    return rc;
}

/* ---- Which ---- */

static bool chooses(struct evrt_cli *cli) {
    for (size_t i = 0; filters[i] != NULL; i++)
        if (evrt_cli_has(cli, filters[i])) return true;
    return evrt_cli_has(cli, "all");
}

static const struct verb {
    const char *name;
    int (*run)(struct evrt_cli *cli);
    int args; /* after the verb: 0 none, 1 one, -1 one or a choice by options */
    bool is_for_good;
} verbs[] = {
    {"list", list, 0, false},
    {"show", show, 1, false},
    {"export", export, 0, false},
    {"delete", delete, -1, true},
    {"reprocess", reprocess, -1, false},
};

static int check(struct evrt_cli *cli, const struct verb *v) {
    int args = cli->nargs > 0 ? (int)cli->nargs - 1 : 0;
    if (v->args >= 0 && args != v->args)
        return v->args == 0 ? evrt_cli_usage(cli, "%s takes no argument", v->name)
                            : evrt_cli_usage(cli, "which dead letter? Its ID is in the list");
    if (v->args < 0 && (args == 1) == chooses(cli))
        return evrt_cli_usage(cli, "which ones? An ID, or a choice: --handler, --type, --reason, "
                                   "--from, --to, or --all");
    return v->is_for_good ? evrt_cli_confirm(cli, v->name) : EVRT_EXIT_OK;
}

int evrt_cli_dead_letters(struct evrt_cli *cli) {
    const char *name = cli->nargs > 0 ? cli->args[0] : "list";
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i].name, name) != 0) continue;
        int rc = check(cli, &verbs[i]);
        return rc == EVRT_EXIT_OK ? verbs[i].run(cli) : rc;
    }
    return evrt_cli_usage(cli, "expected list, show, reprocess, delete or export, got \"%s\"",
                          name);
}

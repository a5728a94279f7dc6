/* evrt publish: one event, in CloudEvents' binary form, to a running node. */
#include <errno.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/view.h"
#include "core/random.h"
#include "core/units.h"
#include "json/json.h"

#define DATA_MAX (64u << 20)
#define GRACE_MS 30000 /* for the answer, beyond what --wait waits for */

/* "ce-NAME: value\0", percent-encoded as CloudEvents' HTTP binding says. */
static void put_header(struct evrt_buf *headers, const char *name, const char *value) {
    if (value == NULL) return;
    evrt_buf_printf(headers, "ce-%s: ", name);
    for (const unsigned char *p = (const unsigned char *)value; *p != '\0'; p++)
        if (*p <= ' ' || *p >= 0x7f || *p == '"' || *p == '%')
            evrt_buf_printf(headers, "%%%02X", *p);
        else
            evrt_buf_putc(headers, (char)*p);
    evrt_buf_putc(headers, '\0');
}

static int read_all(FILE *file, const char *name, struct evrt_buf *out) {
    size_t n = 1;
    while (n > 0 && out->n <= DATA_MAX) {
        n = fread(evrt_buf_room(out, 65536), 1, 65536, file);
        out->n += n;
    }
    if (ferror(file))
        return evrt_cli_fail(EVRT_EXIT_FAILED, "cannot read %s: %s", name, strerror(errno));
    if (out->n > DATA_MAX)
        return evrt_cli_fail(EVRT_EXIT_FAILED, "%s is larger than any event may be", name);
    return EVRT_EXIT_OK;
}

/* The value of --data: JSON, @FILE, or - for standard input. */
static int read_data(const char *data, struct evrt_buf *out) {
    if (strcmp(data, "-") == 0) return read_all(stdin, "standard input", out);
    if (data[0] != '@') {
        evrt_buf_puts(out, data);
        return EVRT_EXIT_OK;
    }
    FILE *file = fopen(data + 1, "re");
    if (file == NULL)
        return evrt_cli_fail(EVRT_EXIT_FAILED, "cannot read %s: %s", data + 1, strerror(errno));
    int rc = read_all(file, data + 1, out);
    fclose(file);
    return rc;
}

/* Whether a handler gave the event up. */
static int find_dead(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    (void)err;
    if (m->info.type == EVRT_JSON_OBJECT &&
        evrt_slice_eq(evrt_json_at(m->value, EVRT_STR("outcome")), EVRT_STR("\"dead\"")))
        *(bool *)arg = true;
    return 0;
}

static int show(const struct evrt_cli *cli, struct evrt_buf *answer) {
    static const struct evrt_view_column columns[] = {
        {"HANDLER", "handler"}, {"OUTCOME", "outcome"}, {"ERROR", "error.message"}, {NULL, NULL}};
    struct evrt_json_info info;
    struct evrt_slice json = evrt_buf_slice(answer);
    bool dead = false;
    if (evrt_json_check(json, &info, NULL) < 0 || info.type != EVRT_JSON_OBJECT)
        return evrt_cli_fail(EVRT_EXIT_FAILED, "the answer is not that of a node of evrt");
    struct evrt_slice handlers = evrt_json_at(json, EVRT_STR("handlers"));
    if (handlers.n > 0 && evrt_json_members(handlers, find_dead, &dead, &info, NULL) < 0)
        dead = false;
    struct evrt_buf out;
    evrt_buf_init(&out);
    evrt_buf_puts(&out, "id ");
    evrt_view_text(evrt_json_at(json, EVRT_STR("id")), &out);
    evrt_buf_puts(&out, " seq ");
    evrt_view_text(evrt_json_at(json, EVRT_STR("seq")), &out);
    evrt_buf_puts(&out, " durability ");
    evrt_view_text(evrt_json_at(json, EVRT_STR("durability")), &out);
    evrt_buf_putc(&out, '\n');
    if (evrt_cli_has(cli, "wait") && evrt_view_items(handlers, columns, &out) == 0)
        evrt_buf_puts(&out, "No handler matched it.\n");
    int rc = evrt_cli_print(evrt_cli_has(cli, "json") ? answer : &out);
    evrt_buf_finish(&out);
    return rc == EVRT_EXIT_OK && dead ? EVRT_EXIT_FAILED : rc;
}

/* The event as a request. `id` is kept for the message when its fate is unknown. */
static int send_event(struct evrt_cli *cli, const struct evrt_node *node, const char *id,
                      const char *path, int64_t timeout_ms, struct evrt_buf *answer) {
    struct evrt_buf headers, data;
    evrt_buf_init(&headers);
    evrt_buf_init(&data);
    const char *source = evrt_cli_get(cli, "source"), *value = evrt_cli_get(cli, "data");
    int rc = value == NULL ? EVRT_EXIT_OK : read_data(value, &data);
    put_header(&headers, "specversion", "1.0");
    put_header(&headers, "type", cli->args[0]);
    put_header(&headers, "id", id);
    put_header(&headers, "source", source != NULL ? source : "evrt-publish");
    put_header(&headers, "subject", evrt_cli_get(cli, "subject"));
    evrt_buf_puts(&headers, value != NULL ? "Content-Type: application/json" : "Content-Type:");
    evrt_buf_putc(&headers, '\0');
    struct evrt_request request = {
        .path = path,
        .headers = &headers,
        .body = evrt_buf_slice(&data),
        .post = true,
        .timeout_ms = timeout_ms,
    };
    if (rc == EVRT_EXIT_OK) rc = evrt_client_send(node, &request, answer);
    if (rc == EVRT_EXIT_UNREACHABLE)
        fprintf(stderr, "If it was sent at all it may be stored: to be sure, repeat with --id %s\n",
                id);
    evrt_buf_finish(&headers);
    evrt_buf_finish(&data);
    return rc;
}

/* As from a variable of the shell that is not set: the event would get another id, or no data, unasked. */
static bool nothing_empty(const struct evrt_cli *cli) {
    static const char *const names[] = {"id", "source", "subject", "data"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = evrt_cli_get(cli, names[i]);
        if (value == NULL || *value != '\0') continue;
        evrt_cli_usage(cli, "--%s is empty; give it a value, or leave it out", names[i]);
        return false;
    }
    return true;
}

int evrt_cli_publish(struct evrt_cli *cli) {
    struct evrt_node node;
    struct evrt_random random;
    struct evrt_buf path, answer;
    char fresh[EVRT_UUID_SIZE];
    const char *timeout = evrt_cli_get(cli, "timeout"), *id = evrt_cli_get(cli, "id");
    bool wait = evrt_cli_has(cli, "wait");
    int64_t wait_ms = 30000;
    if (!nothing_empty(cli)) return EVRT_EXIT_USAGE;
    if (timeout != NULL && !wait) return evrt_cli_usage(cli, "--timeout is how long --wait waits");
    if (timeout != NULL && (evrt_duration_parse(evrt_slice_of(timeout), &wait_ms) < 0 || !wait_ms))
        return evrt_cli_usage(cli, "--timeout: expected a duration such as 5s, got \"%s\"",
                              timeout);
    int rc = evrt_node_find(&node, cli, EVRT_LISTENER_HTTP);
    if (rc != EVRT_EXIT_OK) return rc;
    evrt_buf_init(&path);
    evrt_buf_init(&answer);
    evrt_random_init(&random);
    if (id == NULL) evrt_uuid7(&random, fresh);
    evrt_buf_puts(&path, "/events");
    if (wait) evrt_buf_printf(&path, "?wait=handled&timeout=%lldms", (long long)wait_ms);
    rc = send_event(cli, &node, id != NULL ? id : fresh, evrt_buf_cstr(&path),
                    GRACE_MS + (wait ? wait_ms : 0), &answer);
    if (rc == EVRT_EXIT_OK) rc = show(cli, &answer);
    evrt_buf_finish(&path);
    evrt_buf_finish(&answer);
    evrt_node_finish(&node);
    return rc;
}

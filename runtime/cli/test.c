/* `evrt test`: busted inside the runtime. A node of its own is started, with the configuration's scripts and a store
 * in memory, and one handler more (lua/evrt/worker/testing.lua), whose one event is the run of busted.
 *
 *     words ──▶ DIR/test ──▶ worker: busted, spec after spec ──▶ DIR/test: passed | failed ──▶ exit code
 *                                      └── evrt.publish ──▶ the handlers, in all workers
 *
 * One thread: the loop's. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <uv.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/place.h"
#include "core/error.h"
#include "evrt.h"

#define DAY_MS INT64_C(86400000)

enum { OWN = 13, SIGNALS = 2 };

struct test {
    struct evrt_cli *cli;
    struct evrt *rt;
    uv_loop_t loop;
    uv_signal_t signals[SIGNALS];
    char dir[EVRT_PLACE_SIZE];
    bool handled, interrupted, drained;
};

/* ---- The node ---- */

/* A node of this command takes no port, no file and no place of a node that runs. What the user sets counts. */
static int create(struct test *t, const char *config, struct evrt_error *err) {
    struct evrt_buf path = {0};
    evrt_buf_printf(&path, "store.path=%s/data", t->dir);
    const char *own[OWN] = {evrt_buf_cstr(&path),
                            "store.durability=memory",
                            "http.listen=127.0.0.1:0",
                            "http.token_file=",
                            "admin.listen=127.0.0.1:0",
                            "admin.token_file=",
                            "logging.level=warn",
                            "logging.encoding=console",
                            "logging.outputs=stderr",
                            "tracing.exporter=none",
                            "reload.watch=false",
                            "workers.stall_timeout=1d", /* a spec may compute for long */
                            "workers.user="};
    size_t more = t->cli->noverrides;
    const char **overrides = evrt_zalloc((OWN + more + 1) * sizeof *overrides);
    memcpy(overrides, own, sizeof own);
    for (size_t i = 0; i < more; i++)
        overrides[OWN + i] = t->cli->overrides[i];
    struct evrt_options options = {.overrides = overrides};
    int rc = evrt_create(&t->rt, config, &options, err);
    free(overrides);
    evrt_buf_finish(&path);
    return rc;
}

static void on_signal(uv_signal_t *handle, int signum) {
    struct test *t = handle->data;
    (void)signum;
    t->interrupted = true;
}

static void watch_signals(struct test *t) {
    const int numbers[SIGNALS] = {SIGINT, SIGTERM};
    for (int i = 0; i < SIGNALS; i++) {
        uv_signal_init(&t->loop, &t->signals[i]);
        t->signals[i].data = t;
        uv_signal_start(&t->signals[i], on_signal, numbers[i]);
    }
}

static void on_drained(void *arg) {
    *(bool *)arg = true;
}

static void on_handled(void *arg, uint64_t seq, unsigned pending, struct evrt_slice outcomes) {
    struct test *t = arg;
    (void)seq, (void)pending, (void)outcomes;
    t->handled = true;
}

static int run_specs(struct test *t, struct evrt_error *err) {
    struct evrt_event event = {.type = EVRT_STR("evrt.test"), .source = EVRT_STR("evrt-test")};
    while (!evrt_ready(t->rt, NULL) && !t->interrupted)
        uv_run(&t->loop, UV_RUN_ONCE);
    int rc = t->interrupted ? 0 : evrt_publish_wait(t->rt, &event, DAY_MS, on_handled, t, err);
    while (rc == 0 && !t->handled && !t->interrupted)
        uv_run(&t->loop, UV_RUN_ONCE);
    return rc;
}

/* Deliveries that are under way are of no interest any more. */
static void stop(struct test *t) {
    evrt_drain(t->rt, on_drained, &t->drained);
    if (!t->drained) evrt_drain(t->rt, on_drained, &t->drained);
    while (!t->drained)
        uv_run(&t->loop, UV_RUN_ONCE);
}

/* ---- What became of it ---- */

static int result(struct test *t) {
    char path[EVRT_PLACE_SIZE + 8], text[8] = "";
    snprintf(path, sizeof path, "%s/test", t->dir);
    FILE *f = fopen(path, "re");
    size_t n = f == NULL ? 0 : fread(text, 1, sizeof text - 1, f);
    if (f != NULL) fclose(f);
    if (n == 6 && memcmp(text, "passed", 6) == 0) return EVRT_EXIT_OK;
    if (n == 6 && memcmp(text, "failed", 6) == 0) return EVRT_EXIT_FAILED;
    if (t->interrupted) return evrt_cli_fail(EVRT_EXIT_FAILED, "test: interrupted");
    return evrt_cli_fail(EVRT_EXIT_FAILED, "test: the worker that ran the specs died");
}

static int run_node(struct test *t, const char *config) {
    struct evrt_error err;
    int rc = create(t, config, &err);
    if (rc < 0) return evrt_cli_error(EVRT_EXIT_CONFIG, &err);
    uv_loop_init(&t->loop);
    watch_signals(t);
    rc = evrt_start(t->rt, &t->loop, &err);
    bool started = rc == 0;
    if (started) {
        rc = run_specs(t, &err);
        stop(t);
    }
    evrt_destroy(t->rt);
    for (int i = 0; i < SIGNALS; i++)
        uv_close((uv_handle_t *)&t->signals[i], NULL);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    uv_loop_close(&t->loop);
    if (rc < 0)
        return evrt_cli_error(rc == -EINVAL && !started ? EVRT_EXIT_CONFIG : EVRT_EXIT_FAILED,
                              &err);
    return result(t);
}

static int write_words(const struct test *t, struct evrt_error *err) {
    struct evrt_buf words = {0};
    evrt_buf_put(&words, "--ignore-lua", sizeof "--ignore-lua"); /* which .busted may name */
    for (int i = 0; i < t->cli->nrest; i++)
        evrt_buf_put(&words, t->cli->rest[i], strlen(t->cli->rest[i]) + 1);
    int rc = evrt_place_write(t->dir, "test", evrt_buf_slice(&words), err);
    evrt_buf_finish(&words);
    return rc;
}

int evrt_cli_test(struct evrt_cli *cli) {
    struct test t = {.cli = cli};
    struct evrt_error err;
    const char *config = evrt_cli_need_config(cli), *base = getenv("TMPDIR");
    if (config == NULL) return EVRT_EXIT_CONFIG;
    if (evrt_place_make(base == NULL || *base == '\0' ? "/tmp" : base, t.dir, &err) < 0)
        return evrt_cli_error(EVRT_EXIT_FAILED, &err);
    struct evrt_buf path = {0};
    evrt_buf_printf(&path, "%s/test", t.dir);
    int rc = write_words(&t, &err);
    if (rc == 0 && setenv("EVRT_TEST", evrt_buf_cstr(&path), 1) < 0)
        rc = evrt_error_set(&err, -errno, "EVRT_TEST: %s", strerror(errno));
    rc = rc < 0 ? evrt_cli_error(EVRT_EXIT_FAILED, &err) : run_node(&t, config);
    evrt_buf_finish(&path);
    evrt_place_remove(t.dir);
    return rc;
}

/* `evrt bench`: makes a store, a handler and a node, puts load on it in three ways, prints what it did and
 * what the bare disk does beside it. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/bench.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/place.h"
#include "core/error.h"
#include "core/jsonout.h"

static const char handler[] = "return {\n"
                              "  name = \"Bench\",\n"
                              "  events = { \"bench.event\" },\n"
                              "  handle = function(event)\n"
                              "    if event.data.user_id == nil then error(\"no user_id\") end\n"
                              "  end,\n"
                              "}\n";

/* ---- The place ---- */

static int make_place(const struct evrt_cli *cli, char dir[EVRT_PLACE_SIZE],
                      struct evrt_error *err) {
    const char *base = evrt_cli_get(cli, "dir");
    char path[EVRT_PLACE_SIZE + 16];
    int rc = evrt_place_make(base == NULL ? "." : base, dir, err);
    if (rc < 0) return rc;
    snprintf(path, sizeof path, "%s/handlers", dir);
    if (mkdir(path, 0700) < 0) return evrt_error_set(err, -errno, "%s: %s", path, strerror(errno));
    return evrt_place_write(dir, "handlers/bench.lua", EVRT_STR(handler), err);
}

/* About `size` bytes of JSON with ten members, as an application's event has. */
static void make_data(struct evrt_buf *out, size_t size) {
    evrt_buf_puts(out,
                  "{\"action\":\"purchased\",\"time\":\"2025-01-07T10:30:45.123Z\",\"user_id\":"
                  "184467,\"book_id\":\"bk_01HQX3\",\"chapter_id\":12,\"amount\":1299,"
                  "\"currency\":\"CNY\",\"gift\":false,\"metadata\":{\"client\":\"ios\","
                  "\"ab\":3},\"note\":\"");
    while (out->n + 2 < size)
        evrt_buf_putc(out, (char)('a' + out->n % 26));
    evrt_buf_puts(out, "\"}");
}

/* ---- The node ---- */

static int start_node(struct evrt_cli *cli, struct bench *b, const char *dir, struct evrt_buf *sets,
                      struct evrt_error *err) {
    const char *own = evrt_cli_get(cli, "handlers");
    const char **overrides = evrt_zalloc((cli->noverrides + 8) * sizeof(char *));
    size_t n = 0, at[8];
    const char *fixed[] = {"logging.level=warn", "http.listen=127.0.0.1:0",
                           "admin.listen=127.0.0.1:0"};
    at[0] = sets->n;
    evrt_buf_printf(sets, "store.path=%s/data%c", dir, 0);
    at[1] = sets->n;
    if (own == NULL)
        evrt_buf_printf(sets, "handlers=%s/handlers%c", dir, 0);
    else
        evrt_buf_printf(sets, "handlers=%s%c", own, 0);
    for (size_t i = 0; i < 2; i++)
        overrides[n++] = sets->p + at[i];
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        overrides[n++] = fixed[i];
    for (size_t i = 0; i < cli->noverrides; i++)
        overrides[n++] = cli->overrides[i];
    struct evrt_options options = {.overrides = overrides};
    int rc = evrt_create(&b->rt, NULL, &options, err);
    free(overrides);
    if (rc == 0) rc = evrt_start(b->rt, &b->loop, err);
    while (rc == 0 && !evrt_ready(b->rt, NULL))
        uv_run(&b->loop, UV_RUN_ONCE);
    return rc;
}

static void on_drained(void *arg) {
    *(bool *)arg = true;
}

static void stop_node(struct bench *b) {
    bool drained = false;
    evrt_drain(b->rt, on_drained, &drained);
    while (!drained)
        uv_run(&b->loop, UV_RUN_ONCE);
    evrt_destroy(b->rt);
    uv_run(&b->loop, UV_RUN_DEFAULT);
}

/* ---- The report ---- */

struct figure {
    const char *key, *text, *unit;
    double value;
};

static void put_figures(struct evrt_buf *text, struct evrt_jsonout *json, const char *phase,
                        const struct figure *f, size_t count) {
    evrt_jsonout_key(json, phase);
    evrt_jsonout_object(json);
    evrt_buf_printf(text, "%s\n", phase);
    for (size_t i = 0; i < count; i++) {
        evrt_jsonout_key(json, f[i].key);
        evrt_jsonout_double(json, f[i].value);
        evrt_buf_printf(text, "  %-34s %12.*f %s\n", f[i].text, f[i].value < 1000 ? 2 : 0,
                        f[i].value, f[i].unit);
    }
    evrt_jsonout_end(json);
}

static double us(int64_t ns) {
    return (double)ns / 1e3;
}

static void put_flat_out(struct bench *b, struct evrt_buf *text, struct evrt_jsonout *json) {
    double seconds = (double)b->elapsed_ns / 1e9, n = (double)b->handled;
    struct figure f[] = {
        {"events_per_second", "published, committed, handled", "events/s", n / seconds},
        {"durable_p50_us", "publish to durable, p50", "us", us(bench_samples_at(&b->durable, .5))},
        {"durable_p99_us", "publish to durable, p99", "us", us(bench_samples_at(&b->durable, .99))},
        {"host_us_per_event", "CPU of the host", "us/event", b->cpu_host / n * 1e6},
        {"workers_us_per_event", "CPU of the workers", "us/event", b->cpu_workers / n * 1e6},
    };
    put_figures(text, json, "flat-out", f, sizeof f / sizeof f[0]);
}

static void put_single(struct bench *b, struct bench_samples *bare, struct evrt_buf *text,
                       struct evrt_jsonout *json) {
    int64_t durable = bench_samples_at(&b->durable, .5), done = bench_samples_at(&b->done, .5);
    int64_t disk = bench_samples_at(bare, .5);
    struct figure f[] = {
        {"durable_p50_us", "publish to durable, p50", "us", us(durable)},
        {"durable_p99_us", "publish to durable, p99", "us", us(bench_samples_at(&b->durable, .99))},
        {"handled_p50_us", "publish to handled, p50", "us", us(done)},
        {"ack_to_handled_p50_us", "durable to handled, p50", "us", us(done - durable)},
        {"bare_p50_us", "one bare pwrite + fdatasync, p50", "us", us(disk)},
        {"ratio_to_bare", "publish to durable / bare", "times",
         disk == 0 ? 0 : (double)durable / (double)disk},
    };
    put_figures(text, json, "single", f, sizeof f / sizeof f[0]);
}

static void put_steady(struct bench *b, struct evrt_buf *text, struct evrt_jsonout *json) {
    double seconds = (double)b->elapsed_ns / 1e9;
    struct figure f[] = {
        {"events_per_second", "published and handled", "events/s", (double)b->handled / seconds},
        {"handled_p50_us", "publish to handled, p50", "us", us(bench_samples_at(&b->done, .5))},
        {"handled_p99_us", "publish to handled, p99", "us", us(bench_samples_at(&b->done, .99))},
        {"handled_max_us", "publish to handled, worst", "us", us(bench_samples_at(&b->done, 1))},
        {"host_cores", "CPU of the host, load included", "cores", b->cpu_host / seconds},
        {"worker_cores", "CPU of the workers", "cores", b->cpu_workers / seconds},
        {"tick_us", "events come in every", "us", (double)b->tick_us},
        {"tick_cores", "... waking for which costs", "cores", b->tick_cores},
    };
    put_figures(text, json, "steady", f, sizeof f / sizeof f[0]);
}

static void forget(struct bench *b) {
    b->durable.n = b->done.n = 0;
}

/* ---- Phases: each puts its load on, then its figures ---- */

static int flat_out(struct bench *b, const char *dir, struct evrt_buf *text,
                    struct evrt_jsonout *json) {
    (void)dir;
    bench_flat_out(b);
    put_flat_out(b, text, json);
    return 0;
}

static int single(struct bench *b, const char *dir, struct evrt_buf *text,
                  struct evrt_jsonout *json) {
    struct bench_samples bare = {0};
    int rc = bench_bare(dir, b->data.n + 120, b->seconds / 5, &bare);
    bench_single(b);
    put_single(b, &bare, text, json);
    free(bare.v);
    return rc;
}

static int steady(struct bench *b, const char *dir, struct evrt_buf *text,
                  struct evrt_jsonout *json) {
    (void)dir;
    if (b->tick_cores < 0) b->tick_cores = bench_tick_cost(b);
    bench_steady(b);
    put_steady(b, text, json);
    return 0;
}

static const struct phase {
    const char *name;
    int (*run)(struct bench *b, const char *dir, struct evrt_buf *text, struct evrt_jsonout *json);
} phases[] = {{"flat-out", flat_out}, {"single", single}, {"steady", steady}};

enum { PHASES = sizeof phases / sizeof phases[0] };

static const struct phase *find_phase(const char *name) {
    for (size_t i = 0; i < PHASES; i++)
        if (strcmp(phases[i].name, name) == 0) return &phases[i];
    return NULL;
}

/* The JIT, the page cache, the first segments. */
static void warm_up(struct bench *b) {
    double seconds = b->seconds;
    b->seconds = seconds < 1 ? seconds : 1;
    bench_flat_out(b);
    b->seconds = seconds;
}

/* One phase, or all (NULL), as text or as one object of JSON. */
static int report(struct evrt_cli *cli, struct bench *b, const char *dir, const struct phase *one) {
    struct evrt_buf text, out;
    evrt_buf_init(&text);
    evrt_buf_init(&out);
    struct evrt_jsonout json = evrt_jsonout_start(&out);
    evrt_jsonout_object(&json);
    evrt_jsonout_key(&json, "durability");
    evrt_jsonout_cstr(&json, evrt_durability(b->rt));
    evrt_jsonout_key(&json, "data_bytes");
    evrt_jsonout_u64(&json, b->data.n);
    evrt_buf_printf(&text, "durability %s, %zu bytes of data an event\n", evrt_durability(b->rt),
                    b->data.n);
    int rc = 0;
    for (size_t i = 0; i < PHASES && rc == 0; i++) {
        if (one != NULL && one != &phases[i]) continue;
        forget(b);
        rc = phases[i].run(b, dir, &text, &json);
    }
    evrt_jsonout_end(&json);
    evrt_buf_putc(&out, '\n');
    if (rc < 0)
        rc = evrt_cli_fail(EVRT_EXIT_FAILED, "bench: cannot measure the disk: %s", strerror(-rc));
    else
        rc = evrt_cli_print(evrt_cli_has(cli, "json") ? &out : &text);
    evrt_buf_finish(&text);
    evrt_buf_finish(&out);
    return rc;
}

static int take_turns(struct evrt_cli *cli, struct bench *b, const char *dir) {
    struct bench_turns turns;
    struct bench_turn turn;
    int rc = bench_turns_begin(&turns, &b->loop), code = EVRT_EXIT_OK;
    if (rc < 0)
        return evrt_cli_fail(EVRT_EXIT_FAILED, "--turns: standard input is no pipe: %s",
                             uv_strerror(rc));
    while (code == EVRT_EXIT_OK && (rc = bench_turns_next(&turns, &turn)) == 1) {
        const struct phase *one = find_phase(turn.phase);
        if (one == NULL) break;
        b->seconds = turn.seconds;
        code = report(cli, b, dir, one);
    }
    bench_turns_end(&turns);
    if (rc == 0 || code != EVRT_EXIT_OK) return code;
    return evrt_cli_fail(EVRT_EXIT_FAILED, "--turns: a line has to be PHASE MILLISECONDS, as in "
                                           "\"steady 300\"");
}

static int measure(struct evrt_cli *cli, struct bench *b, const char *dir) {
    const char *phase = evrt_cli_get(cli, "phase");
    warm_up(b);
    if (evrt_cli_has(cli, "turns")) return take_turns(cli, b, dir);
    return report(cli, b, dir, phase == NULL ? NULL : find_phase(phase));
}

static bool read_options(struct evrt_cli *cli, struct bench *b, uint64_t *size) {
    uint64_t seconds;
    const char *phase = evrt_cli_get(cli, "phase");
    if (phase != NULL && find_phase(phase) == NULL) {
        evrt_cli_usage(cli, "--phase: expected flat-out, single or steady, got \"%s\"", phase);
        return false;
    }
    if (!evrt_cli_number(cli, "seconds", 5, 1, 3600, &seconds) ||
        !evrt_cli_number(cli, "rate", 10000, 1, 1000000, &b->rate) ||
        !evrt_cli_number(cli, "tick", 1000, 10, 1000000, &b->tick_us) ||
        !evrt_cli_number(cli, "in-flight", 8000, 1, 1000000, &b->in_flight) ||
        !evrt_cli_number(cli, "size", 300, 200, 1 << 20, size))
        return false;
    b->seconds = (double)seconds;
    b->ids = evrt_cli_has(cli, "ids");
    return true;
}

int evrt_cli_bench(struct evrt_cli *cli) {
    struct bench b = {.tick_cores = -1};
    struct evrt_buf data, sets;
    struct evrt_error err;
    char dir[EVRT_PLACE_SIZE];
    uint64_t size;
    if (!read_options(cli, &b, &size)) return EVRT_EXIT_USAGE;
    if (make_place(cli, dir, &err) < 0) return evrt_cli_error(EVRT_EXIT_FAILED, &err);
    evrt_buf_init(&data);
    evrt_buf_init(&sets);
    evrt_buf_room(&sets, 16384); /* overrides point into it */
    make_data(&data, size);
    b.data = evrt_buf_slice(&data);
    uv_loop_init(&b.loop);
    int rc = start_node(cli, &b, dir, &sets, &err);
    if (rc < 0) {
        evrt_destroy(b.rt);
        rc = evrt_cli_error(rc == -EINVAL ? EVRT_EXIT_CONFIG : EVRT_EXIT_FAILED, &err);
    } else {
        rc = measure(cli, &b, dir);
        stop_node(&b);
    }
    uv_loop_close(&b.loop);
    evrt_buf_finish(&data);
    evrt_buf_finish(&sets);
    free(b.durable.v);
    free(b.done.v);
    evrt_place_remove(dir);
    return rc;
}

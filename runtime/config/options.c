/* See options.h. The key is spelled as the member it fills, so the two cannot drift apart. */
#include "config/options.h"

#include <stddef.h>
#include <stdio.h>

#include "config/config.h"
#include "core/distance.h"
#include "core/units.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)
#define SECOND UINT64_C(1000)
#define DAY (86400 * SECOND)
#define U32 UINT32_MAX

/* key, type, default, min, max, choices, when (RELOAD or RESTART), help. */
#define OPTIONS(X)                                                                               \
    X(service.name, STRING, "my-app", 1, 256, NULL, RESTART,                                     \
      "The application's name. Events that name no source get it as theirs.")                    \
    X(service.version, STRING, "1.0.0", 0, 64, NULL, RESTART, "The application's version.")      \
    X(service.environment, STRING, "production", 0, 64, NULL, RESTART,                           \
      "Where it runs: production, staging, a developer's machine.")                              \
    X(handlers, PATHS, "handlers/", 1, 256, NULL, RELOAD,                                        \
      "A folder: its *.lua are handlers, names starting with _ and subfolders are modules for "  \
      "require. Or a list of globs.")                                                            \
    X(policies, PATH, "policies/", 0, 4096, NULL, RELOAD,                                        \
      "A folder: its *.lua are policies, for apply and for handlers to name. Need not exist "    \
      "when it is the default.")                                                                 \
    X(apply, APPLIES, "[]", 0, 256, NULL, RELOAD,                                                \
      "Policies around handlers by event type, outermost first; a handler's own come inside. "   \
      "As in [{events: \"order.*\", policies: [audit]}].")                                       \
    X(workers.count, NUMBER, "auto", 1, 256, "auto", RESTART,                                    \
      "Worker processes that run handlers; auto is one per core.")                               \
    X(workers.memory_limit, SIZE, "256MiB", 4 * MIB, 1 * TIB, NULL, RELOAD,                      \
      "Lua memory of one worker. At the limit the delivery fails and the worker is replaced.")   \
    X(workers.stall_timeout, DURATION, "30s", 0, DAY, NULL, RELOAD,                              \
      "A worker that does not turn its loop for so long is killed and replaced. 0s: workers "    \
      "are not watched, and no delivery is charged for a crash.")                                \
    X(workers.drain_timeout, DURATION, "30s", 0, DAY, NULL, RELOAD,                              \
      "How long deliveries in flight may take to finish on shutdown and reload.")                \
    X(workers.concurrency, NUMBER, "256", 1, 65536, NULL, RELOAD,                                \
      "Deliveries that one worker has in progress at once.")                                     \
    X(workers.nice, NUMBER, "5", 0, 19, NULL, RELOAD,                                            \
      "How many steps of nice(1) workers, and programs that scripts start, are below the host.") \
    X(workers.allow_ffi, BOOL, "false", 0, 0, NULL, RELOAD,                                      \
      "Whether scripts may require LuaJIT's ffi.")                                               \
    X(workers.user, STRING, "", 0, 256, NULL, RESTART,                                           \
      "The user that workers run as, when the node runs as root; empty: the node's own.")        \
    X(workers.confine, BOOL, "true", 0, 0, NULL, RESTART,                                        \
      "Whether scripts are kept from the store's files, from other processes and from "          \
      "administering the machine, as far as the kernel offers.")                                 \
    X(reload.watch, BOOL, "true", 0, 0, NULL, RELOAD,                                            \
      "Whether saving a script reloads it, without a signal.")                                   \
    X(reload.interval, DURATION, "1s", 0, DAY, NULL, RELOAD,                                     \
      "A signal or a save reloads at once, but after four reloads in a row only one is made in " \
      "so long, for all that came by then. Those who wait for the outcome are not put off. 0s: " \
      "none is.")                                                                                \
    X(http.listen, ADDRESS, "127.0.0.1:8080", 0, 0, NULL, RESTART,                               \
      "Where events come in: POST /events. Port 0 takes any free port.")                         \
    X(http.max_event_size, SIZE, "1MiB", 1 * KIB, 16 * MIB, NULL, RELOAD,                        \
      "Largest event that is accepted; larger ones are answered 413.")                           \
    X(http.max_batch, NUMBER, "1000", 1, 100000, NULL, RELOAD,                                   \
      "Most events in one batch request.")                                                       \
    X(http.max_connections, NUMBER, "4096", 1, 1000000, NULL, RESTART,                           \
      "Connections to the ingest listener at once.")                                             \
    X(http.max_connections_per_address, NUMBER, "1024", 1, 1000000, NULL, RESTART,               \
      "... of them from one address.")                                                           \
    X(http.max_header_size, SIZE, "8KiB", 1 * KIB, 1 * MIB, NULL, RESTART,                       \
      "All header bytes of one request.")                                                        \
    X(http.max_body_size, SIZE, "16MiB", 1 * KIB, 1024 * MIB, NULL, RESTART,                     \
      "Largest body of a batch request. A single event has http.max_event_size.")                \
    X(http.request_timeout, DURATION, "30s", 100, DAY, NULL, RELOAD,                             \
      "A request that takes longer to arrive is dropped, however steadily it trickles.")         \
    X(http.idle_timeout, DURATION, "75s", 1 * SECOND, DAY, NULL, RESTART,                        \
      "A connection without a request is closed after this.")                                    \
    X(http.token_file, PATH, "", 0, 4096, NULL, RELOAD,                                          \
      "File with the bearer token that publishers must show; empty: none is asked for.")         \
    X(admin.listen, ADDRESS, "127.0.0.1:9090", 0, 0, NULL, RESTART,                              \
      "Health and the JSON API. Not on loopback it needs a token.")                              \
    X(admin.token_file, PATH, "", 0, 4096, NULL, RELOAD,                                         \
      "File with the bearer token of the admin listener; empty: none is asked for.")             \
    X(admin.max_queries, NUMBER, "2", 1, 64, NULL, RELOAD,                                       \
      "Queries of stored events that read the journal at once; one more is answered 429.")       \
    X(admin.max_tails, NUMBER, "16", 0, 1024, NULL, RELOAD,                                      \
      "Clients that follow events live (evrt tail) at once; one more is answered 429.")          \
    X(admin.tail_lag, NUMBER, "100000", 1, 1000000000, NULL, RELOAD,                             \
      "A client that follows events and is more of them behind skips to now, and is told so.")   \
    X(store.path, PATH, "data/", 1, 4096, NULL, RESTART,                                         \
      "Folder of the journal and state.db; made with mode 0700 when absent.")                    \
    X(store.durability, CHOICE, "fsync", 0, 0, "fsync|os|memory", RESTART,                       \
      "When an event counts as stored: fsync survives power loss, os a crash of evrt, memory "   \
      "nothing.")                                                                                \
    X(store.retention, DURATION, "30d", 0, 36500 * DAY, NULL, RELOAD,                            \
      "Events older than this are dropped, a whole segment at a time, once nobody needs them.")  \
    X(store.max_size, SIZE, "64GiB", 192 * MIB, 1024 * TIB, NULL, RESTART,                       \
      "Most bytes of journal on disk, in segments of 64MiB. Beats retention; when nothing can "  \
      "be dropped, publishing answers 503.")                                                     \
    X(store.max_backlog, SIZE, "16MiB", 64 * KIB, 1 * TIB, NULL, RESTART,                        \
      "Events that wait for the disk. Beyond it publishing answers 429.")                        \
    X(store.max_state_backlog, SIZE, "2MiB", 4 * KIB, 1024 * MIB, NULL, RESTART,                 \
      "What handlers ended with that waits for state.db. Beyond it deliveries wait until it "    \
      "has caught up.")                                                                          \
    X(bus.max_hops, NUMBER, "16", 1, 255, NULL, RELOAD,                                          \
      "How many publishes by handlers may lead from one event to the next: stops loops.")        \
    X(bus.orphan_ttl, DURATION, "7d", 0, 36500 * DAY, NULL, RELOAD,                              \
      "A handler that left the scripts keeps its pending events for so long.")                   \
    X(bus.window, NUMBER, "16384", 1, 1048576, NULL, RESTART,                                    \
      "Deliveries of one handler in flight or ready to be sent.")                                \
    X(bus.max_parked, NUMBER, "2000000", 1000, 1000000000, NULL, RESTART,                        \
      "Most events of one handler that wait for one of their key (ordered_by), 16 bytes each.")  \
    X(bus.memory_limit, SIZE, "32MiB", 1 * MIB, 1 * TIB, NULL, RESTART,                          \
      "Fresh events kept in memory for handlers; one that is further behind reads the journal.") \
    X(retry.policy, CHOICE, "exponential", 0, 0, "exponential|fixed|linear", RELOAD,             \
      "How the delay before a failed delivery is tried again grows: initial_delay * "            \
      "multiplier^(n-1), initial_delay, or initial_delay + increment * (n-1). A handler's "      \
      "retry policy goes before all of these.")                                                  \
    X(retry.max_retries, NUMBER, "3", 0, 65000, NULL, RELOAD,                                    \
      "Attempts after the first; then the delivery is dead.")                                    \
    X(retry.initial_delay, DURATION, "1s", 0, 366 * DAY, NULL, RELOAD,                           \
      "Delay before the second attempt.")                                                        \
    X(retry.max_delay, DURATION, "60s", 0, 366 * DAY, NULL, RELOAD, "No delay is longer.")       \
    X(retry.multiplier, DECIMAL, "2.0", 1000, 1000000, NULL, RELOAD,                             \
      "Growth of exponential delays.")                                                           \
    X(retry.increment, DURATION, "1s", 0, 366 * DAY, NULL, RELOAD, "Growth of linear delays.")   \
    X(retry.jitter, DECIMAL, "0.1", 0, 1000, NULL, RELOAD,                                       \
      "The part of a delay that chance adds or takes away.")                                     \
    X(retry.ttl, DURATION, "7d", 0, 36500 * DAY, NULL, RELOAD,                                   \
      "Retries of a handler that left the scripts wait for so long, then they are dead.")        \
    X(dead_letters.ttl, DURATION, "30d", 0, 36500 * DAY, NULL, RELOAD,                           \
      "Dead letters older than this are discarded, which is counted and logged.")                \
    X(dead_letters.max, NUMBER, "1000000", 0, 100000000, NULL, RELOAD,                           \
      "Dead letters that are kept; one more, and the oldest is discarded.")                      \
    X(jobs.concurrency, NUMBER, "64", 1, 4096, NULL, RELOAD,                                     \
      "Deliveries in flight at once of a job: the reprocessing of dead letters.")                \
    X(jobs.replay_concurrency, NUMBER, "512", 1, 4096, NULL, RELOAD,                             \
      "The same for a replay; never more than half of the handler's concurrency.")               \
    X(jobs.max, NUMBER, "4", 1, 64, NULL, RELOAD, "Jobs that run at once.")                      \
    X(jobs.keep, NUMBER, "100", 1, 10000, NULL, RELOAD, "Jobs that are listed, ended ones too.") \
    X(dedup.window, DURATION, "2m", 0, 7 * DAY, NULL, RELOAD,                                    \
      "An event of the same source and id as one published within it is not stored again: its "  \
      "publisher is told the first one's sequence.")                                             \
    X(dedup.max, NUMBER, "1000000", 0, UINT64_C(1) << 30, NULL, RESTART,                         \
      "Most of them that are remembered, some 50 bytes each; 0 turns it off. What has to go "    \
      "before its time is counted.")                                                             \
    X(schedule.max, NUMBER, "1000000", 0, 100000000, NULL, RELOAD,                               \
      "Events that wait for their time (deliverat, deliverafter); one more is answered 429.")    \
    X(schedule.max_delay, DURATION, "366d", 0, 36500 * DAY, NULL, RELOAD,                        \
      "How far ahead an event may be scheduled.")                                                \
    X(schedule.max_catch_up, NUMBER, "1000", 1, 9000, NULL, RELOAD,                              \
      "Of a timer's missed times with catch_up = \"all\", so many are made up, the last ones.")  \
    X(snapshots.max_folds, NUMBER, "4", 1, 64, NULL, RELOAD,                                     \
      "Folds of scripts (evrt.fold) that read the journal at once; others wait.")                \
    X(shared.max_entries, NUMBER, "10000", 0, 1000000, NULL, RESTART,                            \
      "Values that scripts of all workers share: state of circuit breakers and throttles.")      \
    X(shared.max_value_size, SIZE, "4KiB", 64, 1 * MIB, NULL, RESTART,                           \
      "Largest of them, with its key.")                                                          \
    X(kv.max_key, SIZE, "512B", 16, 4 * KIB, NULL, RESTART, "Longest key.")                      \
    X(kv.max_value, SIZE, "256KiB", 64, 4 * MIB, NULL, RESTART, "Largest value.")                \
    X(kv.max_effects, SIZE, "4MiB", 4 * KIB, 16 * MIB, NULL, RESTART,                            \
      "What one delivery may write and publish with ctx.kv and ctx.publish, in bytes.")          \
    X(kv.max_conflicts, NUMBER, "100", 0, 10000, NULL, RELOAD,                                   \
      "A delivery whose compare-and-set came too late is made again, uncharged, so often; then " \
      "it fails.")                                                                               \
    X(kv.writers, STRING, "", 0, 4096, NULL, RESTART,                                            \
      "Who may write a namespace besides the handler of its name: HANDLER=NAMESPACE, apart by "  \
      "spaces, * for any, as in Importer=Ledger *=shared. Everyone may read all.")               \
    X(kv.overlay, SIZE, "64MiB", 1 * MIB, 64 * 1024 * MIB, NULL, RESTART,                        \
      "Writes that state.db does not have yet, in memory. Deliveries that write more wait "      \
      "before they are done.")                                                                   \
    X(kv.cache, SIZE, "16MiB", 0, 64 * 1024 * MIB, NULL, RESTART,                                \
      "Values kept in memory so that they need not be read from state.db.")                      \
    X(kv.shared_cache, SIZE, "4MiB", 0, 1024 * MIB, NULL, RESTART,                               \
      "Small values (120 bytes with their names) that were read lately, in memory that workers " \
      "read by themselves; 0: they ask for each.")                                               \
    X(tracing.exporter, CHOICE, "none", 0, 0, "none|otlp|stdout", RESTART,                       \
      "Where spans go: to a collector by OTLP over HTTP, or as JSON lines beside the log. The "  \
      "standard OTEL_ variables go before the keys of tracing.")                                 \
    X(tracing.endpoint, STRING, "http://localhost:4318", 1, 2048, NULL, RESTART,                 \
      "The collector; /v1/traces is added to it.")                                               \
    X(tracing.sample_rate, DECIMAL, "1.0", 0, 1000, NULL, RELOAD,                                \
      "The part of all traces that is recorded; one that was begun elsewhere is as it was "      \
      "decided there.")                                                                          \
    X(tracing.max_spans_per_second, NUMBER, "20000", 1, 10000000, NULL, RELOAD,                  \
      "Beyond it no new trace is recorded, and then no span; what is left out is counted.")      \
    X(tracing.keep, CHOICE, "sampled", 0, 0, "sampled|errors", RESTART,                          \
      "errors: spans of events that are not sampled are held, and sent when a handler fails.")   \
    X(tracing.batch_size, NUMBER, "512", 1, 10000, NULL, RESTART,                                \
      "Spans in one request to the collector.")                                                  \
    X(tracing.batch_delay, DURATION, "5s", 1, 3600 * SECOND, NULL, RESTART,                      \
      "A request that has fewer is sent after this.")                                            \
    X(tracing.queue_size, NUMBER, "8192", 1, 10000000, NULL, RESTART,                            \
      "Spans that wait for the collector; more are left out, and counted.")                      \
    X(tracing.timeout, DURATION, "10s", 10, 3600 * SECOND, NULL, RESTART,                        \
      "How long one request to the collector may take.")                                         \
    X(tracing.compression, CHOICE, "auto", 0, 0, "auto|gzip|none", RESTART,                      \
      "Of requests to the collector; auto is gzip unless it is on this machine.")                \
    X(metrics.enabled, BOOL, "true", 0, 0, NULL, RESTART,                                        \
      "Whether anything is counted, for Prometheus to scrape from the admin listener.")          \
    X(metrics.path, STRING, "/metrics", 2, 256, NULL, RESTART, "Where it scrapes.")              \
    X(metrics.max_series, NUMBER, "10000", 10, 1000000, NULL, RESTART,                           \
      "Label sets of one metric; what more there are is counted as one, overflow=\"true\".")     \
    X(metrics.series_ttl, DURATION, "15m", 0, 36500 * DAY, NULL, RELOAD,                         \
      "How long series of a handler, or metrics of a script, stay when it is gone.")             \
    X(logging.level, CHOICE, "info", 0, 0, "debug|info|warn|error", RELOAD,                      \
      "Lines below it are not written.")                                                         \
    X(logging.encoding, CHOICE, "json", 0, 0, "json|console", RESTART,                           \
      "One JSON object a line, or lines for people.")                                            \
    X(logging.caller, BOOL, "true", 0, 0, NULL, RELOAD,                                          \
      "Whether a line says where in the source or script it comes from.")                        \
    X(logging.stacktrace, BOOL, "false", 0, 0, NULL, RELOAD,                                     \
      "Whether an error's line holds the script's traceback.")                                   \
    X(logging.outputs, PATHS, "[stdout]", 1, 16, "stdout|stderr", RESTART,                       \
      "Where lines go: stdout, stderr or files (SIGUSR1 opens files anew).")                     \
    X(logging.sampling.first, NUMBER, "100", 0, U32, NULL, RELOAD,                               \
      "Lines of one message written per second before sampling begins; 0: no sampling.")         \
    X(logging.sampling.then_every, NUMBER, "100", 0, U32, NULL, RELOAD,                          \
      "... after which every n-th is written; 0: none.")

#define RELOAD true
#define RESTART false

/* clang-format off */
const struct evrt_option evrt_options[EVRT_OPTION_COUNT] = {
#define X(key_, type_, def_, min_, max_, choices_, when_, help_)                  \
    {.key = #key_, .def = def_, .choices = choices_, .help = help_, .min = min_,  \
     .max = max_, .type = EVRT_OPTION_##type_, .reloadable = when_,               \
     .offset = offsetof(struct evrt_config, key_)},
    OPTIONS(X)
#undef X
};
/* clang-format on */

#define X(...) +1
_Static_assert(OPTIONS(X) == EVRT_OPTION_COUNT, "EVRT_OPTION_COUNT counts the table");
#undef X

const struct evrt_option *evrt_option_find(struct evrt_slice key) {
    for (size_t i = 0; i < EVRT_OPTION_COUNT; i++)
        if (evrt_slice_eq(evrt_slice_of(evrt_options[i].key), key)) return &evrt_options[i];
    return NULL;
}

bool evrt_option_is_section(struct evrt_slice key) {
    if (key.n == 0) return true;
    for (size_t i = 0; i < EVRT_OPTION_COUNT; i++) {
        const char *full = evrt_options[i].key;
        if (strlen(full) > key.n && full[key.n] == '.' && memcmp(full, key.p, key.n) == 0)
            return true;
    }
    return false;
}

static struct evrt_slice leaf(struct evrt_slice key) {
    const char *dot = memrchr(key.p, '.', key.n);
    return dot == NULL ? key : (struct evrt_slice){dot + 1, key.n - (size_t)(dot + 1 - key.p)};
}

/* A right name in the wrong section is nearer than its path tells. */
static unsigned apart(struct evrt_slice key, struct evrt_slice candidate) {
    unsigned whole = evrt_distance(key, candidate);
    unsigned last = 2 + evrt_distance(leaf(key), leaf(candidate));
    return whole < last ? whole : last;
}

char *evrt_option_nearest(struct evrt_slice key, char buf[EVRT_OPTION_KEY_MAX]) {
    struct evrt_slice best = {"", 0};
    unsigned best_apart = ~0u;
    if (key.n == 0) key = EVRT_STR("?");
    for (size_t i = 0; i < EVRT_OPTION_COUNT; i++) {
        /* The key and each section it stands in. */
        struct evrt_slice c = evrt_slice_of(evrt_options[i].key);
        while (true) {
            unsigned d = apart(key, c);
            if (d < best_apart) best_apart = d, best = c;
            const char *dot = memrchr(c.p, '.', c.n);
            if (dot == NULL) break;
            c.n = (size_t)(dot - c.p);
        }
    }
    snprintf(buf, EVRT_OPTION_KEY_MAX, "%.*s", (int)best.n, best.p);
    return buf;
}

static const char *const type_words[] = {
#define X(name, words) [EVRT_OPTION_##name] = words,
    EVRT_OPTION_TYPES(X)
#undef X
};

static void put_number(struct evrt_buf *out, enum evrt_option_type type, uint64_t v) {
    char text[EVRT_UNITS_SIZE];
    if (type == EVRT_OPTION_SIZE)
        evrt_buf_puts(out, evrt_size_format(v, text));
    else if (type == EVRT_OPTION_DURATION)
        evrt_buf_puts(out, v == 0 ? "0s" : evrt_duration_format((int64_t)v, text));
    else if (type == EVRT_OPTION_DECIMAL)
        evrt_buf_printf(out, "%g", (double)v / 1000);
    else
        evrt_buf_put_u64(out, v);
}

static void put_choices(struct evrt_buf *out, const char *choices) {
    for (const char *p = choices; *p != '\0'; p++)
        if (*p == '|')
            evrt_buf_puts(out, ", ");
        else
            evrt_buf_putc(out, *p);
}

void evrt_option_expects(const struct evrt_option *o, struct evrt_buf *out) {
    switch (o->type) {
    case EVRT_OPTION_NUMBER:
    case EVRT_OPTION_DECIMAL:
    case EVRT_OPTION_SIZE:
    case EVRT_OPTION_DURATION:
        if (o->choices != NULL) evrt_buf_printf(out, "%s or ", o->choices);
        evrt_buf_printf(out, "a %s from ", type_words[o->type]);
        put_number(out, o->type, o->min);
        evrt_buf_puts(out, " to ");
        put_number(out, o->type, o->max);
        break;
    case EVRT_OPTION_CHOICE:
        evrt_buf_puts(out, "one of ");
        put_choices(out, o->choices);
        break;
    case EVRT_OPTION_ADDRESS:
        evrt_buf_puts(out, "an address such as 127.0.0.1:8080, [::1]:8080 or :8080");
        break;
    case EVRT_OPTION_PATHS:
        evrt_buf_puts(out, "a path or list of paths");
        if (o->choices != NULL) {
            evrt_buf_puts(out, ", or of ");
            put_choices(out, o->choices);
        }
        break;
    case EVRT_OPTION_STRING:
    case EVRT_OPTION_PATH:
        evrt_buf_printf(out, "a %s", type_words[o->type]);
        if (o->min > 0) evrt_buf_puts(out, ", not empty");
        break;
    case EVRT_OPTION_APPLIES: evrt_buf_printf(out, "a %s", type_words[o->type]); break;
    case EVRT_OPTION_BOOL: evrt_buf_puts(out, type_words[o->type]); break;
    }
}

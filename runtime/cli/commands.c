/* The table of commands. See cli.h. */
#include "cli/commands.h"

#include "cli/cli.h"
#include "core/distance.h"
#include "core/record.h"
#include "host/host.h"

/* clang-format off */
#define END {NULL, NULL, NULL, 0}
#define CONFIG {"config", "FILE", "Configuration; default conf/evrt.yaml, then /etc/evrt/evrt.yaml.", 'c'}
#define SET {"set", "KEY=VALUE", "Sets one configuration key, as in --set http.listen=:8080. May be repeated.", 0}
#define JSON {"json", NULL, "Prints JSON.", 0}
#define YES {"yes", NULL, "Does what is for good without asking; to be said where there is no terminal to ask at.", 'y'}
#define LOSSES (const struct evrt_cli_loss[])
#define URL_OF(listen) {"url", "URL", "Address of the node; default: " listen " of the configuration.", 0}

const struct evrt_cli_option evrt_cli_common[] = {
    {"help", NULL, "Shows the command's help.", 'h'},
    END,
};

static const struct evrt_cli_option run_options[] = {CONFIG, SET, END};

static const struct evrt_cli_option check_options[] = {CONFIG, SET, JSON, END};

static const struct evrt_cli_option publish_options[] = {
    {"data", "JSON|@FILE|-", "The event's data: JSON, the content of a file, or standard input.", 'd'},
    {"source", "SOURCE", "Where the event comes from; default: evrt-publish.", 's'},
    {"id", "ID", "The event's id; default: a new UUIDv7.", 'i'},
    {"subject", "SUBJECT", "What the event is about.", 0},
    {"wait", NULL, "Waits until every handler of the event has settled, and shows how.", 'w'},
    {"timeout", "DURATION", "How long --wait waits; default: 30s.", 0},
    URL_OF("http.listen"), JSON, CONFIG, SET, END,
};

static const struct evrt_cli_option list_options[] = {URL_OF("admin.listen"), JSON, CONFIG, SET, END};

static const struct evrt_cli_option stats_options[] = {
    {"all", NULL, "Every figure of the node, a line each.", 0},
    URL_OF("admin.listen"), JSON, CONFIG, SET, END};

static const struct evrt_cli_option top_options[] = {
    {"interval", "SECONDS", "Between two pictures; default: 2.", 0},
    {"count", "N", "Ends after so many; default: until q or Ctrl-C.", 0},
    URL_OF("admin.listen"), JSON, CONFIG, SET, END};

static const struct evrt_cli_option events_options[] = {
    {"type", "PATTERN", "Only types that match, as in a handler: user.*", 't'},
    {"source", "SOURCE", "Only events from this source.", 's'},
    {"subject", "SUBJECT", "Only events about this.", 0},
    {"handler", "NAME", "Only events that this handler matched, with what became of them.", 0},
    {"state", "STATE", "Only those that are pending, running, retrying, done, dead or discarded for --handler.", 0},
    {"from", "TIME", "Stored at or after: RFC 3339, or a duration ago such as 1h.", 0},
    {"to", "TIME", "Stored before: RFC 3339, or a duration ago.", 0},
    {"after", "SEQ", "Only events with a greater sequence number.", 0},
    {"limit", "N", "At most so many, 1 to 1000; default: 100.", 'n'},
    {"scheduled", NULL, "Those that wait for their time instead, soonest first.", 0},
    {"cancel", "ID", "Cancels one of those; there is no way back.", 0},
    YES, URL_OF("admin.listen"), JSON, CONFIG, SET, END,
};

static const struct evrt_cli_option tail_options[] = {
    {"from", "SEQ|TIME", "Begins with that sequence number or time, not now: 120, 1h, or RFC 3339.", 0},
    {"source", "SOURCE", "Only events from this source.", 's'},
    {"subject", "SUBJECT", "Only events about this.", 0},
    URL_OF("admin.listen"), JSON, CONFIG, SET, END,
};

static const struct evrt_cli_option retries_options[] = {
    {"handler", "NAME", "Only this handler's.", 0},
    {"after", "ID", "Only those after this one, as the list says when there are more.", 0},
    {"limit", "N", "At most so many, 1 to 1000; default: 100.", 'n'},
    YES, URL_OF("admin.listen"), JSON, CONFIG, SET, END,
};

static const struct evrt_cli_option jobs_options[] = {
    URL_OF("admin.listen"), JSON, CONFIG, SET, END,
};

static const struct evrt_cli_option letters_options[] = {
    {"handler", "NAME", "Only those of this handler.", 0},
    {"type", "PATTERN", "Only types that match, as in a handler: user.*", 't'},
    {"reason", "REASON", "Only these: exhausted, rejected, crashed, declined or orphaned.", 0},
    {"from", "TIME", "Dead at or after: RFC 3339, or a duration ago such as 1h.", 0},
    {"to", "TIME", "Dead before: RFC 3339, or a duration ago.", 0},
    {"all", NULL, "All of them, for reprocess and delete.", 0},
    {"after", "N", "For list: those after that page, as it says when there are more.", 0},
    {"limit", "N", "At most so many; default for list: 100.", 'n'},
    {"rate", "N", "For reprocess: at most so many a second.", 0},
    {"detach", NULL, "For reprocess: prints the job and does not wait for its end.", 0},
    YES, URL_OF("admin.listen"), JSON, CONFIG, SET, END,
};

static const struct evrt_cli_option replay_options[] = {
    {"handler", "NAME", "The handler that gets them.", 0},
    {"from", "TIME", "Stored at or after: RFC 3339, or a duration ago such as 1h.", 0},
    {"to", "TIME", "Stored before: RFC 3339, or a duration ago; default: now.", 0},
    {"type", "PATTERN", "Only types that match, as in a handler: user.*", 't'},
    {"source", "SOURCE", "Only events from this source.", 's'},
    {"from-seq", "SEQ", "The first sequence number.", 0},
    {"to-seq", "SEQ", "The last sequence number.", 0},
    {"limit", "N", "At most so many events.", 0},
    {"rate", "N", "At most so many events a second.", 0},
    {"dry-run", NULL, "Only counts what would be replayed.", 'n'},
    {"detach", NULL, "Prints the replay's number and does not wait for its end.", 0},
    URL_OF("admin.listen"), JSON, CONFIG, SET, END,
};

static const struct evrt_cli_option kv_options[] = {
    {"namespace", "NAME", "The namespace: a handler's name, or any other.", 'N'},
    {"prefix", "TEXT", "With list: only keys that begin with it.", 0},
    {"after", "KEY", "With list: only keys after this one, as the list says when there are more.", 0},
    {"limit", "N", "With list: at most so many, 1 to 1000; default: 100.", 'n'},
    {"ttl", "DURATION", "With set: the key expires after so long.", 0},
    {"text", NULL, "With set: VALUE is a text as it is, and not JSON.", 0},
    YES, URL_OF("admin.listen"), JSON, CONFIG, SET, END,
};

static const struct evrt_cli_option cleanup_options[] = {
    {"before", "TIME", "What was stored before goes: RFC 3339, or a duration ago such as 30d.", 0},
    {"dry-run", NULL, "Shows what would go, and what pins the rest.", 'n'},
    YES, URL_OF("admin.listen"), JSON, CONFIG, SET, END,
};

static const struct evrt_cli_option backup_options[] = {
    {"copy", NULL, "Copies every byte; else closed segments become hard links where that is possible.", 0},
    URL_OF("admin.listen"), JSON, CONFIG, SET, END,
};

static const struct evrt_cli_option store_options[] = {
    YES, JSON, END,
};

static const struct evrt_cli_option test_options[] = {
    {"config", "FILE", "Configuration; default conf/evrt.yaml, evrt.yaml, then /etc/evrt/evrt.yaml.", 0}, SET, END};

static const struct evrt_cli_option bench_options[] = {
    {"phase", "PHASE", "Only flat-out, single (one event in flight) or steady.", 'p'},
    {"seconds", "N", "How long each phase goes on; default: 5.", 0},
    {"size", "N", "Bytes of an event's data, at least 200; default: 300.", 0},
    {"rate", "N", "Events a second in the steady phase; default: 10000.", 0},
    {"turns", NULL, "Phases as lines of standard input ask: \"steady 300\" (ms).", 0},
    {"ids", NULL, "Events come with an id each, as from a client: what dedup costs.", 0},
    {"tick", "US", "Events of the steady phase come in each so many us; default: 1000.", 0},
    {"in-flight", "N", "Events published and not yet handled, flat out; default: 8000.", 0},
    {"dir", "DIR", "Folder on the disk to measure; default: the current one.", 0},
    {"handlers", "PATH", "Your own handlers of bench.event.", 0},
    SET, JSON, END,
};

static const struct evrt_cli_option help_options[] = {
    {"man", NULL, "Prints the manual page evrt(1), in roff.", 0},
    {"completion", "SHELL", "Prints completion for bash, zsh or fish.", 0},
    {"json", NULL, "With config: prints the keys as JSON.", 0},
    END,
};

static const struct evrt_cli_option version_options[] = {JSON, END};

const struct evrt_command evrt_commands[] = {
    {
        .name = "run", .args = "[CONFIG]", .max_args = 1, .options = run_options,
        .brief = "Run a node in the foreground.",
        .text = "Opens the store, loads the handlers, starts the workers and listens for events, "
                "until SIGTERM or SIGINT. The first signal drains: nothing new is taken in, and "
                "deliveries in flight may finish. A second one ends at once, still consistent. "
                "SIGHUP reloads configuration and scripts, SIGUSR1 opens log files anew. Under systemd it tells readiness and feeds the "
                "watchdog (Type=notify).",
        .run = evrt_cli_run,
    },
    {
        .name = "check", .args = "[CONFIG]", .max_args = 1, .options = check_options,
        .brief = "Check the configuration and the handlers.",
        .text = "Loads the configuration and the scripts exactly as run would, in a worker of "
                "its own, then ends. The store and the ports are not touched. Prints "
                "file:line: message for each error.",
        .run = evrt_cli_check,
    },
    {
        .name = "publish", .args = "TYPE", .min_args = 1, .max_args = 1, .options = publish_options,
        .brief = "Publish one event to a running node.",
        .text = "Prints the event's id and sequence number once it is durable. When no answer "
                "comes, the event may or may not be stored: publish it again with the same --id.\n"
                "With --wait the exit code is 1 when a handler gave the event up.",
        .run = evrt_cli_publish,
    },
    {
        .name = "handlers", .args = "[NAME|pause NAME|resume NAME]", .words = "pause resume",
        .max_args = 2, .options = list_options,
        .brief = "List a node's handlers and what they have done; pause or resume one.",
        .text = "With NAME shows that handler, and the policies around it: outermost first, with "
                "their options and where each comes from.\n"
                "A paused handler finishes what it has and gets nothing more until it is resumed, "
                "across restarts and reloads. Its events are kept; none is lost.",
        .run = evrt_cli_handlers,
    },
    {
        .name = "stats", .args = "", .options = stats_options,
        .brief = "Show a node's dashboard: counts, rates, times.",
        .text = "Rates are over the last 1, 5 and 15 minutes, or since the start when that is less; "
                "times are quantiles of the last quarter of an hour. A day begins at midnight in the "
                "node's time zone.",
        .run = evrt_cli_stats,
    },
    {
        .name = "top", .args = "", .options = top_options,
        .brief = "Watch a node's dashboard live.",
        .text = "The busiest handlers and types come first. Space shows the next picture at once, q "
                "ends. Where standard output is no terminal, one picture follows another.",
        .run = evrt_cli_top,
    },
    {
        .name = "reload", .args = "", .options = list_options,
        .brief = "Reload a node's configuration and scripts.",
        .text = "Waits until that is decided and prints what changed. When a script or the "
                "configuration is bad, what ran before goes on; the errors are printed as "
                "file:line: message and the exit code is 78. SIGHUP does the same, and with "
                "reload.watch saving a script does.",
        .run = evrt_cli_reload,
    },
    {
        .name = "events", .args = "[SEQ]", .max_args = 1, .options = events_options,
        .losses = LOSSES{{"--cancel", "the event will never be published"}, {NULL, NULL}},
        .brief = "List stored events, or show one and what became of it.",
        .text = "Oldest first. A long journal is read in pages: the last line says how to go on.",
        .run = evrt_cli_events,
    },
    {
        .name = "why", .args = "SEQ|ID", .min_args = 1, .max_args = 1, .options = list_options,
        .brief = "Say why an event became what it did.",
        .text = "Which handlers matched it, the policies around them and what those did, each attempt with its "
                "time, error and place in the script, what it published, and what caused it. A number is a "
                "sequence number; anything else an id, looked for among the newest two million events.",
        .run = evrt_cli_why,
    },
    {
        .name = "tail", .args = "[PATTERN]", .max_args = 1, .options = tail_options,
        .brief = "Follow events as they are stored.",
        .text = "Until Ctrl-C, or the node ends (exit code 69). PATTERN is as in a handler: user.*; with --json "
                "each line is the event's JSON. When this end takes lines too slowly, events are skipped and "
                "a line says how many.",
        .run = evrt_cli_tail,
    },
    {
        .name = "retries", .args = "[list|run ID|delete ID]", .words = "list run delete", .max_args = 2,
        .options = retries_options,
        .losses = LOSSES{{"delete", "the handler will not get this event again"}, {NULL, NULL}},
        .brief = "List what a node will try again; make one due, or discard it.",
        .text = "A delivery that failed waits here until its next attempt is due. Those of a paused "
                "handler wait until it is resumed, those of a handler that left the scripts (orphaned) "
                "until it is back or retry.ttl has passed. What is deleted is counted as discarded.",
        .run = evrt_cli_retries,
    },
    {
        .name = "dead-letters", .args = "[list|show ID|reprocess [ID]|delete [ID]|export]",
        .words = "list show reprocess delete export", .max_args = 2,
        .options = letters_options,
        .losses = LOSSES{{"delete", "what is deleted is gone for good"}, {NULL, NULL}},
        .brief = "List what a node gave up on; show it, give it once more, delete it, export it.",
        .text = "A delivery that is not tried again becomes a dead letter: its event, its handler, why, and each attempt. "
                "reprocess gives it to that handler, and to no other, once more; it leaves when that succeeds, and is a "
                "dead letter with one attempt more when not. With an ID it is one letter, else those that the options "
                "choose, oldest first: a job that goes on when this command is interrupted, and after a restart "
                "(evrt jobs). delete discards for good, and counts. export prints events as lines of JSON, newest first, "
                "with extensions that say what became of them. The exit code of reprocess is 1 when some failed again.",
        .run = evrt_cli_dead_letters,
    },
    {
        .name = "jobs", .args = "[list|show ID|cancel ID]", .words = "list show cancel", .max_args = 2,
        .options = jobs_options,
        .brief = "List what takes long: replays, reprocessings; cancel one.",
        .text = "A job delivers a bounded number of events at once (jobs.concurrency), and goes on after a restart. "
                "What a cancelled one has in flight ends; nothing more is delivered.",
        .run = evrt_cli_jobs,
    },
    {
        .name = "replay", .args = "[list|show ID|wait ID|cancel ID]", .words = "list show wait cancel", .max_args = 2,
        .options = replay_options,
        .brief = "Deliver stored events once more to one handler; list, watch or cancel that.",
        .text = "evrt replay --handler NAME with --from, --from-seq or another choice of events delivers those that "
                "the handler's patterns match, oldest first, with ctx.replay true. They are no new events: nothing is "
                "published, no other handler sees them, and what counts as pending or done stays as it is. Live events "
                "come first. Each is tried once; what fails is counted and listed (show ID), and is no dead letter. "
                "Events that the handler has not ended with are skipped: it gets them anyway.\n"
                "A replay goes on when this command is interrupted, and after a restart of the node; cancel ends it. "
                "The exit code is 1 when some failed.",
        .run = evrt_cli_replay,
    },
    {
        .name = "kv", .args = "[list|get KEY|set KEY VALUE|delete KEY]", .words = "list get set delete",
        .max_args = 3, .options = kv_options,
        .losses = LOSSES{{"delete", "the key's value is gone for good"}, {NULL, NULL}},
        .brief = "Read and change the key-value store of a running node.",
        .text = "Without --namespace lists the namespaces; with it, its keys in order. get prints the value "
                "alone: JSON, or a string's text (in base64 when it is not UTF-8). set takes JSON ('\"text\"', 5, '{\"a\": 1}'), or with --text any "
                "text. What is written is durable when the command returns, and logged as an operator's action.",
        .run = evrt_cli_kv,
    },
    {
        .name = "cleanup", .args = "", .options = cleanup_options,
        .losses = LOSSES{{"", "what is dropped is gone for good"}, {NULL, NULL}},
        .brief = "Drop old events of a running node.",
        .text = "Whole segments of the journal go, oldest first, that ended before the time given and that "
                "no handler needs. What stays though it is as old is listed with what pins it: a handler "
                "that has events pending, one that left the scripts (DELETE /api/v1/handlers/NAME forgets "
                "it), or a backup. Without --yes it shows what would go, and asks.",
        .run = evrt_cli_cleanup,
    },
    {
        .name = "backup", .args = "DIR", .min_args = 1, .max_args = 1, .options = backup_options,
        .brief = "Copy the store of a running node.",
        .text = "The node on this machine writes its store, as it is at one moment, to DIR, which must not "
                "exist or be empty; events go on being taken in and handled. backup.json in it is written "
                "last. To restore, name DIR (or a copy of it) as store.path; evrt store verify checks it.\n"
                "Closed segments are hard links when DIR is on the same file system: quick, and no second "
                "copy of the bytes. To keep it on another disk, copy DIR there, or name a DIR there.",
        .run = evrt_cli_backup,
    },
    {
        .name = "store", .args = "verify|repair PATH", .words = "verify repair",
        .min_args = 2, .max_args = 2, .options = store_options,
        .losses = LOSSES{{"repair", "what is damaged is set aside, and its events are lost"}, {NULL, NULL}},
        .brief = "Verify or repair a store that no node has open.",
        .text = "verify reads every byte of the journal and names what is damaged; the exit code is "
                "1 when something is. A torn tail, as a crash leaves it, is no damage: the next "
                "start cuts it.\n"
                "repair sets damaged ranges aside in a folder of the store and marks the gap, so "
                "that the store opens again. Nothing that can be read is lost. Without --yes it "
                "shows what it would do, and asks.",
        .run = evrt_cli_store,
    },
    {
        .name = "test", .args = "[BUSTED ARGS]", .rest = true, .options = test_options,
        .brief = "Run busted's specs inside the runtime, with the handlers beside them.",
        .text = "Starts a node with the configuration's scripts and an empty store in memory, on ports of its own, and runs "
                "busted in a worker of it (package lua-busted). In specs, require \"evrt\" is what handlers have: "
                "evrt.publish(event, { wait = \"handled\" }) hands an event to the handlers and tells each one's outcome, "
                "evrt.kv.get(key, HANDLER) what it keeps, evrt.fold what was published. require finds the modules beside "
                "the handlers, and those in the working folder.\n"
                "From the first word on that is none of the options here, all are for busted: folders or files of specs "
                "(spec unless given), --filter and so on. The log goes to standard error, from warnings on.",
        .run = evrt_cli_test,
    },
    {
        .name = "bench", .args = "", .options = bench_options,
        .brief = "Drive the real pipeline and print its speed.",
        .text = "Publishes, commits, delivers to a Lua handler that reads one field of event.data, "
                "and settles, in a store of its own that is removed afterwards. Prints rates, "
                "latencies and CPU per event, with the durability mode and what the bare disk does "
                "beside them.",
        .run = evrt_cli_bench,
    },
    {
        .name = "help", .args = "[COMMAND|config]", .max_args = 1, .options = help_options,
        .brief = "Show help for a command, or every configuration key.",
        .text = "help config prints the reference configuration: every key with its default.",
        .run = evrt_cli_help,
    },
    {
        .name = "version", .args = "", .options = version_options,
        .brief = "Show the versions of evrt and its libraries.",
        .run = evrt_cli_version,
    },
    {.name = NULL},
};
/* clang-format on */

enum evrt_cli_kind evrt_cli_value_kind(const struct evrt_cli_option *o, const char **words) {
    static const struct {
        const char *option, *words;
    } lists[] = {
#define X(id, name) name " "
        {"state", EVRT_HOST_EVENT_STATES(X)},
#undef X
#define X(id, number, name, help) name " "
        {"reason", EVRT_DEAD_REASONS(X)},
#undef X
        {"phase", "flat-out single steady"},
        {"completion", "bash zsh fish"},
    };
    static const struct {
        const char *arg;
        enum evrt_cli_kind kind;
    } kinds[] = {
        {"FILE", EVRT_CLI_FILES},    {"DIR", EVRT_CLI_FILES},      {"PATH", EVRT_CLI_FILES},
        {"NAME", EVRT_CLI_HANDLERS}, {"KEY=VALUE", EVRT_CLI_KEYS},
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (strcmp(o->name, lists[i].option) == 0) {
            *words = lists[i].words;
            return EVRT_CLI_WORDS;
        }
    for (size_t i = 0; o->arg != NULL && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(o->arg, kinds[i].arg) == 0) return kinds[i].kind;
    return EVRT_CLI_FREE;
}

enum evrt_cli_kind evrt_cli_argument_kind(const struct evrt_command *c) {
    if (strstr(c->args, "NAME") != NULL) return EVRT_CLI_HANDLERS;
    bool file = strstr(c->args, "CONFIG") != NULL || strstr(c->args, "PATH") != NULL ||
                strstr(c->args, "DIR") != NULL || c->rest;
    return file ? EVRT_CLI_FILES : EVRT_CLI_FREE;
}

const struct evrt_command *evrt_command_find(const char *name) {
    for (const struct evrt_command *c = evrt_commands; c->name != NULL; c++)
        if (strcmp(c->name, name) == 0) return c;
    return NULL;
}

const char *evrt_command_nearest(const char *name) {
    const char *best = "";
    unsigned best_apart = ~0u;
    for (const struct evrt_command *c = evrt_commands; c->name != NULL; c++) {
        unsigned apart = evrt_distance(evrt_slice_of(name), evrt_slice_of(c->name));
        if (apart < best_apart) best_apart = apart, best = c->name;
    }
    return evrt_distance_is_near(best_apart, evrt_slice_of(name)) ? best : "";
}

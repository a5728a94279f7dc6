/* Reading the command line by the table, and what every command says in the same way. See cli.h. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "config/config.h"
#include "core/distance.h"
#include "core/error.h"

/* ---- Telling ---- */

static void tell(const char *prefix, const char *name, const char *fmt, va_list ap) {
    fprintf(stderr, "evrt%s%s: ", prefix, name);
    vfprintf(stderr, fmt, ap);
}

int evrt_cli_usage(const struct evrt_cli *cli, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    tell(" ", cli->command->name, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nTry: evrt help %s\n", cli->command->name);
    return EVRT_EXIT_USAGE;
}

int evrt_cli_fail(int code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    tell("", "", fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return code;
}

int evrt_cli_error(int code, const struct evrt_error *err) {
    char text[sizeof *err];
    evrt_error_format(err, text, sizeof text);
    fprintf(stderr, "%s%s\n", err->file[0] == '\0' ? "evrt: " : "", text);
    return code;
}

int evrt_cli_print(struct evrt_buf *out) {
    bool ok = (out->n == 0 || fwrite(out->p, 1, out->n, stdout) == out->n) && fflush(stdout) == 0;
    int rc = errno;
    evrt_buf_clear(out);
    if (ok) return EVRT_EXIT_OK;
    if (rc == EPIPE) return EVRT_EXIT_FAILED; /* who reads has enough, as in evrt events | head */
    return evrt_cli_fail(EVRT_EXIT_FAILED, "cannot write to standard output: %s", strerror(rc));
}

bool evrt_cli_terminal(int fd) {
    const char *term = getenv("TERM");
    return isatty(fd) && (term == NULL || strcmp(term, "dumb") != 0);
}

bool evrt_cli_colour(void) {
    const char *no = getenv("NO_COLOR");
    return (no == NULL || *no == '\0') && evrt_cli_terminal(STDOUT_FILENO);
}

/* ---- Parsing ---- */

/* Where the value of an option of the command goes; -1 for one that all have. */
static const struct evrt_cli_option *find(const struct evrt_command *c, const char *name, size_t n,
                                          char letter, int *slot) {
    int i = 0;
    for (const struct evrt_cli_option *o = c->options; o->name != NULL; o++, i++) {
        *slot = i;
        if (letter != 0 ? o->letter == letter : strlen(o->name) == n && !memcmp(o->name, name, n))
            return o;
    }
    *slot = -1;
    for (const struct evrt_cli_option *o = evrt_cli_common; o->name != NULL; o++)
        if (letter != 0 ? o->letter == letter : strlen(o->name) == n && !memcmp(o->name, name, n))
            return o;
    return NULL;
}

static int unknown(const struct evrt_cli *cli, struct evrt_slice name) {
    const char *best = evrt_cli_common[0].name;
    unsigned best_apart = evrt_distance(name, evrt_slice_of(best));
    for (const struct evrt_cli_option *o = cli->command->options; o->name != NULL; o++) {
        unsigned apart = evrt_distance(name, evrt_slice_of(o->name));
        if (apart < best_apart) best_apart = apart, best = o->name;
    }
    bool near = evrt_distance_is_near(best_apart, name);
    return evrt_cli_usage(cli, "unknown option --%.*s%s%s", (int)name.n, name.p,
                          near ? "; the nearest is --" : "", near ? best : "");
}

static int store(struct evrt_cli *cli, const struct evrt_cli_option *o, int slot, const char *value,
                 bool *help) {
    if (slot < 0) {
        *help = true;
    } else if (strcmp(o->name, "set") == 0) {
        cli->overrides =
            evrt_realloc(cli->overrides, (cli->noverrides + 2) * sizeof *cli->overrides);
        cli->overrides[cli->noverrides++] = value;
        cli->overrides[cli->noverrides] = NULL;
    } else {
        cli->values[slot] = value;
    }
    return EVRT_EXIT_OK;
}

/* "--name=value", "--name value", "--switch". *at is the index of the option, and moves past its value. */
static int take_long(struct evrt_cli *cli, int argc, char **argv, int *at, bool *help) {
    const char *name = argv[*at] + 2, *equals = strchr(name, '=');
    size_t n = equals != NULL ? (size_t)(equals - name) : strlen(name);
    int slot;
    const struct evrt_cli_option *o = find(cli->command, name, n, 0, &slot);
    if (o == NULL) return unknown(cli, (struct evrt_slice){name, n});
    if (o->arg == NULL && equals != NULL)
        return evrt_cli_usage(cli, "--%s takes no value", o->name);
    if (o->arg == NULL) return store(cli, o, slot, "", help);
    if (equals == NULL && *at + 1 >= argc)
        return evrt_cli_usage(cli, "--%s needs a value: %s", o->name, o->arg);
    return store(cli, o, slot, equals != NULL ? equals + 1 : argv[++*at], help);
}

/* "-d value", "-dvalue", "-w". */
static int take_short(struct evrt_cli *cli, int argc, char **argv, int *at, bool *help) {
    for (const char *p = argv[*at] + 1; *p != '\0'; p++) {
        int slot, rc;
        const struct evrt_cli_option *o = find(cli->command, NULL, 0, *p, &slot);
        if (o == NULL) return evrt_cli_usage(cli, "unknown option -%c", *p);
        if (o->arg == NULL) {
            if ((rc = store(cli, o, slot, "", help)) != EVRT_EXIT_OK) return rc;
            continue;
        }
        if (p[1] != '\0') return store(cli, o, slot, p + 1, help);
        if (*at + 1 >= argc) return evrt_cli_usage(cli, "-%c needs a value: %s", o->letter, o->arg);
        return store(cli, o, slot, argv[++*at], help);
    }
    return EVRT_EXIT_OK;
}

static int check_args(const struct evrt_cli *cli) {
    const struct evrt_command *c = cli->command;
    if (cli->nargs < c->min_args)
        return evrt_cli_usage(cli, "expected: evrt %s %s", c->name, c->args);
    if (cli->nargs > c->max_args)
        return evrt_cli_usage(cli, "unexpected argument \"%s\"", cli->args[c->max_args]);
    return EVRT_EXIT_OK;
}

/* Whether a word is an option of the command, or of all. */
static bool is_option(const struct evrt_command *c, const char *word) {
    int slot;
    if (word[0] != '-' || word[1] == '\0') return false;
    if (word[1] != '-') return find(c, NULL, 0, word[1], &slot) != NULL;
    return word[2] != '\0' && find(c, word + 2, strcspn(word + 2, "="), 0, &slot) != NULL;
}

int evrt_cli_parse(struct evrt_cli *cli, const struct evrt_command *command, int argc, char **argv,
                   bool *help) {
    *cli = (struct evrt_cli){.command = command};
    *help = false;
    bool options = true;
    for (int i = 0; i < argc; i++) {
        int rc = EVRT_EXIT_OK;
        const char *word = argv[i];
        if (command->rest && !is_option(command, word)) {
            cli->rest = argv + i + (strcmp(word, "--") == 0);
            cli->nrest = (int)(argv + argc - cli->rest);
            break;
        }
        if (options && strcmp(word, "--") == 0)
            options = false;
        else if (options && strncmp(word, "--", 2) == 0)
            rc = take_long(cli, argc, argv, &i, help);
        else if (options && word[0] == '-' && word[1] != '\0')
            rc = take_short(cli, argc, argv, &i, help);
        else if (cli->nargs < EVRT_CLI_ARGS_MAX)
            cli->args[cli->nargs++] = word;
        if (rc != EVRT_EXIT_OK) return rc;
    }
    return *help ? EVRT_EXIT_OK : check_args(cli);
}

void evrt_cli_finish(struct evrt_cli *cli) {
    free(cli->overrides);
}

/* ---- Reading ---- */

const char *evrt_cli_get(const struct evrt_cli *cli, const char *name) {
    const struct evrt_cli_option *o = cli->command->options;
    for (size_t i = 0; o[i].name != NULL; i++)
        if (strcmp(o[i].name, name) == 0) return cli->values[i];
    assert(!"an option of the command");
    return NULL;
}

bool evrt_cli_has(const struct evrt_cli *cli, const char *name) {
    return evrt_cli_get(cli, name) != NULL;
}

bool evrt_cli_number(const struct evrt_cli *cli, const char *name, uint64_t def, uint64_t min,
                     uint64_t max, uint64_t *out) {
    const char *text = evrt_cli_get(cli, name);
    char *end;
    *out = def;
    if (text == NULL) return true;
    errno = 0;
    *out = strtoull(text, &end, 10);
    bool digits = *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
    if (digits && *out >= min && *out <= max) return true;
    evrt_cli_usage(cli, "--%s: expected a whole number from %llu to %llu, got \"%s\"", name,
                   (unsigned long long)min, (unsigned long long)max, text);
    return false;
}

const char *evrt_cli_config(const struct evrt_cli *cli) {
    const char *named = evrt_cli_get(cli, "config");
    if (cli->nargs > 0 && strcmp(cli->command->args, "[CONFIG]") == 0) named = cli->args[0];
    if (named != NULL) return named;
    /* Who tests stands in the folder of the scripts. */
    bool beside = cli->command->rest && access("conf/evrt.yaml", F_OK) != 0;
    return beside && access("evrt.yaml", F_OK) == 0 ? "evrt.yaml" : evrt_config_find();
}

const char *evrt_cli_need_config(const struct evrt_cli *cli) {
    const char *found = evrt_cli_config(cli);
    if (found == NULL)
        evrt_cli_fail(EVRT_EXIT_CONFIG,
                      "no configuration: neither conf/evrt.yaml%s nor /etc/evrt/evrt.yaml exists; "
                      "name one: evrt %s %sFILE",
                      cli->command->rest ? ", evrt.yaml" : "", cli->command->name,
                      cli->command->rest ? "--config " : "");
    return found;
}

/* The command line: what every command gets, and the table of commands that dispatch, help, the manual
 * and shell completion read. Owner: main(); one thread. */
#ifndef EVRT_CLI_CLI_H
#define EVRT_CLI_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "core/buf.h"

/* name, code, when. */
#define EVRT_EXITS(X)                                           \
    X(OK, 0, "It worked.")                                      \
    X(FAILED, 1, "It failed; the reason is on standard error.") \
    X(USAGE, 64, "The command line is wrong.")                  \
    X(UNREACHABLE, 69, "No node answers at the address.")       \
    X(CONFIG, 78, "The configuration or a script is wrong.")

enum evrt_exit {
#define X(name, code, when) EVRT_EXIT_##name = code,
    EVRT_EXITS(X)
#undef X
};

struct evrt_cli;

struct evrt_cli_option {
    const char *name; /* without the dashes */
    const char *arg;  /* how its value is called; NULL: a switch */
    const char *help;
    char letter; /* 0: none */
};

/* What an option's value, or an argument, may be: what it is called says it, or the option's name. */
enum evrt_cli_kind {
    EVRT_CLI_FREE,
    EVRT_CLI_WORDS, /* of a list */
    EVRT_CLI_FILES,
    EVRT_CLI_HANDLERS, /* of the node */
    EVRT_CLI_KEYS,     /* KEY=VALUE of the configuration */
};
/* *words: those of EVRT_CLI_WORDS, joined by ' '. */
enum evrt_cli_kind evrt_cli_value_kind(const struct evrt_cli_option *o, const char **words);
/* Of what stands behind the command (and its word). */
struct evrt_command;
enum evrt_cli_kind evrt_cli_argument_kind(const struct evrt_command *c);

/* What a command does that cannot be taken back: it asks first, or wants --yes (evrt_cli_confirm). */
struct evrt_cli_loss {
    const char *what; /* "delete", its first argument; "--cancel", an option; "": the command */
    const char *loss; /* "what is deleted is gone for good" */
};

struct evrt_command {
    const char *name;
    const char *args;  /* "TYPE", "[CONFIG]" */
    const char *words; /* what the first argument may be, joined by ' '; NULL: anything */
    const char *brief; /* one line */
    const char *text;  /* the rest of its help; '\n' between paragraphs */
    const struct evrt_cli_option *options; /* ends with a NULL name */
    const struct evrt_cli_loss *losses;    /* ends with a NULL what; NULL: none. It has --yes */
    unsigned min_args, max_args;
    bool
        rest; /* from the first word on that is no option of its own, all words are for another program */
    int (*run)(struct evrt_cli *cli);
};

#define EVRT_CLI_OPTIONS_MAX 16
#define EVRT_CLI_ARGS_MAX 4

struct evrt_cli {
    const struct evrt_command *command;
    const char *values[EVRT_CLI_OPTIONS_MAX]; /* by index in command->options; "" for a switch */
    const char *args[EVRT_CLI_ARGS_MAX];
    unsigned nargs;
    char **rest; /* of a command that has such */
    int nrest;
    const char **overrides; /* each --set, NULL-terminated */
    size_t noverrides;
};

/* The table; ends with a NULL name. */
extern const struct evrt_command evrt_commands[];

const struct evrt_command *evrt_command_find(const char *name);
/* The command that `name` was probably meant to be. */
const char *evrt_command_nearest(const char *name);
/* Options that every command has: --help. Ends with a NULL name. */
extern const struct evrt_cli_option evrt_cli_common[];

/* Reads argv after the command's name. EVRT_EXIT_OK; *help when only help is asked for; or an exit code,
 * told. */
int evrt_cli_parse(struct evrt_cli *cli, const struct evrt_command *command, int argc, char **argv,
                   bool *help);
void evrt_cli_finish(struct evrt_cli *cli);

/* The option's value, NULL when it was not given. The option is in the command's table (asserted). */
const char *evrt_cli_get(const struct evrt_cli *cli, const char *name);
bool evrt_cli_has(const struct evrt_cli *cli, const char *name);
/* A whole number within [min, max]; `def` when not given. false: told, return EVRT_EXIT_USAGE. */
bool evrt_cli_number(const struct evrt_cli *cli, const char *name, uint64_t def, uint64_t min,
                     uint64_t max, uint64_t *out);

/* Before that loss of the command's: EVRT_EXIT_OK with --yes, or when whoever is at the terminal agrees; else the
 * exit code, told. Nothing was done until then. */
int evrt_cli_confirm(const struct evrt_cli *cli, const char *what);

/* "evrt COMMAND: message" on standard error; returns the exit code. Usage adds where help is. */
int evrt_cli_usage(const struct evrt_cli *cli, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int evrt_cli_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for an error of the library: "file:line: message" as compilers write it. */
int evrt_cli_error(int code, const struct evrt_error *err);

/* Writes to standard output; what cannot be written makes the command fail. Empties the buffer. */
int evrt_cli_print(struct evrt_buf *out);
/* Whether it is a terminal that understands more than lines of text. */
bool evrt_cli_terminal(int fd);
/* Whether standard output wants colours: a terminal, and NO_COLOR is not set. */
bool evrt_cli_colour(void);

/* The configuration's path of this command: its argument [CONFIG] or -c, else the first that exists.
 * NULL: none; `need` tells so. */
const char *evrt_cli_config(const struct evrt_cli *cli);
const char *evrt_cli_need_config(const struct evrt_cli *cli);

#endif

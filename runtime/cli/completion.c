/* Shell completion for bash, zsh and fish, out of the tables of commands and of configuration keys. See help.h. Names
 * of handlers are asked from the node that the configuration in reach names. */
#include <errno.h>

#include "cli/cli.h"
#include "cli/help.h"
#include "config/options.h"

/* Text inside single quotes; how a quote is written there differs. */
static void put_quoted(struct evrt_buf *out, const char *text, const char *quote) {
    evrt_buf_putc(out, '\'');
    for (; *text != '\0'; text++)
        if (*text == '\'')
            evrt_buf_puts(out, quote);
        else
            evrt_buf_putc(out, *text);
    evrt_buf_putc(out, '\'');
}

static void put_names(struct evrt_buf *out) {
    const char *gap = "";
    for (const struct evrt_command *c = evrt_commands; c->name != NULL; c++) {
        evrt_buf_printf(out, "%s%s", gap, c->name);
        gap = " ";
    }
}

/* What may stand as the first argument: words, or those of `help`. */
static void put_words(struct evrt_buf *out, const struct evrt_command *c) {
    if (c->words != NULL) evrt_buf_puts(out, c->words);
    if (strcmp(c->name, "help") == 0) {
        put_names(out);
        evrt_buf_puts(out, " config");
    }
}

static void put_dashed(struct evrt_buf *out, const struct evrt_cli_option *o) {
    for (; o->name != NULL; o++)
        evrt_buf_printf(out, "--%s ", o->name);
}

/* Its first column, without the head. */
static const char ask_handlers[] = "evrt handlers 2>/dev/null | sed '1d;s/ .*//'";

/* "debug info warn error" of a key that has choices, each behind `before`; false: it has none. */
static bool put_choices(struct evrt_buf *out, const struct evrt_option *o, const char *before) {
    bool is_switch = strcmp(o->def, "true") == 0 || strcmp(o->def, "false") == 0;
    const char *p = o->choices != NULL ? o->choices : is_switch ? "true|false" : "";
    if (*p == '\0') return false;
    for (size_t n; *p != '\0'; p += n + (p[n] == '|')) {
        n = strcspn(p, "|");
        evrt_buf_printf(out, "%s%.*s ", before, (int)n, p);
    }
    out->n--;
    return true;
}

/* "store.path= logging.level= logging.level=debug logging.level=info ..." */
static void put_keys(struct evrt_buf *out, bool with_choices) {
    struct evrt_buf key = {0};
    for (size_t i = 0; i < EVRT_OPTION_COUNT; i++) {
        evrt_buf_clear(&key);
        evrt_buf_printf(&key, "%s=", evrt_options[i].key);
        evrt_buf_printf(out, "%s%s", i == 0 ? "" : " ", evrt_buf_cstr(&key));
        if (!with_choices) continue;
        evrt_buf_putc(out, ' ');
        if (!put_choices(out, &evrt_options[i], evrt_buf_cstr(&key))) out->n--;
    }
    evrt_buf_finish(&key);
}

/* What a shell does for each kind of value; the words of a list stand between the two. */
struct shell_values {
    const char *words, *words_end, *files, *handlers, *keys, *none;
};

/* "    events:--state) ... ;;" for every option that has a value. */
static void put_values(struct evrt_buf *out, const struct shell_values *s) {
    for (const struct evrt_command *c = evrt_commands; c->name != NULL; c++)
        for (const struct evrt_cli_option *o = c->options; o->name != NULL; o++) {
            const char *list = "";
            if (o->arg == NULL) continue;
            evrt_buf_printf(out, "    %s:--%s", c->name, o->name);
            if (o->letter != 0) evrt_buf_printf(out, " | %s:-%c", c->name, o->letter);
            evrt_buf_puts(out, ") ");
            switch (evrt_cli_value_kind(o, &list)) {
            case EVRT_CLI_WORDS:
                evrt_buf_printf(out, "%s%s%s", s->words, list, s->words_end);
                break;
            case EVRT_CLI_FILES: evrt_buf_puts(out, s->files); break;
            case EVRT_CLI_HANDLERS: evrt_buf_puts(out, s->handlers); break;
            case EVRT_CLI_KEYS: evrt_buf_puts(out, s->keys); break;
            case EVRT_CLI_FREE: evrt_buf_puts(out, s->none); break;
            }
            evrt_buf_puts(out, "return ;;\n");
        }
}

/* ---- bash ---- */

/* '=' is a word of its own there, so that what follows is the value of the word before it. */
static void put_bash_keys(struct evrt_buf *out) {
    for (size_t i = 0; i < EVRT_OPTION_COUNT; i++) {
        size_t before = out->n;
        evrt_buf_printf(out, "    *:%s) _evrt_reply '", evrt_options[i].key);
        if (put_choices(out, &evrt_options[i], ""))
            evrt_buf_puts(out, "'; return ;;\n");
        else
            out->n = before;
    }
}

static void put_bash_words(struct evrt_buf *out) {
    for (const struct evrt_command *c = evrt_commands; c->name != NULL; c++) {
        evrt_buf_printf(out, "    %s) options='", c->name);
        put_dashed(out, c->options);
        put_dashed(out, evrt_cli_common);
        out->n--;
        evrt_buf_puts(out, "' words='");
        put_words(out, c);
        evrt_buf_puts(out, evrt_cli_argument_kind(c) == EVRT_CLI_HANDLERS
                               ? "'\" $(_evrt_handlers)\" ;;\n"
                               : "' ;;\n");
    }
}

/* Without words bash looks for files (complete -o default). */
static void put_bash(struct evrt_buf *out) {
    static const struct shell_values values = {.words = "_evrt_reply '",
                                               .words_end = "'; ",
                                               .files = "",
                                               .handlers = "_evrt_reply \"$(_evrt_handlers)\"; ",
                                               .keys = "_evrt_keys; ",
                                               .none = "compopt +o default 2>/dev/null; "};
    evrt_buf_puts(out,
                  "# bash completion for evrt\n"
                  "_evrt_reply() { mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\"); }\n");
    evrt_buf_printf(out, "_evrt_handlers() { %s; }\n", ask_handlers);
    evrt_buf_puts(out, "_evrt_keys() {\n    compopt -o nospace 2>/dev/null\n    _evrt_reply '");
    put_keys(out, false);
    evrt_buf_puts(out, "'\n}\n"
                       "_evrt() {\n"
                       "    local cur=${COMP_WORDS[COMP_CWORD]} before='' options='' words=''\n"
                       "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                       "        _evrt_reply '");
    put_names(out);
    evrt_buf_puts(out, "'\n        return\n    fi\n"
                       "    before=${COMP_WORDS[COMP_CWORD - 1]}\n"
                       "    if [ \"$cur\" = = ]; then\n"
                       "        cur=''\n"
                       "    elif [ \"$before\" = = ]; then\n"
                       "        before=${COMP_WORDS[COMP_CWORD - 2]}\n"
                       "    fi\n"
                       "    case ${COMP_WORDS[1]}:$before in\n");
    put_values(out, &values);
    put_bash_keys(out);
    evrt_buf_puts(out, "    esac\n    case ${COMP_WORDS[1]} in\n");
    put_bash_words(out);
    evrt_buf_puts(out, "    esac\n"
                       "    case $cur in\n"
                       "    -*) words=$options ;;\n"
                       "    esac\n"
                       "    _evrt_reply \"$words\"\n"
                       "}\n"
                       "complete -o default -F _evrt evrt\n");
}

/* ---- zsh ---- */

/* zsh reads ':' in a description as the end of it. */
static void put_zsh_text(struct evrt_buf *out, const char *name, const char *text) {
    struct evrt_buf both;
    evrt_buf_init(&both);
    evrt_buf_printf(&both, "%s:", name);
    for (; *text != '\0'; text++)
        evrt_buf_printf(&both, "%s%c", *text == ':' ? "\\" : "", *text);
    put_quoted(out, evrt_buf_cstr(&both), "'\\''");
    evrt_buf_finish(&both);
}

static void put_zsh_options(struct evrt_buf *out, const struct evrt_cli_option *o) {
    struct evrt_buf dashed;
    evrt_buf_init(&dashed);
    for (; o->name != NULL; o++) {
        evrt_buf_clear(&dashed);
        evrt_buf_printf(&dashed, "--%s", o->name);
        evrt_buf_putc(out, ' ');
        put_zsh_text(out, evrt_buf_cstr(&dashed), o->help);
    }
    evrt_buf_finish(&dashed);
}

static void put_zsh_words(struct evrt_buf *out) {
    for (const struct evrt_command *c = evrt_commands; c->name != NULL; c++) {
        evrt_buf_printf(out, "    %s) options=(", c->name);
        put_zsh_options(out, c->options);
        put_zsh_options(out, evrt_cli_common);
        evrt_buf_puts(out, ") arguments=(");
        put_words(out, c);
        evrt_buf_puts(out, evrt_cli_argument_kind(c) == EVRT_CLI_HANDLERS
                               ? " ${(f)\"$(_evrt_handlers)\"}) ;;\n"
                               : ") ;;\n");
    }
}

static void put_zsh(struct evrt_buf *out) {
    static const struct shell_values values = {.words = "compadd -- ",
                                               .words_end = "; ",
                                               .files = "_files; ",
                                               .handlers =
                                                   "compadd -- ${(f)\"$(_evrt_handlers)\"}; ",
                                               .keys = "_evrt_keys; ",
                                               .none = ""};
    evrt_buf_printf(out, "#compdef evrt\n_evrt_handlers() { %s }\n", ask_handlers);
    evrt_buf_puts(out, "_evrt_keys() {\n    compadd -S '' -- ");
    put_keys(out, true);
    evrt_buf_puts(out, "\n}\n"
                       "_evrt() {\n"
                       "    local -a commands options arguments\n"
                       "    local before=$words[CURRENT-1]\n"
                       "    if ((CURRENT == 2)); then\n"
                       "        commands=(");
    for (const struct evrt_command *c = evrt_commands; c->name != NULL; c++) {
        evrt_buf_putc(out, ' ');
        put_zsh_text(out, c->name, c->brief);
    }
    evrt_buf_puts(out, ")\n        _describe command commands\n        return\n    fi\n"
                       "    if [[ $PREFIX == --*=* ]]; then\n"
                       "        before=${PREFIX%%=*}\n"
                       "        compset -P '*='\n"
                       "    fi\n"
                       "    case $words[2]:$before in\n");
    put_values(out, &values);
    evrt_buf_puts(out, "    esac\n    case $words[2] in\n");
    put_zsh_words(out);
    evrt_buf_puts(out, "    esac\n"
                       "    if [[ $PREFIX == -* ]]; then\n"
                       "        _describe option options\n"
                       "    elif ((CURRENT <= 4 && $#arguments)); then\n"
                       "        _describe argument arguments\n"
                       "    else\n"
                       "        _files\n"
                       "    fi\n"
                       "}\n"
                       "_evrt \"$@\"\n");
}

/* ---- fish ---- */

static void put_fish_value(struct evrt_buf *out, const struct evrt_cli_option *o) {
    const char *list = "";
    switch (evrt_cli_value_kind(o, &list)) {
    case EVRT_CLI_WORDS: evrt_buf_printf(out, " -x -a '%s'", list); break;
    case EVRT_CLI_HANDLERS: evrt_buf_puts(out, " -x -a '(__evrt_handlers)'"); break;
    case EVRT_CLI_KEYS: evrt_buf_puts(out, " -x -a '(__evrt_keys)'"); break;
    case EVRT_CLI_FILES: evrt_buf_puts(out, " -r -F"); break;
    case EVRT_CLI_FREE: evrt_buf_puts(out, " -x"); break;
    }
}

static void put_fish_options(struct evrt_buf *out, const char *command,
                             const struct evrt_cli_option *o) {
    for (; o->name != NULL; o++) {
        evrt_buf_printf(out, "complete -c evrt -n '__fish_seen_subcommand_from %s' -l %s", command,
                        o->name);
        if (o->letter != 0) evrt_buf_printf(out, " -s %c", o->letter);
        if (o->arg != NULL) put_fish_value(out, o);
        evrt_buf_puts(out, " -d ");
        put_quoted(out, o->help, "\\'");
        evrt_buf_putc(out, '\n');
    }
}

static void put_fish_words(struct evrt_buf *out, const struct evrt_command *c) {
    size_t before = out->n;
    evrt_buf_printf(out, "complete -c evrt -n '__fish_seen_subcommand_from %s' -a '", c->name);
    size_t start = out->n;
    put_words(out, c);
    if (evrt_cli_argument_kind(c) == EVRT_CLI_HANDLERS) evrt_buf_puts(out, " (__evrt_handlers)");
    if (out->n == start)
        out->n = before;
    else
        evrt_buf_puts(out, "'\n");
}

static void put_fish(struct evrt_buf *out) {
    evrt_buf_printf(out, "# fish completion for evrt\nfunction __evrt_handlers; %s; end\n",
                    ask_handlers);
    evrt_buf_puts(out, "function __evrt_keys; string split ' ' '");
    put_keys(out, true);
    evrt_buf_puts(out, "'; end\n");
    for (const struct evrt_command *c = evrt_commands; c->name != NULL; c++) {
        evrt_buf_printf(out, "complete -c evrt -n __fish_use_subcommand -f -a %s -d ", c->name);
        put_quoted(out, c->brief, "\\'");
        evrt_buf_putc(out, '\n');
        put_fish_words(out, c);
        put_fish_options(out, c->name, c->options);
        put_fish_options(out, c->name, evrt_cli_common);
    }
}

int evrt_help_completion(const char *shell, struct evrt_buf *out) {
    static const struct {
        const char *name;
        void (*put)(struct evrt_buf *out);
    } shells[] = {{"bash", put_bash}, {"zsh", put_zsh}, {"fish", put_fish}};
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
        if (strcmp(shells[i].name, shell) == 0) {
            shells[i].put(out);
            return 0;
        }
    return -ENOENT;
}

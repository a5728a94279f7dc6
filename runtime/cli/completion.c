/* Shell completion for bash, zsh and fish. See help.h. */
#include <errno.h>

#include "cli/cli.h"
#include "cli/help.h"

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

static void put_bash(struct evrt_buf *out) {
    evrt_buf_puts(out, "# bash completion for evrt\n"
                       "_evrt() {\n"
                       "    local cur=${COMP_WORDS[COMP_CWORD]} options='' words=''\n"
                       "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                       "        mapfile -t COMPREPLY < <(compgen -W '");
    put_names(out);
    evrt_buf_puts(out, "' -- \"$cur\")\n        return\n    fi\n"
                       "    case ${COMP_WORDS[1]} in\n");
    for (const struct evrt_command *c = evrt_commands; c->name != NULL; c++) {
        evrt_buf_printf(out, "    %s) options='", c->name);
        put_dashed(out, c->options);
        put_dashed(out, evrt_cli_common);
        out->n--;
        evrt_buf_puts(out, "' words='");
        put_words(out, c);
        evrt_buf_puts(out, "' ;;\n");
    }
    evrt_buf_puts(out, "    esac\n"
                       "    case $cur in\n"
                       "    -*) words=$options ;;\n"
                       "    esac\n"
                       "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
                       "}\n"
                       "complete -o default -F _evrt evrt\n");
}

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

static void put_zsh(struct evrt_buf *out) {
    evrt_buf_puts(out, "#compdef evrt\n"
                       "_evrt() {\n"
                       "    local -a commands options arguments\n"
                       "    if ((CURRENT == 2)); then\n"
                       "        commands=(");
    for (const struct evrt_command *c = evrt_commands; c->name != NULL; c++) {
        evrt_buf_putc(out, ' ');
        put_zsh_text(out, c->name, c->brief);
    }
    evrt_buf_puts(out, ")\n        _describe command commands\n        return\n    fi\n"
                       "    case $words[2] in\n");
    for (const struct evrt_command *c = evrt_commands; c->name != NULL; c++) {
        evrt_buf_printf(out, "    %s) options=(", c->name);
        put_zsh_options(out, c->options);
        put_zsh_options(out, evrt_cli_common);
        evrt_buf_puts(out, ") arguments=(");
        put_words(out, c);
        evrt_buf_puts(out, ") ;;\n");
    }
    evrt_buf_puts(out, "    esac\n"
                       "    if [[ $PREFIX == -* ]]; then\n"
                       "        _describe option options\n"
                       "    elif ((CURRENT == 3 && $#arguments)); then\n"
                       "        _describe argument arguments\n"
                       "    else\n"
                       "        _files\n"
                       "    fi\n"
                       "}\n"
                       "_evrt \"$@\"\n");
}

static void put_fish_options(struct evrt_buf *out, const char *command,
                             const struct evrt_cli_option *o) {
    for (; o->name != NULL; o++) {
        evrt_buf_printf(out, "complete -c evrt -n '__fish_seen_subcommand_from %s' -l %s", command,
                        o->name);
        if (o->letter != 0) evrt_buf_printf(out, " -s %c", o->letter);
        if (o->arg != NULL) evrt_buf_puts(out, " -r");
        evrt_buf_puts(out, " -d ");
        put_quoted(out, o->help, "\\'");
        evrt_buf_putc(out, '\n');
    }
}

static void put_fish(struct evrt_buf *out) {
    evrt_buf_puts(out, "# fish completion for evrt\n");
    for (const struct evrt_command *c = evrt_commands; c->name != NULL; c++) {
        evrt_buf_printf(out, "complete -c evrt -n __fish_use_subcommand -f -a %s -d ", c->name);
        put_quoted(out, c->brief, "\\'");
        evrt_buf_putc(out, '\n');
        size_t before = out->n;
        evrt_buf_printf(out, "complete -c evrt -n '__fish_seen_subcommand_from %s' -a '", c->name);
        size_t start = out->n;
        put_words(out, c);
        if (out->n == start)
            out->n = before;
        else
            evrt_buf_puts(out, "'\n");
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

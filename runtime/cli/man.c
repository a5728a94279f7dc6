/* The manual page evrt(1), in roff. See help.h. */
#include "cli/cli.h"
#include "cli/help.h"
#include "config/options.h"

/* Text as roff takes it literally; each '\n' begins a paragraph. */
static void put_text(struct evrt_buf *out, const char *text) {
    bool start = true;
    for (; *text != '\0'; text++) {
        if (start && (*text == '.' || *text == '\'')) evrt_buf_puts(out, "\\&");
        start = *text == '\n';
        if (*text == '\\')
            evrt_buf_puts(out, "\\e");
        else if (*text == '-')
            evrt_buf_puts(out, "\\-");
        else if (*text == '\'')
            evrt_buf_puts(out, "\\(aq");
        else if (start)
            evrt_buf_puts(out, "\n.PP\n");
        else
            evrt_buf_putc(out, *text);
    }
    evrt_buf_putc(out, '\n');
}

static void put_bold(struct evrt_buf *out, const char *text) {
    evrt_buf_puts(out, "\\fB");
    put_text(out, text);
    out->n--; /* the line goes on */
    evrt_buf_puts(out, "\\fR\n");
}

static void put_item(struct evrt_buf *out, const char *term, const char *text) {
    evrt_buf_puts(out, ".TP\n");
    put_bold(out, term);
    put_text(out, text);
}

static void put_options(struct evrt_buf *out, const struct evrt_cli_option *o) {
    struct evrt_buf term;
    evrt_buf_init(&term);
    for (; o->name != NULL; o++) {
        evrt_buf_clear(&term);
        evrt_help_option(o, &term);
        put_item(out, evrt_buf_cstr(&term), o->help);
    }
    evrt_buf_finish(&term);
}

static void put_commands(struct evrt_buf *out) {
    struct evrt_buf term;
    evrt_buf_init(&term);
    evrt_buf_puts(out, ".SH COMMANDS\n");
    for (const struct evrt_command *c = evrt_commands; c->name != NULL; c++) {
        evrt_buf_clear(&term);
        evrt_buf_printf(&term, "evrt %s%s%s", c->name, *c->args ? " " : "", c->args);
        evrt_buf_puts(out, ".SS ");
        put_text(out, evrt_buf_cstr(&term));
        put_text(out, c->brief);
        if (c->text != NULL) {
            evrt_buf_puts(out, ".PP\n");
            put_text(out, c->text);
        }
        put_options(out, c->options);
    }
    evrt_buf_finish(&term);
}

static void put_keys(struct evrt_buf *out) {
    struct evrt_buf text;
    evrt_buf_init(&text);
    evrt_buf_puts(out, ".SH CONFIGURATION\n");
    put_text(out, "YAML; each key below, with its default. A dot stands for a section. Relative "
                  "paths are relative to the file.");
    for (size_t i = 0; i < EVRT_OPTION_COUNT; i++) {
        const struct evrt_option *o = &evrt_options[i];
        evrt_buf_clear(&text);
        evrt_buf_printf(&text, "%s: %s", o->key, o->def[0] != '\0' ? o->def : "\"\"");
        evrt_buf_puts(out, ".TP\n");
        put_bold(out, evrt_buf_cstr(&text));
        evrt_buf_clear(&text);
        evrt_buf_printf(&text, "%s Expects ", o->help);
        evrt_option_expects(o, &text);
        evrt_buf_putc(&text, '.');
        put_text(out, evrt_buf_cstr(&text));
    }
    evrt_buf_finish(&text);
}

static void put_rest(struct evrt_buf *out) {
    evrt_buf_puts(out, ".SH SIGNALS\n");
    put_item(out, "SIGTERM, SIGINT", "Drain and exit 0; a second one exits at once, consistent.");
    put_item(out, "SIGUSR1", "Open log files anew.");
    evrt_buf_puts(out, ".SH EXIT STATUS\n");
#define X(name, code, when) put_item(out, #code, when);
    EVRT_EXITS(X)
#undef X
    evrt_buf_puts(out, ".SH ENVIRONMENT\n");
    put_item(out, "EVRT_SET_KEY__SUB", "Sets the configuration key key.sub; --set beats it.");
    put_item(out, "EVRT_TOKEN", "Bearer token that commands show to a node.");
    put_item(out, "NO_COLOR", "When set: no colours.");
    put_item(out, "TERM", "dumb: plain lines, as when output goes to a file.");
    put_item(out, "NOTIFY_SOCKET, WATCHDOG_USEC", "Set by systemd for Type=notify.");
    evrt_buf_puts(out, ".SH FILES\n");
    put_item(out, "conf/evrt.yaml, /etc/evrt/evrt.yaml",
             "The configuration, when none is named: the first that exists.");
}

void evrt_help_man(struct evrt_buf *out) {
    evrt_buf_puts(out, ".TH EVRT 1 \"\" \"evrt " EVRT_VERSION "\"\n.SH NAME\n"
                       "evrt \\- durable event runtime with Lua handlers\n.SH SYNOPSIS\n");
    for (const struct evrt_command *c = evrt_commands; c->name != NULL; c++) {
        evrt_buf_printf(out, "\\fBevrt %s\\fR ", c->name);
        put_text(out, c->args);
        evrt_buf_puts(out, ".br\n");
    }
    evrt_buf_puts(out, ".SH DESCRIPTION\n");
    put_text(out, "evrt takes events in over HTTP, stores them durably and hands each to the Lua "
                  "handlers that match its type, in worker processes. An event that was "
                  "acknowledged is not lost: not by a crash, nor by a handler that fails.");
    put_commands(out);
    put_keys(out);
    put_rest(out);
}

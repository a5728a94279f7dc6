/* evrt help. See help.h. */
#include "cli/help.h"

#include "cli/cli.h"
#include "cli/commands.h"
#include "config/config.h"
#include "config/options.h"
#include "core/jsonout.h"
#include "core/wrap.h"

#define WIDTH 90

void evrt_help_option(const struct evrt_cli_option *o, struct evrt_buf *out) {
    if (o->letter != 0) evrt_buf_printf(out, "-%c, ", o->letter);
    evrt_buf_printf(out, "--%s", o->name);
    if (o->arg != NULL) evrt_buf_printf(out, " %s", o->arg);
}

static void put_options(const struct evrt_cli_option *o, struct evrt_buf *out) {
    for (; o->name != NULL; o++) {
        evrt_buf_puts(out, o->letter != 0 ? "  " : "      ");
        evrt_help_option(o, out);
        evrt_buf_putc(out, '\n');
        evrt_wrap(out, "          ", WIDTH, o->help);
    }
}

static void put_command(const struct evrt_command *c, struct evrt_buf *out) {
    const char *options = c->options->name != NULL ? " [OPTIONS]" : "";
    evrt_buf_printf(out, "Usage: evrt %s%s%s%s%s\n\n%s\n", c->name, c->rest ? options : "",
                    *c->args ? " " : "", c->args, c->rest ? "" : options, c->brief);
    if (c->text != NULL) {
        evrt_buf_putc(out, '\n');
        evrt_wrap(out, "", WIDTH, c->text);
    }
    evrt_buf_puts(out, "\nOptions:\n");
    put_options(c->options, out);
    put_options(evrt_cli_common, out);
}

static void put_overview(struct evrt_buf *out) {
    evrt_buf_puts(out, "Usage: evrt COMMAND [ARGUMENTS] [OPTIONS]\n\n"
                       "Events that must not be lost, handled by Lua scripts.\n\nCommands:\n");
    for (const struct evrt_command *c = evrt_commands; c->name != NULL; c++)
        evrt_buf_printf(out, "  %-12s  %s\n", c->name, c->brief);
    evrt_buf_puts(out, "\nevrt help COMMAND tells more; evrt help config shows every "
                       "configuration key.\n\nExit codes:\n");
#define X(name, code, when) evrt_buf_printf(out, "  %-12d  %s\n", code, when);
    EVRT_EXITS(X)
#undef X
}

static void put_key(struct evrt_jsonout *o, const struct evrt_option *option,
                    struct evrt_buf *expects) {
    evrt_buf_clear(expects);
    evrt_option_expects(option, expects);
    evrt_jsonout_object(o);
    evrt_jsonout_put_cstr(o, "key", option->key);
    evrt_jsonout_put_cstr(o, "default", option->def);
    evrt_jsonout_put_str(o, "expects", evrt_buf_slice(expects));
    evrt_jsonout_put_bool(o, "reloadable", option->reloadable);
    evrt_jsonout_put_bool(o, "secret", option->secret);
    evrt_jsonout_put_cstr(o, "help", option->help);
    evrt_jsonout_end(o);
}

static void put_keys(struct evrt_buf *out) {
    struct evrt_buf expects;
    evrt_buf_init(&expects);
    struct evrt_jsonout o = evrt_jsonout_start(out);
    evrt_jsonout_object(&o);
    evrt_jsonout_key(&o, "items");
    evrt_jsonout_array(&o);
    for (size_t i = 0; i < EVRT_OPTION_COUNT; i++)
        put_key(&o, &evrt_options[i], &expects);
    evrt_jsonout_end(&o);
    evrt_jsonout_end(&o);
    evrt_buf_putc(out, '\n');
    evrt_buf_finish(&expects);
}

static int put_topic(const struct evrt_cli *cli, const char *topic, struct evrt_buf *out) {
    const struct evrt_command *c = topic == NULL ? NULL : evrt_command_find(topic);
    if (topic == NULL) {
        put_overview(out);
    } else if (strcmp(topic, "config") == 0) {
        if (evrt_cli_has(cli, "json"))
            put_keys(out);
        else
            evrt_config_reference(out);
    } else if (c != NULL) {
        put_command(c, out);
    } else {
        const char *near = evrt_command_nearest(topic);
        return evrt_cli_usage(cli, "no command \"%s\"%s%s", topic,
                              *near == '\0' ? "" : "; the nearest is ", near);
    }
    return EVRT_EXIT_OK;
}

int evrt_cli_help(struct evrt_cli *cli) {
    const char *shell = evrt_cli_get(cli, "completion");
    struct evrt_buf out;
    int rc = EVRT_EXIT_OK;
    evrt_buf_init(&out);
    if (evrt_cli_has(cli, "man"))
        evrt_help_man(&out);
    else if (shell != NULL && evrt_help_completion(shell, &out) < 0)
        rc = evrt_cli_usage(cli, "--completion: expected bash, zsh or fish, got \"%s\"", shell);
    else if (shell == NULL)
        rc = put_topic(cli, cli->nargs > 0 ? cli->args[0] : NULL, &out);
    if (rc == EVRT_EXIT_OK) rc = evrt_cli_print(&out);
    evrt_buf_finish(&out);
    return rc;
}

/* evrt check: the configuration and the scripts, loaded as run would, and every error told. */
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/view.h"
#include "config/config.h"
#include "core/jsonout.h"

/* What was found: printed at once for people, or gathered as JSON. */
struct check {
    bool json;
    unsigned errors;
    struct evrt_buf out;
    struct evrt_jsonout o;
};

static void each(void *arg, const struct evrt_error *err) {
    struct check *c = arg;
    c->errors++;
    if (!c->json) {
        evrt_cli_error(EVRT_EXIT_CONFIG, err);
        return;
    }
    evrt_jsonout_object(&c->o);
    evrt_jsonout_put_cstr(&c->o, "file", err->file[0] != '\0' ? err->file : NULL);
    evrt_jsonout_key(&c->o, "line");
    if (err->line > 0)
        evrt_jsonout_i64(&c->o, err->line);
    else
        evrt_jsonout_null(&c->o);
    evrt_jsonout_put_cstr(&c->o, "message", err->message);
    evrt_jsonout_end(&c->o);
}

/* All of the configuration's errors; evrt_create() tells the first. */
static int check_config(const char *file, const struct evrt_cli *cli, struct check *c) {
    struct evrt_config config;
    struct evrt_config_source source = {
        .file = file,
        .environment = (const char *const *)environ,
        .overrides = cli->overrides,
        .each = each,
        .arg = c,
    };
    int rc = evrt_config_load_from(&config, &source, NULL);
    if (rc == 0) evrt_config_finish(&config);
    return rc;
}

static void check_scripts(const char *file, const struct evrt_cli *cli, struct check *c,
                          unsigned *handlers) {
    struct evrt *rt;
    struct evrt_error err = {0};
    struct evrt_options options = {.overrides = (const char *const *)cli->overrides};
    if (evrt_create(&rt, file, &options, &err) < 0) {
        each(c, &err);
        return;
    }
    if (evrt_check(rt, each, c, handlers) < 0 && c->errors == 0) {
        snprintf(err.message, sizeof err.message, "the handlers cannot be checked");
        each(c, &err);
    }
    evrt_destroy(rt);
}

static int finish_json(struct check *c, unsigned handlers) {
    evrt_jsonout_end(&c->o);
    evrt_jsonout_put_u64(&c->o, "handlers", handlers);
    evrt_jsonout_put_bool(&c->o, "ok", c->errors == 0);
    evrt_jsonout_end(&c->o);
    evrt_buf_putc(&c->out, '\n');
    return evrt_cli_print(&c->out);
}

int evrt_cli_check(struct evrt_cli *cli) {
    const char *file = evrt_cli_need_config(cli);
    unsigned handlers = 0;
    struct check c = {.json = evrt_cli_has(cli, "json")};
    int rc = EVRT_EXIT_OK;
    if (file == NULL) return EVRT_EXIT_CONFIG;
    evrt_buf_init(&c.out);
    c.o = evrt_jsonout_start(&c.out);
    if (c.json) {
        evrt_jsonout_object(&c.o);
        evrt_jsonout_key(&c.o, "errors");
        evrt_jsonout_array(&c.o);
    }
    if (check_config(file, cli, &c) == 0) check_scripts(file, cli, &c, &handlers);
    if (c.json) {
        rc = finish_json(&c, handlers);
    } else if (c.errors == 0) {
        evrt_buf_puts(&c.out, "ok: ");
        evrt_view_count(handlers, "handler", &c.out);
        evrt_buf_putc(&c.out, '\n');
        rc = evrt_cli_print(&c.out);
    }
    evrt_buf_finish(&c.out);
    return c.errors > 0 ? EVRT_EXIT_CONFIG : rc;
}

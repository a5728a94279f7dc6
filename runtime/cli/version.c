/* evrt version: what this binary is made of, for bug reports. */
#include <uv.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "core/jsonout.h"
#include "evrt.h"
#include "http/http.h"
#include "state/state.h"
#include "worker/worker.h"

#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "GCC " __VERSION__
#endif

static const char *compiler(void) {
    return COMPILER;
}

static const char *build(void) {
    return EVRT_BUILD_TYPE;
}

static const struct part {
    const char *name, *key;
    const char *(*version)(void);
} parts[] = {
    {"evrt", "version", evrt_version},
    {"LuaJIT", "luajit", evrt_worker_library},
    {"libuv", "libuv", uv_version_string},
    {"libmicrohttpd", "libmicrohttpd", evrt_http_library},
    {"SQLite", "sqlite", evrt_state_library},
    {"compiler", "compiler", compiler},
    {"build", "build", build},
};

int evrt_cli_version(struct evrt_cli *cli) {
    struct evrt_buf out;
    evrt_buf_init(&out);
    bool json = evrt_cli_has(cli, "json");
    struct evrt_jsonout o = evrt_jsonout_start(&out);
    if (json) evrt_jsonout_object(&o);
    for (const struct part *p = parts; p < parts + sizeof parts / sizeof parts[0]; p++) {
        if (!json) {
            evrt_buf_printf(&out, "%s %s\n", p->name, p->version());
            continue;
        }
        evrt_jsonout_put_cstr(&o, p->key, p->version());
    }
    if (json) {
        evrt_jsonout_end(&o);
        evrt_buf_putc(&out, '\n');
    }
    int rc = evrt_cli_print(&out);
    evrt_buf_finish(&out);
    return rc;
}

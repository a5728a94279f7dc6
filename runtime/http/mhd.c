/* See mhd.h. */
#include "http/mhd.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>

#include "core/error.h"
#include "http/http.h"

int evrt_mhd_open(struct evrt_mhd *m, struct evrt_error *err) {
    *m = (struct evrt_mhd){.library = dlopen("libmicrohttpd.so.12", RTLD_NOW | RTLD_LOCAL)};
    bool all = m->library != NULL;
#define X(name)                                               \
    if (all) {                                                \
        *(void **)&m->name = dlsym(m->library, "MHD_" #name); \
        all = m->name != NULL;                                \
    }
    EVRT_MHD_FUNCTIONS(X)
#undef X
    if (all) return 0;
    const char *why = dlerror();
    return evrt_error_set(err, -ENOENT, "libmicrohttpd is needed (package libmicrohttpd12): %s",
                          why != NULL ? why : "a function is missing in it");
}

const char *evrt_http_library(void) {
    struct evrt_mhd m;
    struct evrt_error err;
    return evrt_mhd_open(&m, &err) < 0 ? "not found" : m.get_version();
}

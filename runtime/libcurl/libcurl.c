/* See libcurl.h. */
#include "libcurl/libcurl.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>

#include "core/error.h"

int evrt_curl_open(struct evrt_curl *c, struct evrt_error *err) {
    *c = (struct evrt_curl){.library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL)};
    bool all = c->library != NULL;
#define X(name, result, parameters)                            \
    if (all) {                                                 \
        *(void **)&c->name = dlsym(c->library, "curl_" #name); \
        all = c->name != NULL;                                 \
    }
    EVRT_CURL_FUNCTIONS(X)
#undef X
    if (all) return 0;
    const char *why = dlerror();
    return evrt_error_set(err, -ENOENT, "libcurl is needed (package libcurl4): %s",
                          why != NULL ? why : "a function is missing in it");
}

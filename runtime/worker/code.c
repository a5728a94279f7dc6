/* See code.h. */
#include "worker/code.h"

#include <errno.h>
#include <uv.h>

/* Those that libuv has no name for, or another than scripts know. */
static const struct {
    int status;
    const char *name;
} own[] = {{-EBADMSG, "EBADMSG"}, {-EDEADLK, "EDEADLK"}, {-ELOOP, "EHOPS"}, {-ESTALE, "ESTALE"}};

const char *evrt_code_name(int status) {
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (own[i].status == status) return own[i].name;
    return uv_err_name(status);
}

/* libmicrohttpd, opened by name by who listens: workers are of the same binary and do not, and the TLS library
 * and its company that it brings along were half of the CPU that a worker's start costs. The table below is
 * every function that evrt calls. Never closed, as libcurl is not. */
#ifndef EVRT_HTTP_MHD_H
#define EVRT_HTTP_MHD_H

#include <microhttpd.h>

#include "evrt.h"

/* clang-format off */
#define EVRT_MHD_FUNCTIONS(X)                                                                        \
    X(start_daemon) X(stop_daemon) X(quiesce_daemon) X(run) X(get_timeout) X(get_daemon_info)        \
    X(get_connection_info) X(get_connection_values_n) X(suspend_connection) X(resume_connection)     \
    X(queue_response) X(create_response_from_buffer) X(create_response_from_callback)                \
    X(add_response_header) X(destroy_response) X(get_version)
/* clang-format on */

struct evrt_mhd {
    void *library;
#define X(name) __typeof__(MHD_##name) *name;
    EVRT_MHD_FUNCTIONS(X)
#undef X
};

/* -ENOENT with what to install. */
EVRT_MUST_CHECK int evrt_mhd_open(struct evrt_mhd *m, struct evrt_error *err);

#endif

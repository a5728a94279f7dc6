/* Listening sockets. Any thread. */
#ifndef EVRT_HTTP_LISTEN_H
#define EVRT_HTTP_LISTEN_H

#include "config/config.h"

/* A bound, listening, non-blocking, close-on-exec TCP socket, or a negative errno. -EADDRINUSE: err names
 * the address and, where /proc tells, the process that has it. */
EVRT_MUST_CHECK int evrt_listen(const struct evrt_address *address, struct evrt_error *err);

/* What the kernel knows of a connection: bytes received in all, and how long ago the last. -errno. */
struct evrt_received {
    uint64_t bytes;
    int64_t last_ms_ago;
};
EVRT_MUST_CHECK int evrt_received(int fd, struct evrt_received *out);

/* The port that `fd` is bound to. */
uint16_t evrt_listen_port(int fd);

/* "127.0.0.1:8080" or "[::1]:8080". Returns buf. */
#define EVRT_PEER_SIZE 64
struct sockaddr;
char *evrt_peer_format(const struct sockaddr *address, char buf[EVRT_PEER_SIZE]);

#endif

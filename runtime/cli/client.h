/* The command line's HTTP client: libcurl, loaded when a command first needs it. One thread. */
#ifndef EVRT_CLI_CLIENT_H
#define EVRT_CLI_CLIENT_H

#include <stdbool.h>

#include "core/buf.h"

struct evrt_cli;

/* A node's listener, as the options, the configuration and the environment name it. */
struct evrt_node {
    char *url;   /* "http://127.0.0.1:8080", without a slash at the end */
    char *token; /* NULL: none */
};
enum evrt_listener { EVRT_LISTENER_HTTP, EVRT_LISTENER_ADMIN };

/* An exit code; told when it is not EVRT_EXIT_OK. */
EVRT_MUST_CHECK int evrt_node_find(struct evrt_node *node, const struct evrt_cli *cli,
                                   enum evrt_listener listener);
void evrt_node_finish(struct evrt_node *node);

struct evrt_request {
    const char *path;               /* with the query: "/api/v1/stats" */
    const struct evrt_buf *headers; /* "Name: value\0" each; NULL: none */
    struct evrt_slice body;
    bool post;
    const char *method; /* with post: another one; NULL: POST */
    int64_t timeout_ms;
    long refusal; /* a status beside 2xx whose body is given, too; 0: none */
    long *status; /* of the answer; may be NULL */
};

/* Sends the request. EVRT_EXIT_OK: answered 2xx, the body is in out. EVRT_EXIT_UNREACHABLE: no answer;
 * EVRT_EXIT_FAILED: refused by the node. Both are told. */
EVRT_MUST_CHECK int evrt_client_send(const struct evrt_node *node,
                                     const struct evrt_request *request, struct evrt_buf *out);

/* Sends the request and gives each line of the answer, without its end, as it comes; a negative result of
 * `line` ends it. Ctrl-C or SIGTERM ends it, too, and sets *interrupted. Exit codes as above. */
EVRT_MUST_CHECK int evrt_client_stream(const struct evrt_node *node,
                                       const struct evrt_request *request,
                                       int (*line)(void *arg, struct evrt_slice line), void *arg,
                                       bool *interrupted);

/* Appends text percent-encoded for a query ("user.*" stays, ' ' and '&' do not). */
void evrt_client_query(struct evrt_buf *out, struct evrt_slice text);

#endif

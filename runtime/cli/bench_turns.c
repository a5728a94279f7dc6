/* See bench.h. Turns that somebody else paces, by lines on standard input: two nodes can so be measured in turns
 * of a fraction of a second, which is how to see less than a machine's speed changes by. The node's loop goes on
 * while the next line is waited for. */
#include "cli/bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void on_input(uv_poll_t *poll, int status, int events) {
    struct bench_turns *t = poll->data;
    char room[256];
    (void)events;
    ssize_t n = status < 0 ? 0 : read(STDIN_FILENO, room, sizeof room);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n > 0) {
        evrt_buf_put(&t->in, room, (size_t)n);
        return;
    }
    t->ended = true;
    uv_poll_stop(poll);
}

static void on_closed(uv_handle_t *handle) {
    struct bench_turns *t = handle->data;
    t->closed = true;
}

int bench_turns_begin(struct bench_turns *t, uv_loop_t *loop) {
    *t = (struct bench_turns){.loop = loop};
    evrt_buf_init(&t->in);
    int rc = uv_poll_init(loop, &t->poll, STDIN_FILENO);
    if (rc < 0) return rc;
    t->poll.data = t;
    rc = uv_poll_start(&t->poll, UV_READABLE, on_input);
    if (rc < 0) bench_turns_end(t);
    return rc;
}

void bench_turns_end(struct bench_turns *t) {
    uv_close((uv_handle_t *)&t->poll, on_closed);
    while (!t->closed)
        uv_run(t->loop, UV_RUN_ONCE);
    evrt_buf_finish(&t->in);
}

/* PHASE MILLISECONDS; the line is over at `end`. */
static int parse(struct bench_turns *t, char *line, char *end, struct bench_turn *out) {
    *end = '\0';
    char *space = strchr(line, ' '), *rest = NULL;
    if (space == NULL) return -EINVAL;
    *space = '\0';
    long ms = strtol(space + 1, &rest, 10);
    if (rest == space + 1 || *rest != '\0' || ms < 1 || ms > 3600000) return -EINVAL;
    snprintf(out->phase, sizeof out->phase, "%s", line);
    out->seconds = (double)ms / 1000;
    t->at += (size_t)(end + 1 - line);
    return 1;
}

int bench_turns_next(struct bench_turns *t, struct bench_turn *out) {
    for (;;) {
        char *line = t->in.p + t->at;
        char *end = t->in.n == t->at ? NULL : memchr(line, '\n', t->in.n - t->at);
        if (end != NULL) return parse(t, line, end, out);
        if (t->ended) return 0;
        uv_run(t->loop, UV_RUN_ONCE);
    }
}

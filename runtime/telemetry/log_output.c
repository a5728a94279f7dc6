/* See log_output.h. What is not a regular file may block, and may be shared with other processes, so it is
 * written in pieces of whole lines that a pipe takes at once and atomically, each after poll() says there is
 * room. (O_NONBLOCK would do it too, but it is set on the open file, which others share.) */
#include "telemetry/log_output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/error.h"

/* O_NONBLOCK: a fifo that nobody reads is an error now, not a start that hangs. */
static int open_file(const char *path) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    return fd < 0 ? -errno : fd;
}

static void look_at(struct evrt_log_output *o) {
    struct stat st;
    o->regular = fstat(o->fd, &st) == 0 && S_ISREG(st.st_mode);
}

int evrt_log_output_open(struct evrt_log_output *o, const char *path, struct evrt_error *err) {
    *o = (struct evrt_log_output){0};
    if (strcmp(path, "stdout") == 0) {
        o->fd = STDOUT_FILENO;
    } else if (strcmp(path, "stderr") == 0) {
        o->fd = STDERR_FILENO;
    } else {
        o->fd = open_file(path);
        if (o->fd < 0)
            return evrt_error_set(err, o->fd,
                                  "cannot open log file %s: %s (logging.outputs takes stdout, "
                                  "stderr or a file in a folder that exists)",
                                  path, strerror(-o->fd));
        o->file = true;
    }
    o->path = evrt_strdup(path);
    look_at(o);
    return 0;
}

void evrt_log_output_close(struct evrt_log_output *o) {
    if (o->file) close(o->fd);
    free(o->path);
    o->path = NULL;
}

int evrt_log_output_reopen(struct evrt_log_output *o) {
    if (!o->file) return 0;
    int fd = open_file(o->path);
    if (fd < 0) return fd;
    close(o->fd);
    o->fd = fd;
    o->torn = false;
    o->stalled = false;
    look_at(o);
    return 0;
}

bool evrt_log_output_is_terminal(const struct evrt_log_output *o) {
    return isatty(o->fd) == 1;
}

/* 0 when it can be written to. */
static int wait_writable(struct evrt_log_output *o, bool (*wait)(void *arg), void *arg) {
    if (o->regular) return 0;
    struct pollfd p = {.fd = o->fd, .events = POLLOUT};
    for (;;) {
        int rc = poll(&p, 1, o->stalled ? 0 : 20);
        if (rc > 0) {
            o->stalled = false;
            return 0;
        }
        if (rc < 0 && errno != EINTR) return -errno;
        if (o->stalled || !wait(arg)) {
            o->stalled = true;
            return -EAGAIN;
        }
    }
}

bool evrt_log_output_takes_again(const struct evrt_log_output *o) {
    struct pollfd p = {.fd = o->fd, .events = POLLOUT};
    return o->stalled && poll(&p, 1, 0) > 0;
}

/* As many whole lines as are sure to be taken without waiting, or a part of one that is longer. */
static size_t piece(const struct evrt_log_output *o, const char *p, size_t n) {
    if (o->regular || n <= PIPE_BUF) return n;
    const char *end = memrchr(p, '\n', PIPE_BUF);
    return end != NULL ? (size_t)(end - p) + 1 : PIPE_BUF;
}

static uint64_t count_lines(const char *p, size_t n) {
    uint64_t lines = 0;
    for (const char *end = p + n; p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
        lines++;
    return lines;
}

/* One write of a piece; bytes taken, or a negative errno. */
static ssize_t write_piece(struct evrt_log_output *o, const char *p, size_t n,
                           bool (*wait)(void *arg), void *arg) {
    for (;;) {
        int rc = wait_writable(o, wait, arg);
        if (rc < 0) return rc;
        ssize_t done = write(o->fd, p, piece(o, p, n));
        if (done > 0) return done;
        if (done == 0) return -EIO;
        if (errno != EINTR && errno != EAGAIN) return -errno;
    }
}

uint64_t evrt_log_output_write(struct evrt_log_output *o, const char *p, size_t n,
                               bool (*wait)(void *arg), void *arg) {
    bool inside = o->torn;
    ssize_t done = 0;
    /* What a failure left of a line is ended first, so that the next one stands alone. */
    if (inside) done = write_piece(o, "\n", 1, wait, arg);
    if (done > 0) inside = false;
    while (done >= 0 && n > 0) {
        done = write_piece(o, p, n, wait, arg);
        if (done < 0) break;
        p += done;
        n -= (size_t)done;
        inside = n > 0 && p[-1] != '\n';
    }
    o->torn = done < 0 && inside;
    if (done >= 0) return 0;
    o->error = (int)done;
    return count_lines(p, n);
}

/* Loading the scripts once, in a worker of its own, before anything else is opened: `evrt check`, and the
 * first thing `evrt run` does. No loop: a pipe, a process, a deadline. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/scripts.h"

#include "core/clock.h"
#include "core/error.h"
#include "frame/frame.h"

extern char **environ;

static int start(int snapshot, const char *path, int *sock, pid_t *pid) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) return -errno;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", 0, 0);
    /* Through high numbers, in case one of the two stands where the other must go. */
    posix_spawn_file_actions_adddup2(&actions, pair[1], 100);
    posix_spawn_file_actions_adddup2(&actions, snapshot, 101);
    posix_spawn_file_actions_adddup2(&actions, 100, EVRT_FRAME_SOCKET_FD);
    posix_spawn_file_actions_adddup2(&actions, 101, EVRT_FRAME_SNAPSHOT_FD);
    posix_spawn_file_actions_addclosefrom_np(&actions, EVRT_FRAME_SNAPSHOT_FD + 1);
    char *argv[] = {(char *)"evrt", (char *)"worker", NULL};
    int rc = -posix_spawn(pid, path, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(pair[1]);
    if (rc < 0)
        close(pair[0]);
    else
        *sock = pair[0];
    return rc;
}

static int write_all(int fd, struct evrt_slice s) {
    while (s.n != 0) {
        ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) return -errno;
        if (n > 0) s.p += n, s.n -= (size_t)n;
    }
    return 0;
}

/* Reads until there is READY or REFUSED; logs of scripts that speak while loading are passed over. */
static int answer(int fd, int64_t deadline_ns, struct evrt_buf *in, struct evrt_frame *out) {
    for (;;) {
        int64_t n;
        while ((n = evrt_frame_take(evrt_buf_slice(in), '<', out)) > 0) {
            if (out->type == EVRT_FRAME_READY || out->type == EVRT_FRAME_REFUSED) return 0;
            evrt_buf_consume(in, (size_t)n);
        }
        if (n < 0) return -EPROTO;
        int64_t left = deadline_ns - evrt_mono_ns();
        struct pollfd p = {fd, POLLIN, 0};
        int64_t ms = left <= 0 ? 0 : left / 1000000 + 1;
        int ready = left <= 0 ? 0 : poll(&p, 1, ms > INT_MAX ? INT_MAX : (int)ms);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return ready < 0 ? -errno : -ETIMEDOUT;
        ssize_t got = read(fd, evrt_buf_room(in, 65536), 65536);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return -EPIPE;
        in->n += (size_t)got;
    }
}

static int explain(int rc, pid_t pid, int64_t timeout_ms, struct evrt_error *err) {
    int status = 0;
    if (rc == -ETIMEDOUT) kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (rc == -ETIMEDOUT)
        return evrt_error_set(err, -EINVAL,
                              "the scripts did not load within %lld ms (workers.stall_timeout): a "
                              "script loops or waits while it is loaded",
                              (long long)timeout_ms);
    if (rc == -EPIPE && WIFSIGNALED(status))
        return evrt_error_set(err, -EINVAL, "a script killed its worker while it was loaded (%s)",
                              strsignal(WTERMSIG(status)));
    if (rc == -EPIPE)
        return evrt_error_set(err, -EINVAL,
                              "a script ended its worker while it was loaded (exit code %d)",
                              WEXITSTATUS(status));
    if (rc < 0) return evrt_error_set(err, rc, "cannot load the scripts: %s", strerror(-rc));
    return 0;
}

int evrt_scripts_probe(struct evrt_scripts *s, const char *worker_path,
                       const struct evrt_frame_hello *hello, int64_t timeout_ms,
                       void (*each)(void *arg, const struct evrt_error *err), void *arg,
                       struct evrt_error *err) {
    int fd = -1;
    pid_t pid = -1;
    int rc = start(s->snapshot, worker_path, &fd, &pid);
    if (rc < 0)
        return evrt_error_set(err, rc, "cannot start a worker (%s): %s", worker_path,
                              strerror(-rc));
    struct evrt_buf in, out;
    struct evrt_frame frame = {0};
    evrt_buf_init(&in);
    evrt_buf_init(&out);
    evrt_frame_put_hello(&out, hello);
    rc = write_all(fd, evrt_buf_slice(&out));
    int64_t deadline_ns = timeout_ms == 0 ? INT64_MAX : evrt_mono_ns() + timeout_ms * 1000000;
    if (rc == 0) rc = answer(fd, deadline_ns, &in, &frame);
    close(fd); /* the worker ends when its socket does */
    rc = explain(rc, pid, timeout_ms, err);
    if (rc == 0 && frame.type == EVRT_FRAME_READY)
        rc = evrt_scripts_declared(s, frame.payload, err);
    if (rc == 0 && frame.type == EVRT_FRAME_REFUSED) {
        evrt_scripts_refused(frame.payload, each, arg, err);
        rc = -EINVAL;
    } else if (rc < 0 && each != NULL && err != NULL) {
        each(arg, err);
    }
    evrt_buf_finish(&in);
    evrt_buf_finish(&out);
    return rc;
}

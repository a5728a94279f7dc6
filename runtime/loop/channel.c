/* See channel.h. uv_poll and plain read/write rather than uv_pipe: one read takes what a turn needs
 * without an allocation per read, and one write carries everything put since the last. */
#include "loop/channel.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_SIZE = 256 * 1024,
    READS_PER_TURN = 4, /* then others get their turn; what is left makes poll ready again */
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct evrt_channel *c, int events) {
    if (c->ended || c->events == events) return;
    c->events = events;
    int rc = uv_poll_start(&c->poll, events, on_poll);
    assert(rc == 0);
}

static void end(struct evrt_channel *c, int status) {
    if (c->ended) return;
    c->ended = true;
    uv_poll_stop(&c->poll);
    c->on->on_end(c->arg, status);
}

/* Gives what is there to the owner; false when the channel is over. */
static bool deliver(struct evrt_channel *c) {
    int64_t n = c->on->on_data(c->arg, evrt_buf_slice(&c->in));
    if (c->ended) return false;
    if (n < 0) {
        end(c, (int)n);
        return false;
    }
    evrt_buf_consume(&c->in, (size_t)n);
    return true;
}

/* The peer is gone, which poll tells as an error, or read does once; what it had sent is still there. */
void evrt_channel_read_rest(struct evrt_channel *c) {
    bool reset = false;
    while (!c->ended) {
        ssize_t n = read(c->fd, evrt_buf_room(&c->in, READ_SIZE), READ_SIZE);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == ECONNRESET && !reset) {
            reset = true;
        } else if (n <= 0) {
            end(c, n == 0 || errno == ECONNRESET || errno == EAGAIN ? 0 : -errno);
        } else {
            c->in.n += (size_t)n;
            if (!deliver(c)) return;
        }
    }
}

void evrt_channel_read(struct evrt_channel *c) {
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t n = read(c->fd, evrt_buf_room(&c->in, READ_SIZE), READ_SIZE);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0 && errno == ECONNRESET) {
            evrt_channel_read_rest(c);
            return;
        }
        if (n <= 0) {
            end(c, n == 0 ? 0 : -errno);
            return;
        }
        c->in.n += (size_t)n;
        if (!deliver(c) || n < READ_SIZE) return;
    }
}

void evrt_channel_flush(struct evrt_channel *c) {
    while (!c->ended && c->written < c->out.n) {
        ssize_t n = send(c->fd, c->out.p + c->written, c->out.n - c->written, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) {
            watch(c, UV_READABLE | UV_WRITABLE);
            return;
        }
        /* A broken pipe is told by the read side, after the last frames that the peer sent. */
        if (n < 0) break;
        c->written += (size_t)n;
    }
    evrt_buf_clear(&c->out);
    c->written = 0;
    watch(c, UV_READABLE);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    struct evrt_channel *c = poll->data;
    if (status < 0) {
        evrt_channel_read_rest(c);
        return;
    }
    if (events & UV_READABLE) evrt_channel_read(c);
    if (!c->ended && (events & UV_WRITABLE)) evrt_channel_flush(c);
}

int evrt_channel_init(struct evrt_channel *c, uv_loop_t *loop, int fd,
                      const struct evrt_channel_events *on, void *arg) {
    *c = (struct evrt_channel){.fd = fd, .on = on, .arg = arg};
    int rc = uv_poll_init(loop, &c->poll, fd);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    c->poll.data = c;
    watch(c, UV_READABLE);
    return 0;
}

static void on_closed(uv_handle_t *handle) {
    struct evrt_channel *c = handle->data;
    evrt_buf_finish(&c->in);
    evrt_buf_finish(&c->out);
    if (c->on_closed != NULL) c->on_closed(c->arg);
}

void evrt_channel_close(struct evrt_channel *c, void (*cb)(void *arg)) {
    c->ended = true;
    c->on_closed = cb;
    /* uv_close stops the watching before the descriptor goes: libuv aborts on a polled fd that is closed. */
    uv_close((uv_handle_t *)&c->poll, on_closed);
    close(c->fd);
}

/* A socket to another process on the uv loop, for frames: everything that arrived is given at once,
 * everything put during a loop turn is written at once. Embedded; the loop's thread. */
#ifndef EVRT_LOOP_CHANNEL_H
#define EVRT_LOOP_CHANNEL_H

#include <stdbool.h>
#include <uv.h>

#include "core/buf.h"

struct evrt_channel;

struct evrt_channel_events {
    /* Bytes that have arrived and are not consumed yet; returns how many to consume (an incomplete
     * frame at the end stays), or a negative errno: the channel ends. */
    int64_t (*on_data)(void *arg, struct evrt_slice bytes);
    /* The other side went away (status 0), or reading, writing or on_data failed. Once; not after
     * close. The owner then calls close. */
    void (*on_end)(void *arg, int status);
};

struct evrt_channel {
    uv_poll_t poll;
    int fd;
    int events; /* what poll waits for */
    bool ended;
    struct evrt_buf in, out;
    size_t written; /* bytes of `out` that are gone already */
    const struct evrt_channel_events *on;
    void *arg;
    void (*on_closed)(void *arg);
};

/* Takes over the non-blocking socket `fd` (closed with the channel, also on failure). */
EVRT_MUST_CHECK int evrt_channel_init(struct evrt_channel *c, uv_loop_t *loop, int fd,
                                      const struct evrt_channel_events *on, void *arg);
/* Where to put frames. They leave at evrt_channel_flush(). */
static inline struct evrt_buf *evrt_channel_out(struct evrt_channel *c) {
    return &c->out;
}
/* Writes what was put; what the socket does not take now goes by itself later. Call at the end of a
 * turn, or when `out` has grown large. */
void evrt_channel_flush(struct evrt_channel *c);
/* Takes what has arrived, as a turn of the loop does: for an owner that waits without the loop. */
void evrt_channel_read(struct evrt_channel *c);
/* The other side is known to be gone: takes what it had sent, then on_end. */
void evrt_channel_read_rest(struct evrt_channel *c);
/* Bytes put and not yet taken by the socket. */
static inline size_t evrt_channel_backlog(const struct evrt_channel *c) {
    return c->out.n - c->written;
}
/* Ends the channel, drops what is unwritten; on_closed (may be NULL) is called when the memory of `c`
 * is free to go. */
void evrt_channel_close(struct evrt_channel *c, void (*on_closed)(void *arg));

#endif

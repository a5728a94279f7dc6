/* How fast one worker handles deliveries: starts `evrt worker` as the host does, keeps a window of
 * 300-byte events in flight, answers what is read, and counts what is done. Prints a JSON object: events per second, and the CPU
 * that the worker spent per event.
 *
 *     worker_bench [PROGRAM [EVENTS [WINDOW [SCRIPT [POLICY]]]]]     PROGRAM worker is run; default ./evrt
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/clock.h"
#include "core/event.h"
#include "frame/frame.h"
#include "frame/snapshot.h"

static const char default_script[] =
    "return { name = 'bench', events = 'bench.*', handle = function(event)\n"
    "  if event.data.user_id ~= 4711 then error 'wrong' end\n"
    "end }\n";

struct bench {
    int fd;
    pid_t pid;
    uint64_t sent, done, failed, total, window;
    struct evrt_buf in, out, event;
};

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int snapshot(const char *script, const char *policy) {
    struct evrt_buf b;
    evrt_buf_init(&b);
    evrt_snapshot_start(&b);
    evrt_snapshot_add(&b, &(struct evrt_snapshot_file){'h', EVRT_STR("bench.lua"), EVRT_STR(""),
                                                       evrt_slice_of(script)});
    if (policy != NULL)
        evrt_snapshot_add(&b, &(struct evrt_snapshot_file){'p', EVRT_STR("policy.lua"),
                                                           EVRT_STR(""), evrt_slice_of(policy)});
    int fd = evrt_snapshot_seal(&b);
    evrt_buf_finish(&b);
    if (fd < 0) die("snapshot");
    return fd;
}

static void start(struct bench *b, const char *program, const char *script, const char *policy) {
    int fds[2], scripts = snapshot(script, policy);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) die("socketpair");
    for (int i = 0; i < 2; i++) {
        int size = 1 << 20;
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
    b->pid = fork();
    if (b->pid < 0) die("fork");
    if (b->pid == 0) {
        int socket = fcntl(fds[1], F_DUPFD, 10), file = fcntl(scripts, F_DUPFD, 10);
        dup2(socket, EVRT_FRAME_SOCKET_FD);
        dup2(file, EVRT_FRAME_SNAPSHOT_FD);
        execlp(program, program, "worker", (char *)NULL);
        die(program);
    }
    close(fds[1]);
    close(scripts);
    b->fd = fds[0];
}

/* A 300-byte event as a backend's own look, data of 150 bytes and more. */
static void make_event(struct evrt_buf *out) {
    struct evrt_event e = {
        .id = EVRT_STR("0194a3c8-7a52-7cc1-9d2e-52a1c0de0001"),
        .type = EVRT_STR("bench.user_registered"),
        .source = EVRT_STR("/services/accounts"),
        .time = EVRT_STR("2025-01-07T10:30:45.123Z"),
        .data =
            EVRT_STR("{\"user_id\":4711,\"email\":\"someone@example.com\",\"name\":\"Some One\","
                     "\"roles\":[\"reader\",\"writer\"],\"address\":{\"city\":\"Lund\",\"zip\":"
                     "\"22100\"},\"active\":true,\"score\":0.75}"),
        .flags = EVRT_EVENT_JSON | EVRT_EVENT_HAS_DATA,
        .seq = 1,
    };
    size_t n = evrt_event_size(&e);
    evrt_event_encode(&e, evrt_buf_room(out, n));
    out->n += n;
}

static void write_all(struct bench *b) {
    size_t at = 0;
    while (at < b->out.n) {
        ssize_t n = write(b->fd, b->out.p + at, b->out.n - at);
        if (n < 0 && errno != EINTR) die("write");
        if (n > 0) at += (size_t)n;
    }
    evrt_buf_clear(&b->out);
}

static void fill_window(struct bench *b) {
    while (b->sent < b->total && b->sent - b->done - b->failed < b->window) {
        evrt_frame_put_deliver(&b->out, &(struct evrt_frame_deliver){
                                            .attempt = 1,
                                            .delivery = ++b->sent,
                                            .timeout_ms = 30000,
                                            .event = evrt_buf_slice(&b->event),
                                        });
    }
    write_all(b);
}

static void on_frame(struct bench *b, const struct evrt_frame *f) {
    struct evrt_frame_failed failed;
    struct evrt_frame_read read;
    if (f->type == EVRT_FRAME_EFFECTS) b->done++;
    if (f->type == EVRT_FRAME_READ && evrt_frame_get_read(f->payload, &read) == 0)
        evrt_frame_put_value(
            &b->out, &(struct evrt_frame_value){.token = read.token, .value = EVRT_STR("sread")});
    if (f->type == EVRT_FRAME_DONE) b->done += f->payload.n / EVRT_FRAME_DONE_ITEM;
    if (f->type == EVRT_FRAME_REFUSED) {
        fprintf(stderr, "refused: %.*s\n", (int)f->payload.n, f->payload.p);
        exit(1);
    }
    if (f->type == EVRT_FRAME_FAILED && evrt_frame_get_failed(f->payload, &failed) == 0 &&
        b->failed++ == 0)
        fprintf(stderr, "failed: %.*s\n", (int)failed.message.n, failed.message.p);
}

/* Takes what has come; waits for the first byte. */
static unsigned take(struct bench *b) {
    ssize_t n = read(b->fd, evrt_buf_room(&b->in, 1 << 16), 1 << 16);
    if (n <= 0) die("read");
    b->in.n += (size_t)n;
    struct evrt_slice rest = evrt_buf_slice(&b->in);
    struct evrt_frame f;
    int64_t used;
    unsigned frames = 0;
    while ((used = evrt_frame_take(rest, '<', &f)) > 0) {
        on_frame(b, &f);
        rest.p += used;
        rest.n -= (size_t)used;
        frames++;
    }
    if (used < 0) die("frame");
    evrt_buf_consume(&b->in, b->in.n - rest.n);
    return frames;
}

static double seconds(const struct timeval *t) {
    return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

int main(int argc, char **argv) {
    struct bench b = {.total = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000,
                      .window = argc > 3 ? strtoull(argv[3], NULL, 10) : 1024};
    start(&b, argc > 1 ? argv[1] : "./evrt", argc > 4 ? argv[4] : default_script,
          argc > 5 ? argv[5] : NULL);
    make_event(&b.event);
    struct evrt_frame_hello hello = {.concurrency = UINT32_MAX,
                                     .memory_limit = 256 << 20,
                                     .max_event_size = 1 << 20,
                                     .kv_max_key = 1024,
                                     .kv_max_value = 1 << 20,
                                     .kv_max_effects = 1 << 20,
                                     .max_hops = 16,
                                     .log_level = 1,
                                     .service = EVRT_STR("bench")};
    evrt_frame_put_hello(&b.out, &hello);
    write_all(&b);
    while (take(&b) == 0) /* READY */
        ;
    int64_t from = evrt_mono_ns();
    while (b.done + b.failed < b.total) {
        fill_window(&b);
        take(&b);
    }
    double elapsed = (double)(evrt_mono_ns() - from) / 1e9;
    close(b.fd);
    struct rusage usage;
    int status;
    if (wait4(b.pid, &status, 0, &usage) != b.pid) die("wait4");
    double cpu = seconds(&usage.ru_utime) + seconds(&usage.ru_stime);
    printf("{\"events_per_second\":%.0f,\"cpu_us_per_event\":%.3f,\"event_bytes\":%zu,"
           "\"max_rss_kib\":%ld}\n",
           (double)b.total / elapsed, cpu * 1e6 / (double)b.total, b.event.n, usage.ru_maxrss);
    return b.failed != 0 || status != 0;
}

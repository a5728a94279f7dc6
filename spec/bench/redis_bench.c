/* A peer under the load of `evrt bench`: Redis Streams, one consumer group. Publishes with XADD, reads with
 * XREADGROUP, acknowledges with XACK, on two connections of one process.
 *
 *     redis_bench PORT PID steady|flat RATE SECONDS SIZE
 *
 * steady: RATE messages a second, each millisecond as many as are due, as `evrt bench` does. flat: as many as it takes, at most 20,000
 * not consumed. Prints one JSON object: what a message needs from before XADD is written to when its reply
 * (durable) and the consumer's copy (handled) have been parsed, and CPU of server (process PID) and client.
 * Nothing handles the messages: the consumer only counts, where evrt runs a Lua handler. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"

enum { WINDOW = 20000, READ_COUNT = 1000, OUT_HIGH = 1 << 20 };

struct conn {
    int fd;
    struct evrt_buf in, out;
};

struct samples {
    int64_t *v;
    size_t n, cap;
};

struct bench {
    struct conn pub, con;
    bool flat;
    int64_t rate, start_ns, end_ns;
    struct evrt_buf payload;
    uint64_t sent, acked, consumed;
    int64_t sent_at[WINDOW * 4]; /* of XADDs without a reply, a ring */
    struct samples durable, handled;
};

static void die(const char *what) {
    fprintf(stderr, "redis_bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void add(struct samples *s, int64_t v) {
    if (s->n == s->cap) s->v = evrt_realloc(s->v, (s->cap = s->cap * 2 + 4096) * sizeof *s->v);
    s->v[s->n++] = v;
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static double at_us(struct samples *s, double q) {
    if (s->n == 0) return 0;
    qsort(s->v, s->n, sizeof *s->v, ascending);
    size_t i = (size_t)(q * (double)s->n);
    return (double)s->v[i < s->n ? i : s->n - 1] / 1e3;
}

/* ---- The protocol ---- */

/* Past the reply at p, or NULL when it is not all there. An error reply ends the program. */
static const char *skip(const char *p, const char *end) {
    const char *line = p == NULL || p >= end ? NULL : memchr(p, '\n', (size_t)(end - p));
    if (line == NULL) return NULL;
    long n = strtol(p + 1, NULL, 10);
    const char *next = line + 1;
    if (*p == '-') {
        fprintf(stderr, "redis_bench: %.*s\n", (int)(line - p), p);
        exit(1);
    }
    if (*p == '$' && n >= 0) return end - next < n + 2 ? NULL : next + n + 2;
    for (; *p == '*' && n > 0; n--)
        if ((next = skip(next, end)) == NULL) return NULL;
    return next;
}

/* The header of an array or string at *p, which moves past it. */
static long header(const char **p) {
    long n = strtol(*p + 1, NULL, 10);
    *p = (const char *)memchr(*p, '\n', 32) + 1;
    return n;
}

static void put_bulk(struct evrt_buf *out, struct evrt_slice s) {
    evrt_buf_putc(out, '$');
    evrt_buf_put_u64(out, s.n);
    evrt_buf_put(out, "\r\n", 2);
    evrt_buf_put(out, s.p, s.n);
    evrt_buf_put(out, "\r\n", 2);
}

static void put_command(struct evrt_buf *out, const char *const *words, size_t n) {
    evrt_buf_putc(out, '*');
    evrt_buf_put_u64(out, n);
    evrt_buf_put(out, "\r\n", 2);
    for (size_t i = 0; i < n; i++)
        put_bulk(out, evrt_slice_of(words[i]));
}
#define COMMAND(out, ...)                                  \
    put_command((out), (const char *const[]){__VA_ARGS__}, \
                sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void put_read(struct bench *b) {
    COMMAND(&b->con.out, "XREADGROUP", "GROUP", "g", "c", "COUNT", "1000", "BLOCK", "5000",
            "STREAMS", "s", ">");
}

static void publish(struct bench *b) {
    char stamp[24];
    int64_t now = evrt_mono_ns();
    snprintf(stamp, sizeof stamp, "%020lld", (long long)now);
    b->sent_at[b->sent++ % (WINDOW * 4)] = now;
    COMMAND(&b->pub.out, "XADD", "s", "*", "t", stamp, "d", evrt_buf_cstr(&b->payload));
}

/* ---- Connections ---- */

static void connect_to(struct conn *c, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    evrt_buf_init(&c->in);
    evrt_buf_init(&c->out);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) < 0) die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void flush(struct conn *c) {
    if (c->out.n == 0) return;
    ssize_t n = send(c->fd, c->out.p, c->out.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) die("send");
    if (n > 0) evrt_buf_consume(&c->out, (size_t)n);
}

static void receive(struct conn *c) {
    ssize_t n = recv(c->fd, evrt_buf_room(&c->in, 1 << 18), 1 << 18, MSG_DONTWAIT);
    if (n == 0) errno = ECONNRESET;
    if (n == 0 || (n < 0 && errno != EAGAIN)) die("recv");
    if (n > 0) c->in.n += (size_t)n;
}

static void call(struct conn *c) {
    while (c->out.n > 0)
        flush(c);
    const char *next;
    while ((next = skip(c->in.p, c->in.p + c->in.n)) == NULL) {
        poll(&(struct pollfd){.fd = c->fd, .events = POLLIN}, 1, -1);
        receive(c);
    }
    evrt_buf_consume(&c->in, (size_t)(next - c->in.p));
}

/* ---- The load ---- */

static void on_published(struct bench *b) {
    const char *p = b->pub.in.p, *end = p + b->pub.in.n, *next;
    int64_t now = evrt_mono_ns();
    for (; (next = skip(p, end)) != NULL; p = next)
        add(&b->durable, now - b->sent_at[b->acked++ % (WINDOW * 4)]);
    evrt_buf_consume(&b->pub.in, (size_t)(p - b->pub.in.p));
}

/* [[stream, [[id, [t, stamp, d, payload]] ...]]]: takes the stamps, acknowledges the ids. */
static void take_entries(struct bench *b, const char *p, const char *end) {
    int64_t now = evrt_mono_ns();
    if (*p != '*' || header(&p) < 1) return;
    header(&p);
    p = skip(p, end);
    long count = header(&p);
    struct evrt_buf *out = &b->con.out;
    evrt_buf_printf(out, "*%ld\r\n", 3 + count);
    put_bulk(out, EVRT_STR("XACK"));
    put_bulk(out, EVRT_STR("s"));
    put_bulk(out, EVRT_STR("g"));
    for (long i = 0; i < count; i++) {
        header(&p);
        const char *id = p;
        p = skip(p, end);
        evrt_buf_put(out, id, (size_t)(p - id));
        header(&p);
        p = skip(p, end); /* t */
        const char *stamp = p;
        p = skip(p, end);
        header(&stamp);
        add(&b->handled, now - strtoll(stamp, NULL, 10));
        p = skip(skip(p, end), end);
    }
    b->consumed += (uint64_t)count;
}

static void on_consumed(struct bench *b) {
    const char *p = b->con.in.p, *end = p + b->con.in.n, *next;
    bool read = false;
    for (; (next = skip(p, end)) != NULL; p = next) {
        if (*p == ':') continue; /* of XACK */
        take_entries(b, p, end);
        read = true;
    }
    evrt_buf_consume(&b->con.in, (size_t)(p - b->con.in.p));
    if (read) put_read(b);
}

static void publish_due(struct bench *b, int64_t now) {
    if (b->flat) {
        while (b->sent - b->consumed < WINDOW && b->pub.out.n < OUT_HIGH)
            publish(b);
        return;
    }
    uint64_t due = (uint64_t)((double)(now - b->start_ns) / 1e9 * (double)b->rate);
    while (b->sent < due && b->sent - b->acked < WINDOW)
        publish(b);
}

static void run(struct bench *b, int timer) {
    int64_t now;
    while ((now = evrt_mono_ns()) < b->end_ns) {
        publish_due(b, now);
        flush(&b->pub);
        flush(&b->con);
        struct pollfd p[] = {
            {.fd = timer, .events = POLLIN},
            {.fd = b->pub.fd, .events = (short)(POLLIN | (b->pub.out.n > 0 ? POLLOUT : 0))},
            {.fd = b->con.fd, .events = (short)(POLLIN | (b->con.out.n > 0 ? POLLOUT : 0))}};
        if (poll(p, 3, 100) < 0) die("poll");
        uint64_t expirations;
        if (p[0].revents != 0 && read(timer, &expirations, sizeof expirations) < 0) die("timer");
        if (p[1].revents & POLLIN) {
            receive(&b->pub);
            on_published(b);
        }
        if (p[2].revents & POLLIN) {
            receive(&b->con);
            on_consumed(b);
        }
    }
}

/* ---- CPU and report ---- */

static double server_cpu(const char *pid) {
    char path[64], line[1024] = "";
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL) return 0;
    if (fgets(line, sizeof line, f) != NULL && strrchr(line, ')') != NULL)
        sscanf(strrchr(line, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
               &system);
    fclose(f);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double own_cpu(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Each phase leaves its messages acknowledged and the counters at where they are. */
static void measure(struct bench *b, int timer, const char *pid, double seconds) {
    uint64_t before = b->consumed;
    double server = server_cpu(pid), own = own_cpu();
    b->durable.n = b->handled.n = 0;
    run(b, timer);
    printf("{\"events_per_second\":%.0f,\"durable_p50_us\":%.1f,\"durable_p99_us\":%.1f,"
           "\"handled_p50_us\":%.1f,\"handled_p99_us\":%.1f,\"server_cores\":%.3f,"
           "\"client_cores\":%.3f}\n",
           (double)(b->consumed - before) / seconds, at_us(&b->durable, .5),
           at_us(&b->durable, .99), at_us(&b->handled, .5), at_us(&b->handled, .99),
           (server_cpu(pid) - server) / seconds, (own_cpu() - own) / seconds);
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: redis_bench PORT PID steady|flat RATE SECONDS SIZE\n");
        return 64;
    }
    struct bench *b = evrt_zalloc(sizeof *b);
    double seconds = atof(argv[5]), warm = seconds < 1 ? seconds : 1;
    b->flat = strcmp(argv[3], "flat") == 0;
    b->rate = atoll(argv[4]);
    while (b->payload.n < (size_t)atoi(argv[6]))
        evrt_buf_putc(&b->payload, (char)('a' + b->payload.n % 26));
    connect_to(&b->pub, atoi(argv[1]));
    connect_to(&b->con, atoi(argv[1]));
    COMMAND(&b->pub.out, "DEL", "s");
    call(&b->pub);
    COMMAND(&b->pub.out, "XGROUP", "CREATE", "s", "g", "$", "MKSTREAM");
    call(&b->pub);
    put_read(b);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct timespec every = {.tv_nsec = 1000000};
    timerfd_settime(timer, 0, &(struct itimerspec){every, every}, NULL);
    b->start_ns = evrt_mono_ns();
    b->end_ns = b->start_ns + (int64_t)(warm * 1e9);
    run(b, timer);
    b->end_ns = evrt_mono_ns() + (int64_t)(seconds * 1e9);
    measure(b, timer, argv[2], seconds);
    return 0;
}

/* See bench.h. The load runs on the node's own loop, as an embedding program's would: an idle handle makes
 * events while there is room, a timerfd paces the steady phase. */
#include "cli/bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"

enum { HANDLED_TIMEOUT_MS = 30000 };

void bench_samples_add(struct bench_samples *s, int64_t ns) {
    s->v = evrt_grow(s->v, s->n, &s->cap, sizeof *s->v);
    s->v[s->n++] = ns;
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

int64_t bench_samples_at(struct bench_samples *s, double q) {
    if (s->n == 0) return 0;
    qsort(s->v, s->n, sizeof *s->v, ascending);
    size_t at = (size_t)(q * (double)s->n);
    return s->v[at < s->n ? at : s->n - 1];
}

/* ---- CPU ---- */

/* utime + stime of a child, in seconds; 0 when it is not one of ours. */
static double child_cpu(const char *pid) {
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL) return 0;
    size_t n = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[n] = '\0';
    const char *rest = strrchr(line, ')'); /* the name may hold anything */
    int parent;
    unsigned long user, system;
    if (rest == NULL ||
        sscanf(rest + 2, "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &parent, &user,
               &system) != 3 ||
        parent != getpid())
        return 0;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

void bench_cpu(double *own, double *children) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    *own = (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    *children = 0;
    DIR *proc = opendir("/proc");
    if (proc == NULL) return;
    for (const struct dirent *d; (d = readdir(proc)) != NULL;)
        if (d->d_name[0] >= '0' && d->d_name[0] <= '9') *children += child_cpu(d->d_name);
    closedir(proc);
}

/* ---- A phase ---- */

struct phase {
    struct bench *b;
    int64_t start_ns, end_ns;
    uint64_t before; /* handled, at the start */
    double own, children;
    bool over; /* nothing more is published */
    uv_idle_t idle;
    uv_poll_t poll;
    uv_timer_t timer;
    unsigned open; /* handles */
    uint64_t published, waiting;
};

static uint64_t ended(struct bench *b) {
    struct evrt_totals t;
    evrt_totals(b->rt, &t);
    return t.done + t.dead + t.discarded;
}

static void begin(struct phase *p, struct bench *b) {
    *p = (struct phase){.b = b, .before = ended(b), .start_ns = evrt_mono_ns()};
    p->end_ns = p->start_ns + (int64_t)(b->seconds * 1e9);
    bench_cpu(&p->own, &p->children);
}

/* The figures, taken while the load is still on. */
static void measure(struct phase *p) {
    struct bench *b = p->b;
    double own, children;
    bench_cpu(&own, &children);
    b->elapsed_ns = evrt_mono_ns() - p->start_ns;
    b->handled = ended(b) - p->before;
    b->published = p->published;
    b->cpu_host = own - p->own;
    b->cpu_workers = children - p->children;
    p->over = true;
}

static void on_closed(uv_handle_t *handle) {
    struct phase *p = handle->data;
    p->open--;
}

static void run_until_closed(struct phase *p) {
    while (p->open != 0)
        uv_run(&p->b->loop, UV_RUN_ONCE);
}

/* With an id of its own where asked for; else the node makes one. */
static struct evrt_event event_of(struct bench *b) {
    int n = b->ids ? snprintf(b->id, sizeof b->id, "event-%llu", (unsigned long long)++b->made) : 0;
    return (struct evrt_event){
        .id = {n == 0 ? NULL : b->id, (size_t)n},
        .type = EVRT_STR("bench.event"),
        .source = EVRT_STR("evrt-bench"),
        .data = b->data,
    };
}

/* One published event whose times are taken. */
struct sample {
    struct phase *p;
    int64_t at_ns;
};

/* ---- Flat out ---- */

static void on_sample_durable(void *arg, int status, uint64_t seq, struct evrt_slice id) {
    struct sample *s = arg;
    (void)status, (void)seq, (void)id;
    bench_samples_add(&s->p->b->durable, evrt_mono_ns() - s->at_ns);
    s->p->waiting--;
    free(s);
}

enum {
    FLOOD_TURN = 512, /* events published in one turn of the loop */
    FLOOD_SAMPLE = 64 /* ... of which each so many is timed */
};

static bool publish_flood(struct phase *p) {
    struct evrt_event e = event_of(p->b);
    bool timed = p->published % FLOOD_SAMPLE == 0;
    struct sample *s = NULL;
    if (timed) {
        s = evrt_alloc(sizeof *s);
        *s = (struct sample){p, evrt_mono_ns()};
    }
    int rc = evrt_publish(p->b->rt, &e, timed ? on_sample_durable : NULL, s, &p->b->err);
    if (rc < 0) {
        free(s);
        return false;
    }
    p->published++;
    p->waiting += timed;
    return true;
}

static void on_flood(uv_idle_t *idle) {
    struct phase *p = idle->data;
    if (!p->over && evrt_mono_ns() >= p->end_ns) measure(p);
    uint64_t unhandled = p->published - (ended(p->b) - p->before);
    if (p->over && unhandled == 0 && p->waiting == 0) {
        uv_close((uv_handle_t *)idle, on_closed);
        uv_close((uv_handle_t *)&p->timer, on_closed);
        return;
    }
    for (int i = 0; !p->over && unhandled < p->b->in_flight && i < FLOOD_TURN; i++, unhandled++)
        if (!publish_flood(p)) break;
    /* With nothing to publish the loop sleeps until something is handled: not busy, not late. */
    if (p->over || unhandled >= p->b->in_flight) uv_idle_stop(idle);
}

static void on_flood_check(uv_timer_t *timer) {
    struct phase *p = timer->data;
    if (!uv_is_closing((uv_handle_t *)&p->idle)) uv_idle_start(&p->idle, on_flood);
}

void bench_flat_out(struct bench *b) {
    struct phase p;
    begin(&p, b);
    uv_idle_init(&b->loop, &p.idle);
    uv_timer_init(&b->loop, &p.timer);
    p.idle.data = p.timer.data = &p;
    p.open = 2;
    uv_idle_start(&p.idle, on_flood);
    uv_timer_start(&p.timer, on_flood_check, 1, 1);
    run_until_closed(&p);
}

/* ---- One in flight ---- */

static void on_single_handled(void *arg, uint64_t seq, unsigned pending, struct evrt_slice out) {
    struct sample *s = arg;
    (void)seq, (void)pending, (void)out;
    bench_samples_add(&s->p->b->done, evrt_mono_ns() - s->at_ns);
    s->p->waiting--;
    free(s);
}

static void publish_timed(struct phase *p) {
    struct evrt_event e = event_of(p->b);
    struct sample *s = evrt_alloc(sizeof *s);
    *s = (struct sample){p, evrt_mono_ns()};
    int rc = evrt_publish_wait(p->b->rt, &e, HANDLED_TIMEOUT_MS, on_single_handled, s, &p->b->err);
    if (rc < 0) {
        free(s);
        return;
    }
    p->published++;
    p->waiting++;
}

/* Durable and handled are timed on events of their own, in turns: a wait for the second would blur the
 * first. */
void bench_single(struct bench *b) {
    struct phase p;
    begin(&p, b);
    while (evrt_mono_ns() < p.end_ns) {
        publish_timed(&p);
        while (p.waiting != 0)
            uv_run(&b->loop, UV_RUN_ONCE);
        struct evrt_event e = event_of(b);
        struct sample *s = evrt_alloc(sizeof *s);
        *s = (struct sample){&p, evrt_mono_ns()};
        if (evrt_publish(b->rt, &e, on_sample_durable, s, &b->err) < 0) {
            free(s);
            break;
        }
        p.published++;
        p.waiting++;
        while (p.waiting != 0 || ended(b) - p.before < p.published)
            uv_run(&b->loop, UV_RUN_ONCE);
    }
    measure(&p);
}

/* ---- Steady ---- */

/* How often the clock of the load has struck; 0 when it has not. */
static uint64_t strikes(uv_poll_t *poll) {
    uint64_t n = 0;
    int fd;
    uv_fileno((uv_handle_t *)poll, &fd);
    return read(fd, &n, sizeof n) < 0 ? 0 : n;
}

static void on_pace(uv_poll_t *poll, int status, int events) {
    struct phase *p = poll->data;
    (void)status, (void)events;
    if (strikes(poll) == 0) return;
    if (!p->over && evrt_mono_ns() >= p->end_ns) measure(p);
    if (p->over) {
        if (p->waiting == 0) uv_close((uv_handle_t *)poll, on_closed);
        return;
    }
    /* What is due by the clock, so that a late wake-up is made up for. */
    uint64_t due = (uint64_t)((double)(evrt_mono_ns() - p->start_ns) / 1e9 * (double)p->b->rate);
    while (p->published < due)
        publish_timed(p);
}

static void on_bare_tick(uv_poll_t *poll, int status, int events) {
    struct phase *p = poll->data;
    (void)status, (void)events;
    if (strikes(poll) == 0 || evrt_mono_ns() < p->end_ns) return;
    measure(p);
    uv_close((uv_handle_t *)poll, on_closed);
}

/* Runs a phase that begins with the clock's first strike and ends when `on_tick` closes the poll handle. */
static void run_ticks(struct phase *p, uv_poll_cb on_tick) {
    uint64_t every = p->b->tick_us * 1000;
    struct timespec t = {(time_t)(every / 1000000000), (long)(every % 1000000000)};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    timerfd_settime(fd, 0, &(struct itimerspec){t, t}, NULL);
    uv_poll_init(&p->b->loop, &p->poll, fd);
    p->poll.data = p;
    p->open = 1;
    uv_poll_start(&p->poll, UV_READABLE, on_tick);
    run_until_closed(p);
    close(fd);
}

void bench_steady(struct bench *b) {
    struct phase p;
    begin(&p, b);
    run_ticks(&p, on_pace);
}

double bench_tick_cost(struct bench *b) {
    struct phase p;
    double seconds = b->seconds;
    b->seconds = seconds < 1 ? seconds : 1;
    begin(&p, b);
    run_ticks(&p, on_bare_tick);
    b->seconds = seconds;
    return b->cpu_host / ((double)b->elapsed_ns / 1e9);
}

/* ---- The bare disk ---- */

int bench_bare(const char *dir, size_t n, double seconds, struct bench_samples *out) {
    enum { SIZE = 16 << 20 };
    char path[4096];
    snprintf(path, sizeof path, "%s/bare", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return -errno;
    char *bytes = evrt_zalloc(SIZE);
    int rc = pwrite(fd, bytes, SIZE, 0) != SIZE || fsync(fd) < 0 ? -errno : 0;
    int64_t end = evrt_mono_ns() + (int64_t)(seconds * 1e9);
    off_t at = 0;
    while (rc == 0 && evrt_mono_ns() < end) {
        int64_t start = evrt_mono_ns();
        if (pwrite(fd, bytes, n, at) < 0 || fdatasync(fd) < 0) rc = -errno;
        bench_samples_add(out, evrt_mono_ns() - start);
        at = at + (off_t)(2 * n) > SIZE ? 0 : at + (off_t)n;
    }
    free(bytes);
    close(fd);
    unlink(path);
    return rc;
}

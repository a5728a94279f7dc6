/* The journal alone against the barest loop that makes the same bytes durable: the same group sizes, the
 * same folder, the same run, in turns. Prints one JSON object; spec/bench/journal makes lines of it.
 *
 *     journal_bench FOLDER
 *
 * Both sides write into files that were allocated and filled with zeros before, whole pages at a time. The
 * bare loops do nothing else: no checksum, no numbers, no second thread. What preparing the files on the way
 * costs a journal that never rests shows in the runs with segments of the usual size. */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/event.h"
#include "journal/file.h"
#include "journal/journal.h"

enum {
    PAYLOAD = 300,
    ON_DISK = 8 + 304, /* one event as a record of the journal */
    PAGE = 4096,
    WARM_UP = 5 << 20, /* more than a fresh store's first segment holds */
    LATENCIES = 2000,
    ROUNDS = 5, /* turns of bare and journal; the medians count */
};

/* One line of the result. group 0: as many as come together. */
struct setup {
    unsigned group;
    uint64_t segment; /* its size */
    uint64_t file;    /* the bare loop's: so large that it writes no place twice */
    double seconds;
    bool prepared; /* nothing is prepared while the clock runs */
};

static const struct setup setups[] = {
    {1, 64 << 20, 64 << 20, 0.4, true},        {100, 256 << 20, 256 << 20, 0.3, true},
    {1000, 768 << 20, 1536 << 20, 0.15, true}, {0, 768 << 20, 1536 << 20, 0.12, true},
    {1000, 64 << 20, 1536 << 20, 0.2, false},  {0, 64 << 20, 1536 << 20, 0.2, false},
};

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double percentile(double *values, size_t n, double part) {
    qsort(values, n, sizeof *values, by_value);
    return values[(size_t)((double)(n - 1) * part)];
}

static double seconds(void) {
    return (double)evrt_mono_ns() * 1e-9;
}

/* ---- The bare loop ---- */

struct bare {
    int fd;
    uint64_t size, at;
};

static void bare_open(struct bare *b, const char *folder, uint64_t size) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/bare", folder);
    b->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    b->size = size;
    b->at = 0;
    if (b->fd < 0 || evrt_file_fill(b->fd, 0, size, true, NULL, NULL) < 0 ||
        evrt_file_sync(b->fd) < 0)
        die(path);
}

static void bare_write(struct bare *b, const char *bytes, size_t n, bool dsync) {
    static const char zeros[PAGE];
    if (b->at + n + PAGE > b->size) b->at = 0;
    size_t pad = (size_t)(-(b->at + n) % PAGE);
    struct iovec iov[2] = {{(void *)(uintptr_t)bytes, n}, {(void *)(uintptr_t)zeros, pad}};
    if (pwritev2(b->fd, iov, 2, (off_t)b->at, dsync ? RWF_DSYNC : 0) != (ssize_t)(n + pad))
        die("pwritev");
    if (!dsync && fdatasync(b->fd) < 0) die("fdatasync");
    b->at += n;
}

/* Events per second. */
static double bare(struct bare *b, unsigned group, bool dsync, double time) {
    size_t n = (size_t)group * ON_DISK;
    char *bytes = evrt_alloc(n);
    memset(bytes, 'x', n);
    uint64_t events = 0;
    double begin = seconds(), now;
    do {
        bare_write(b, bytes, n, dsync);
        events += group;
    } while ((now = seconds()) - begin < time);
    free(bytes);
    return (double)events / (now - begin);
}

/* ---- The journal ---- */

struct bench {
    struct evrt_journal *j;
    int wake;
    uint64_t taken;
};

static void on_commit(void *arg) {
    struct bench *b = arg;
    uint64_t one = 1;
    if (write(b->wake, &one, sizeof one) < 0) die("eventfd");
}

static void on_fatal(void *arg, const struct evrt_error *err) {
    (void)arg;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static void start(struct bench *b, const char *path, unsigned group, uint64_t segment) {
    struct evrt_error err;
    *b = (struct bench){.wake = eventfd(0, EFD_CLOEXEC)};
    struct evrt_journal_options o = {.path = path,
                                     .segment_size = segment,
                                     .group_records = group,
                                     .backlog_bytes = (uint64_t)group * ON_DISK * 8,
                                     .on_commit = on_commit,
                                     .on_fatal = on_fatal,
                                     .arg = b};
    if (evrt_journal_open(&b->j, &o, NULL, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
}

static void stop(struct bench *b) {
    evrt_journal_close(b->j);
    close(b->wake);
}

/* What an owner does with a wake-up: takes all that is committed. */
static void take(struct bench *b, bool wait) {
    uint64_t count;
    if (wait && read(b->wake, &count, sizeof count) < 0) die("eventfd");
    struct evrt_batch *batch;
    while ((batch = evrt_journal_take(b->j)) != NULL) {
        b->taken += evrt_batch_events(batch);
        evrt_batch_unref(batch);
    }
}

static bool append(struct bench *b, const char *payload) {
    int rc;
    void *at = evrt_journal_append(b->j, EVRT_RECORD_EVENT, PAYLOAD, &rc);
    if (at == NULL) return false;
    memcpy(at, payload, PAYLOAD);
    return true;
}

/* Appends as fast as the journal takes them, in turns of at most `turn`; events per second. */
static double journal(struct bench *b, unsigned turn, double time) {
    char payload[PAYLOAD];
    memset(payload, 'x', sizeof payload);
    uint64_t first = b->taken;
    double begin = seconds(), now;
    do {
        bool room = true;
        for (unsigned i = 0; i < turn && room; i++)
            room = append(b, payload);
        (void)evrt_journal_submit(b->j, false);
        struct pollfd ready = {b->wake, POLLIN, 0};
        if (poll(&ready, 1, room ? 0 : -1) > 0) take(b, true);
    } while ((now = seconds()) - begin < time);
    uint64_t events = b->taken - first;
    while (b->taken + 1 < evrt_journal_next_seq(b->j))
        take(b, true);
    return (double)events / (now - begin);
}

/* Waits until the journal has prepared all that it prepares. */
static void settle(const char *path) {
    char spare[PATH_MAX], reserve[PATH_MAX];
    snprintf(spare, sizeof spare, "%s/journal/spare", path);
    snprintf(reserve, sizeof reserve, "%s/journal/reserve", path);
    while (access(spare, F_OK) < 0 || access(reserve, F_OK) < 0)
        usleep(10000);
}

/* Past the first, small segment, into one of the full size. */
static void warm_up(struct bench *b, const char *path) {
    settle(path);
    char payload[PAYLOAD] = {0};
    for (size_t bytes = 0; bytes < WARM_UP; bytes += ON_DISK) {
        while (!append(b, payload)) {
            (void)evrt_journal_submit(b->j, false);
            take(b, true);
        }
    }
    (void)evrt_journal_submit(b->j, false);
    while (b->taken + 1 < evrt_journal_next_seq(b->j))
        take(b, true);
    settle(path);
}

/* ---- What is printed ---- */

static void throughput(const char *folder, const struct setup *p) {
    double ours[ROUNDS], sync[ROUNDS], dsync[ROUNDS];
    char path[PATH_MAX];
    struct bench b;
    struct bare peer;
    struct evrt_journal_stats before, after;
    snprintf(path, sizeof path, "%s/store-%u-%d", folder, p->group, p->prepared);
    bare_open(&peer, folder, p->file);
    start(&b, path, p->group, p->segment);
    warm_up(&b, path);
    unsigned turn = p->group == 0 ? 256 : p->group * 4 < 1000 ? p->group * 4 : 1000;
    unsigned size = p->group;
    for (int i = 0; i < ROUNDS; i++) {
        evrt_journal_stats(b.j, &before);
        ours[i] = journal(&b, turn, p->seconds);
        evrt_journal_stats(b.j, &after);
        if (p->group == 0)
            size = (unsigned)((after.committed_records - before.committed_records) /
                              (after.commits - before.commits));
        sync[i] = bare(&peer, size, false, p->seconds);
        dsync[i] = bare(&peer, size, true, p->seconds);
    }
    stop(&b);
    close(peer.fd);
    printf("{\"group\":%u,\"free\":%s,\"prepared\":%s,\"journal\":%.0f,\"fdatasync\":%.0f,"
           "\"dsync\":%.0f}",
           size, p->group == 0 ? "true" : "false", p->prepared ? "true" : "false",
           percentile(ours, ROUNDS, 0.5), percentile(sync, ROUNDS, 0.5),
           percentile(dsync, ROUNDS, 0.5));
}

/* One event in flight, and one bare write, in turns. */
static void latency(const char *folder) {
    static double ours[LATENCIES], theirs[LATENCIES];
    char payload[PAYLOAD], bytes[ON_DISK], path[PATH_MAX];
    struct bench b;
    struct bare peer;
    memset(payload, 'x', sizeof payload);
    memset(bytes, 'x', sizeof bytes);
    snprintf(path, sizeof path, "%s/store-latency", folder);
    bare_open(&peer, folder, 64 << 20);
    start(&b, path, 0, 0);
    settle(path);
    for (int i = 0; i < LATENCIES; i++) {
        double begin = seconds();
        if (!append(&b, payload)) exit(1);
        (void)evrt_journal_submit(b.j, false);
        take(&b, true);
        ours[i] = (seconds() - begin) * 1e6;
        begin = seconds();
        bare_write(&peer, bytes, sizeof bytes, false);
        theirs[i] = (seconds() - begin) * 1e6;
    }
    stop(&b);
    close(peer.fd);
    printf("{\"journal_p50\":%.1f,\"bare_p50\":%.1f,\"journal_p99\":%.1f,\"bare_p99\":%.1f}",
           percentile(ours, LATENCIES, 0.5), percentile(theirs, LATENCIES, 0.5),
           percentile(ours, LATENCIES, 0.99), percentile(theirs, LATENCIES, 0.99));
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 64;
    }
    printf("{\"payload\":%d,\"throughput\":[", PAYLOAD);
    for (size_t i = 0; i < sizeof setups / sizeof setups[0]; i++) {
        if (i > 0) putchar(',');
        throughput(argv[1], &setups[i]);
    }
    printf("],\"latency_us\":");
    latency(argv[1]);
    printf("}\n");
    return 0;
}

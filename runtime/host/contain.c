/* What a bad handler may cost: its worker, and nothing else.
 *
 *     page of each worker ──look, a few times a second──▶ stuck for workers.stall_timeout: SIGKILL
 *     process reaped ──page names the delivery that ran──▶ charged: failed; dead at the third time (retry.c)
 *                    └─ the other deliveries it had ──▶ again, not charged (evrt_bus_worker_gone)
 *
 * A handler that was charged is held back for a moment, longer each time, and then has one delivery in
 * flight until it succeeds: so it costs one worker at a time, at most one a second, and workers are
 * replaced at once. Nothing here waits for a worker. The loop's thread. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sysexits.h>
#include <unistd.h>

#include "host/node.h"

#include "core/clock.h"
#include "core/units.h"
#include "frame/page.h"

enum {
    LOOK_MS = 250, /* between two looks at workers, or a quarter of a shorter stall_timeout */
    HOLD_MS = 25,  /* after the second crash, doubling */
    HOLD_MAX_MS = 1000,
    MS = 1000000,
};

/* ---- The page ---- */

/* What it read by itself counts as what it asked for does. */
static void count_reads(struct host_worker *w) {
    uint64_t reads = evrt_page_load(&w->watch.page->reads);
    if (reads > w->watch.reads) w->host->kv.counts.reads += reads - w->watch.reads;
    w->watch.reads = reads;
}

static void close_page(struct host_worker *w) {
    if (w->watch.page == NULL) return;
    count_reads(w);
    munmap(w->watch.page, EVRT_PAGE_SIZE);
    w->watch.page = NULL;
}

/* Sealed, so that the worker cannot take from under the host what the host reads. */
int host_contain_open(struct host_worker *w, int *fd) {
    close_page(w);
    w->watch = (struct host_watch){0};
    *fd = -1;
    if (w->host->config->workers.stall_timeout == 0) return 0;
    int page = memfd_create("evrt-page", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (page < 0) return -errno;
    void *p = MAP_FAILED;
    if (ftruncate(page, EVRT_PAGE_SIZE) == 0 &&
        fcntl(page, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        p = mmap(NULL, EVRT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
    if (p == MAP_FAILED) {
        int rc = -errno;
        close(page);
        return rc;
    }
    w->watch.page = p;
    evrt_page_awake(w->watch.page); /* starting counts as work, too */
    *fd = page;
    return 0;
}

void host_contain_effects(struct host_worker *w) {
    if (w->watch.page == NULL) return;
    _Atomic uint64_t *effects = &w->watch.page->effects;
    atomic_store_explicit(effects, evrt_page_load(effects) + 1, memory_order_release);
}

void host_contain_heard(struct host_worker *w) {
    w->watch.slow = false;
    if (w->watch.page == NULL) return;
    _Atomic uint64_t *heard = &w->watch.page->heard;
    evrt_page_store(heard, evrt_page_load(heard) + 1);
}

/* ---- Charging ---- */

static int64_t hold_ms(unsigned strikes) {
    int64_t ms = strikes < 2 ? 0 : (int64_t)HOLD_MS << (strikes < 10 ? strikes - 2 : 8);
    return ms > HOLD_MAX_MS ? HOLD_MAX_MS : ms;
}

static void look_again(struct evrt_host *h, int64_t ms);

static void hold(struct evrt_host *h, struct evrt_sub *s) {
    int64_t ms = hold_ms(++s->strikes);
    if (ms == 0) return;
    h->contained.held += !s->held;
    s->held = true;
    s->held_until_ns = evrt_mono_ns() + ms * MS;
    look_again(h, ms);
}

/* Lets those go on whose time has come; returns the milliseconds until the next one's has, or `ms`. Counts
 * anew: one may have been forgotten meanwhile. */
static int64_t release(struct evrt_host *h, int64_t now, int64_t ms) {
    if (h->contained.held == 0) return ms;
    h->contained.held = 0;
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
        struct evrt_sub *s = evrt_bus_get(h->bus, i);
        if (!s->held) continue;
        int64_t left = (s->held_until_ns - now + MS - 1) / MS;
        s->held = left > 0;
        h->contained.held += s->held;
        if (s->held && left < ms) ms = left;
    }
    return ms;
}

static void count(struct evrt_host *h, struct evrt_slice error_type) {
    struct host_contained *c = &h->contained;
    *(evrt_slice_eq(error_type, EVRT_STR("stalled"))  ? &c->stalled
      : evrt_slice_eq(error_type, EVRT_STR("memory")) ? &c->memory
                                                      : &c->crashed) += 1;
}

void host_contain_charge(struct host_worker *w, const struct evrt_frame_failed *f) {
    struct evrt_host *h = w->host;
    uint64_t position;
    struct evrt_sub *s = host_sub_of(h, f->delivery, &position);
    if (s != NULL && evrt_sub_in_flight(s, position, w->instance) != NULL) {
        count(h, f->error_type);
        hold(h, s);
    }
    host_failed(w, f, true);
}

/* ---- Ends ---- */

static void explain(const struct host_worker *w, int64_t status, int signal, char *out, size_t n) {
    char limit[EVRT_UNITS_SIZE];
    if (w->watch.stalled)
        snprintf(
            out, n,
            "the handler did not return or wait for %s (workers.stall_timeout); its worker was killed",
            evrt_duration_format(w->host->config->workers.stall_timeout, limit));
    else if (w->reason[0] != '\0')
        snprintf(out, n, "the handler's worker %s", w->reason);
    else if (signal != 0)
        snprintf(out, n, "the handler's worker was killed by signal %d (%s)", signal,
                 strsignal(signal));
    else
        snprintf(out, n, "the handler ended its worker (exit code %lld)", (long long)status);
}

bool host_contain_died(struct host_worker *w, bool blame, int64_t status, int signal) {
    struct evrt_host *h = w->host;
    uint64_t delivery = w->watch.page == NULL ? 0 : evrt_page_load(&w->watch.page->delivery);
    close_page(w);
    if (delivery == 0) {
        if (signal == 0 && status == EX_TEMPFAIL && w->reason[0] == '\0')
            snprintf(w->reason, sizeof w->reason, "reached workers.memory_limit");
        return false;
    }
    if (h->phase >= HOST_CLOSING || !(blame || w->watch.stalled)) return false;
    char message[256];
    explain(w, status, signal, message, sizeof message);
    host_contain_charge(
        w, &(struct evrt_frame_failed){
               .delivery = delivery,
               .error_type = w->watch.stalled ? EVRT_STR("stalled") : EVRT_STR("crashed"),
               .message = evrt_slice_of(message),
               .retry_ms = EVRT_RETRY_BY_POLICY,
           });
    return true;
}

/* ---- Looking ---- */

static void kill_stalled(struct host_worker *w) {
    char limit[EVRT_UNITS_SIZE];
    evrt_duration_format(w->host->config->workers.stall_timeout, limit);
    snprintf(w->reason, sizeof w->reason,
             w->state == HOST_WORKER_LOADING
                 ? "stalled: did not load its scripts within %s (workers.stall_timeout)"
                 : "stalled: did not turn its loop for %s (workers.stall_timeout)",
             limit);
    w->watch.stalled = true;
    w->state = HOST_WORKER_ENDING;
    host_worker_signal(w, SIGKILL);
}

/* A worker that sleeps wakes when it is sent something; one that was stopped does not. */
static bool has_unread(const struct host_worker *w) {
    int bytes = 0;
    return w->channel_open && !w->channel.ended && ioctl(w->channel.fd, SIOCOUTQ, &bytes) == 0 &&
           bytes != 0;
}

static void look(struct host_worker *w, int64_t elapsed_ns) {
    struct host_watch *watch = &w->watch;
    if (watch->page == NULL || watch->stalled || !w->process_open) return;
    count_reads(w);
    uint64_t turn = evrt_page_load(&watch->page->turn);
    if (turn != watch->turn || ((turn & 1) == 0 && !has_unread(w))) {
        watch->turn = turn;
        watch->unchanged_ns = 0;
        watch->slow = false;
        return;
    }
    watch->unchanged_ns += elapsed_ns;
    watch->slow = true;
    int64_t limit = w->host->config->workers.stall_timeout;
    if (w->state == HOST_WORKER_LOADING) limit += HOST_LOAD_GRACE_MS;
    if (watch->unchanged_ns >= limit * MS) kill_stalled(w);
}

static int64_t period_ms(const struct evrt_host *h) {
    int64_t quarter = h->config->workers.stall_timeout / 4;
    return quarter == 0 || quarter > LOOK_MS ? LOOK_MS : quarter;
}

/* When this process was stopped or its machine was, workers were, too: such time counts little. */
static void on_watch(uv_timer_t *timer) {
    struct evrt_host *h = timer->data;
    int64_t now = evrt_mono_ns(), elapsed = now - h->contained.looked_ns, period = period_ms(h);
    if (h->phase >= HOST_CLOSED) return;
    if (elapsed > 2 * period * MS) elapsed = 2 * period * MS;
    h->contained.looked_ns = now;
    for (struct host_generation *g = h->generations; g != NULL; g = g->next)
        for (uint32_t i = 0; i < g->count; i++)
            look(&g->workers[i], elapsed);
    int64_t next = h->phase == HOST_CLOSING ? period : release(h, now, period);
    uv_timer_start(&h->watch, on_watch, (uint64_t)next, 0);
}

static void look_again(struct evrt_host *h, int64_t ms) {
    if (!uv_is_active((uv_handle_t *)&h->watch) || (int64_t)uv_timer_get_due_in(&h->watch) > ms)
        uv_timer_start(&h->watch, on_watch, (uint64_t)ms, 0);
}

void host_contain_start(struct evrt_host *h) {
    h->contained.looked_ns = evrt_mono_ns();
    uv_timer_start(&h->watch, on_watch, (uint64_t)period_ms(h), 0);
}

/* Said once for the node: all of its workers run on the same kernel. */
void host_contain_ready(struct host_worker *w) {
    struct evrt_host *h = w->host;
    if (w->watch.page == NULL || h->contained.told) return;
    h->contained.told = true;
    uint32_t c = atomic_load(&w->watch.page->confined);
    const char *user = h->config->workers.user;
    evrt_log_event(h->log, WORKERS_CONFINED,
                   EVRT_F_CSTR("user", user[0] == '\0' ? "the node's" : user),
                   EVRT_F_CSTR("store", c & EVRT_CONFINED_STORE_HIDDEN   ? "hidden"
                                        : c & EVRT_CONFINED_STORE_DENIED ? "denied"
                                                                         : "no"),
                   EVRT_F_CSTR("host", c & EVRT_CONFINED_TRACING ? "denied" : "no"),
                   EVRT_F_CSTR("signals", c & EVRT_CONFINED_SIGNALS ? "denied" : "no"),
                   EVRT_F_CSTR("system_calls", c & EVRT_CONFINED_CALLS ? "filtered" : "no"));
}

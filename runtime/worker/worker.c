/* See worker.h. One turn of the loop:
 *
 *     timers (sleepers wake) ─▶ flush (prepare) ─▶ poll: frames arrive ─▶ turn (check): run handlers ─▶ ...
 *
 * What timers and handlers put leaves at the next flush, before the loop may sleep. */
#include "worker/worker.h"
#include "worker/code.h"

#include <errno.h>
#include <fcntl.h>
#include <lua.h>
#include <luajit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "core/cpu.h"
#include "core/error.h"
#include "core/event.h"
#include "worker/confine.h"
#include "worker/counts.h"
#include "worker/kv.h"
#include "worker/process.h"
#include "worker/shared.h"
#include "worker/state.h"

enum {
    FLUSH_AT = 128, /* settlements put before they are written in the middle of a turn */
    FLOOD = 32,     /* deliveries that wait: more than a moment's work */
};

const char *evrt_worker_library(void) {
    return LUAJIT_VERSION + sizeof "LuaJIT " - 1;
}

struct evrt_buf *evrt_worker_out(struct evrt_worker *w) {
    w->done = SIZE_MAX;
    return evrt_channel_out(&w->channel);
}

void evrt_worker_limit(struct evrt_worker *w, const char *key) {
    evrt_frame_put_limit(evrt_worker_out(w), &(struct evrt_frame_limit){evrt_slice_of(key)});
}

int evrt_worker_has_room(struct evrt_worker *w, const struct evrt_delivery *d, size_t n,
                         struct evrt_error *err) {
    if (d->effects.n + n <= w->hello.kv_max_effects) return 0;
    evrt_worker_limit(w, "kv.max_effects");
    return evrt_error_set(
        err, -EMSGSIZE,
        "the delivery would write and publish more than %llu bytes (kv.max_effects)",
        (unsigned long long)w->hello.kv_max_effects);
}

void evrt_worker_flush(struct evrt_worker *w) {
    evrt_counts_put(w);
    w->done = SIZE_MAX;
    w->settled = 0;
    w->urgent = false;
    if (evrt_channel_backlog(&w->channel) == 0) return;
    evrt_channel_flush(&w->channel);
    evrt_unheard_wrote(&w->unheard);
}

/* Of a handler that has nothing more to do while another has a flood: what it did should not wait for the flood's turn
 * to end. */
static bool is_urgent(const struct evrt_worker *w, uint32_t handler) {
    const struct evrt_deliveries *ds = &w->deliveries;
    return ds->inbox.count + ds->later.count >= FLOOD && evrt_inbox_lacks(&ds->inbox, handler) &&
           evrt_inbox_lacks(&ds->later, handler);
}

static void end_delivery(struct evrt_worker *w, struct evrt_delivery *d) {
    w->urgent |= is_urgent(w, d->handler);
    evrt_delivery_end(d);
    if (++w->settled == FLUSH_AT) evrt_worker_flush(w);
}

void evrt_worker_settle_done(struct evrt_worker *w) {
    struct evrt_delivery *d = w->deliveries.running;
    evrt_spans_end(w, d, false);
    if (d->effects.n != 0) {
        evrt_frame_put_effects(evrt_worker_out(w),
                               &(struct evrt_frame_effects){d->id, evrt_buf_slice(&d->effects)});
        evrt_reads_sent(w, evrt_buf_slice(&d->effects));
    } else {
        evrt_frame_put_done(evrt_channel_out(&w->channel), &w->done, d->id);
    }
    end_delivery(w, d);
}

void evrt_worker_settle_failed(struct evrt_worker *w, const struct evrt_frame_failed *f) {
    struct evrt_delivery *d = w->deliveries.running;
    struct evrt_frame_failed failed = *f;
    failed.delivery = d->id;
    evrt_spans_end(w, d, true);
    evrt_frame_put_failed(evrt_worker_out(w), &failed);
    end_delivery(w, d);
}

void evrt_worker_leave(struct evrt_worker *w, int exit_code) {
    if (w->phase == EVRT_WORKER_LEAVING) return;
    w->phase = EVRT_WORKER_LEAVING;
    w->exit_code = exit_code;
    uv_idle_stop(&w->again);
    evrt_worker_flush(w);
    if (evrt_channel_backlog(&w->channel) == 0) uv_stop(&w->loop);
}

/* ---- Frames ---- */

static void answer(struct evrt_worker *w, enum evrt_frame_type type, struct evrt_slice text) {
    evrt_frame_put_text(evrt_worker_out(w), type, text);
}

static void keep_hello(struct evrt_worker *w, const struct evrt_frame_hello *f) {
    w->hello = *f;
    struct evrt_slice *slices[] = {&w->hello.service,     &w->hello.service_version,
                                   &w->hello.environment, &w->hello.user,
                                   &w->hello.store,       &w->hello.kv_writers};
    enum { SLICES = sizeof slices / sizeof slices[0] };
    struct evrt_buf bytes;
    evrt_buf_init(&bytes);
    size_t size = SLICES;
    for (int i = 0; i < SLICES; i++)
        size += slices[i]->n;
    evrt_buf_room(&bytes, size); /* so that it does not move */
    for (int i = 0; i < SLICES; i++) {
        const char *at = bytes.p + bytes.n;
        evrt_buf_put(&bytes, slices[i]->p, slices[i]->n);
        evrt_buf_putc(&bytes, '\0');
        slices[i]->p = at;
    }
    w->hello_bytes = evrt_buf_release(&bytes);
}

static int confine(struct evrt_worker *w, struct evrt_error *err) {
    struct evrt_confine plan = {
        .user = w->hello.user.p,
        .store = w->hello.store.p,
        .confine = w->hello.confine,
        .memory = w->hello.memory_limit,
    };
    uint32_t confined;
    int rc = evrt_confine(&plan, &confined, err);
    if (w->page != NULL) atomic_store(&w->page->confined, confined);
    return rc;
}

static int load(struct evrt_worker *w, struct evrt_slice *text) {
    evrt_load_guard_start(w);
    int rc = evrt_state_load(w, text);
    evrt_load_guard_stop(w);
    return rc;
}

static int on_hello(struct evrt_worker *w, struct evrt_slice payload) {
    struct evrt_frame_hello f;
    if (w->phase != EVRT_WORKER_GREETING || evrt_frame_get_hello(payload, &f) < 0) return -EBADMSG;
    if (f.concurrency == 0) return -EBADMSG;
    evrt_page_awake(w->page);
    keep_hello(w, &f);
    w->phase = EVRT_WORKER_SERVING;

    struct evrt_error err;
    struct evrt_slice text;
    int rc = confine(w, &err);
    if (rc == 0) rc = evrt_worker_state_open(w, &err);
    if (rc < 0)
        text = evrt_slice_of(err.message);
    else
        rc = load(w, &text);
    answer(w, rc < 0 ? EVRT_FRAME_REFUSED : EVRT_FRAME_READY, text);
    if (rc == 0) {
        evrt_inbox_init(&w->deliveries.inbox, w->handlers);
        evrt_inbox_init(&w->deliveries.later, w->handlers);
        evrt_runners_init(w);
        evrt_cpu_turns(EVRT_CPU_SHORT);
        evrt_cpu_nice(w->hello.nice);
    }
    if (rc < 0) evrt_worker_leave(w, EX_CONFIG);
    return 0;
}

static int on_deliver(struct evrt_worker *w, struct evrt_slice payload) {
    struct evrt_frame_deliver f;
    struct evrt_event e;
    if (evrt_frame_get_deliver(payload, &f) < 0 || f.handler >= w->handlers) return -EBADMSG;
    if (evrt_event_decode(f.event.p, f.event.n, &e) < 0) return -EBADMSG;
    bool later = f.purpose == EVRT_PURPOSE_REPLAY || f.purpose == EVRT_PURPOSE_REPROCESS;
    evrt_inbox_push(later ? &w->deliveries.later : &w->deliveries.inbox, f.handler, payload);
    return 0;
}

static void push_slice(lua_State *L, struct evrt_slice s) {
    lua_pushlstring(L, s.n == 0 ? "" : s.p, s.n);
}

/* The answer to a script that has stopped waiting (its deadline passed) is dropped. */
static int on_published(struct evrt_worker *w, struct evrt_slice payload) {
    struct evrt_frame_published f;
    if (evrt_frame_get_published(payload, &f) < 0) return -EBADMSG;
    struct evrt_delivery *d = evrt_deliveries_find(&w->deliveries, f.token);
    if (d == NULL || d->runner == NULL) return 0;
    lua_State *L = evrt_runner_stack(d->runner);
    lua_pushnil(L); /* no timeout */
    if (f.status < 0) {
        lua_pushnil(L);
        push_slice(L, f.message);
        lua_pushstring(L, evrt_code_name(f.status));
    } else {
        push_slice(L, f.id);
        lua_pushnumber(L, (lua_Number)f.seq);
        push_slice(L, f.outcomes);
    }
    lua_pushboolean(L, f.status > 0 && (f.status & EVRT_DUPLICATE) != 0);
    lua_pushboolean(L, f.status > 0 && (f.status & EVRT_SCHEDULED) != 0);
    evrt_runner_continue(w, d, 6);
    return 0;
}

static int on_log_level(struct evrt_worker *w, struct evrt_slice payload) {
    struct evrt_frame_log_level f;
    if (evrt_frame_get_log_level(payload, &f) < 0) return -EBADMSG;
    w->hello.log_level = f.level;
    return 0;
}

static int on_frame(struct evrt_worker *w, const struct evrt_frame *f) {
    if (w->phase == EVRT_WORKER_GREETING && f->type != EVRT_FRAME_HELLO) return -EBADMSG;
    switch (f->type) {
    case EVRT_FRAME_HELLO: return on_hello(w, f->payload);
    case EVRT_FRAME_DELIVER: return on_deliver(w, f->payload);
    case EVRT_FRAME_PUBLISHED: return on_published(w, f->payload);
    case EVRT_FRAME_SHARED: return evrt_shared_says(w, f->payload);
    case EVRT_FRAME_VALUE: return evrt_kv_says(w, f->payload);
    case EVRT_FRAME_LOG_LEVEL: return on_log_level(w, f->payload);
    case EVRT_FRAME_DRAIN: w->phase = EVRT_WORKER_DRAINING; return 0;
    default: return -EBADMSG;
    }
}

static int64_t on_data(void *arg, struct evrt_slice bytes) {
    struct evrt_worker *w = arg;
    size_t at = 0;
    while (w->phase != EVRT_WORKER_LEAVING) {
        struct evrt_frame f;
        int64_t n = evrt_frame_take((struct evrt_slice){bytes.p + at, bytes.n - at}, '>', &f);
        if (n < 0) return n;
        if (n == 0) return (int64_t)at;
        int rc = on_frame(w, &f);
        if (rc < 0) return rc;
        at += (size_t)n;
    }
    return (int64_t)bytes.n;
}

static void on_end(void *arg, int status) {
    struct evrt_worker *w = arg;
    if (status < 0)
        fprintf(stderr, "evrt worker %u: connection to the host: %s\n", w->hello.worker,
                status == -EBADMSG ? "a frame that is none" : uv_strerror(status));
    if (w->phase != EVRT_WORKER_LEAVING) w->exit_code = status < 0 ? EX_PROTOCOL : EX_OK;
    w->phase = EVRT_WORKER_LEAVING;
    uv_stop(&w->loop);
}

static const struct evrt_channel_events channel_events = {on_data, on_end};

/* ---- The loop ---- */

static void on_turn(uv_check_t *check) {
    struct evrt_worker *w = check->data;
    /* Once it may write again the channel has done so by itself, with what a frame had set off just before. */
    w->done = SIZE_MAX;
    evrt_page_awake(w->page);
    if (w->phase == EVRT_WORKER_GREETING || w->phase == EVRT_WORKER_LEAVING) return;
    evrt_runners_turn(w);
}

static void on_again(uv_idle_t *idle) {
    (void)idle;
}

static void end_drain(struct evrt_worker *w) {
    if (w->deliveries.open != 0 || evrt_deliveries_waiting(&w->deliveries)) return;
    answer(w, EVRT_FRAME_DRAINED, (struct evrt_slice){"", 0});
    evrt_worker_leave(w, EX_OK);
}

static void on_flush(uv_prepare_t *prepare) {
    struct evrt_worker *w = prepare->data;
    evrt_counts_put(w);
    if (w->phase == EVRT_WORKER_DRAINING) end_drain(w);
    evrt_worker_flush(w);
    if (w->page != NULL) evrt_page_store(&w->page->memory, w->memory.used);
    evrt_page_asleep(w->page);
    if (w->phase == EVRT_WORKER_LEAVING) {
        if (evrt_channel_backlog(&w->channel) == 0) uv_stop(&w->loop);
        return;
    }
    /* At the limit of concurrency only a timer or a frame can change anything. */
    w->taken = 0;
    bool more = evrt_runners_may_take(w);
    if (more)
        uv_idle_start(&w->again, on_again);
    else
        uv_idle_stop(&w->again);
    if (more) evrt_unheard_yield(&w->unheard, w->page);
}

static void close_handle(uv_handle_t *handle, void *arg) {
    (void)arg;
    if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

static void ignore(int signal) {
    (void)signal;
}

/* The host's group gets the terminal's signals; the host alone decides what they mean. They are caught
 * and not SIG_IGN, which programs that a script runs would inherit. The kernel ends this process with
 * the host; if the host ended before that was asked for, the socket tells. */
static void detach(void) {
    const int ignored[] = {SIGINT, SIGHUP, SIGTERM, SIGPIPE, SIGUSR1};
    const struct sigaction action = {.sa_handler = ignore, .sa_flags = SA_RESTART};
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        sigaction(ignored[i], &action, NULL);
    /* kill(0) of a script, and of programs that it runs, means these and not the host. */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "evrt-worker");
    evrt_cpu_turns(EVRT_CPU_NORMAL); /* until it serves: those that do come first */
}

static int map_snapshot(struct evrt_worker *w) {
    struct stat st;
    if (fstat(EVRT_FRAME_SNAPSHOT_FD, &st) < 0) return -errno;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, EVRT_FRAME_SNAPSHOT_FD, 0);
    if (p == MAP_FAILED) return -errno;
    w->snapshot = (struct evrt_slice){p, (size_t)st.st_size};
    return 0;
}

/* What stands there may be anything when the host gave none: it is the sealed memfd or is left alone. */
static void map_page(struct evrt_worker *w) {
    int seals = fcntl(EVRT_FRAME_PAGE_FD, F_GET_SEALS);
    struct stat st;
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(EVRT_FRAME_PAGE_FD, &st) < 0 ||
        st.st_size != EVRT_PAGE_SIZE)
        return;
    void *p = mmap(NULL, EVRT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, EVRT_FRAME_PAGE_FD, 0);
    if (p != MAP_FAILED) w->page = p;
}

/* Before anything is opened here: whatever else was inherited is not for scripts. */
static int inherit(struct evrt_worker *w) {
    int rc = map_snapshot(w);
    if (rc < 0) return rc;
    map_page(w);
    evrt_reads_init(w);
    return close_range(EVRT_FRAME_SNAPSHOT_FD, ~0u, 0) < 0 ? -errno : 0;
}

static int start(struct evrt_worker *w) {
    int flags = fcntl(EVRT_FRAME_SOCKET_FD, F_GETFL);
    if (flags < 0 || fcntl(EVRT_FRAME_SOCKET_FD, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    fcntl(EVRT_FRAME_SOCKET_FD, F_SETFD, FD_CLOEXEC);
    int rc = evrt_channel_init(&w->channel, &w->loop, EVRT_FRAME_SOCKET_FD, &channel_events, w);
    if (rc < 0) return rc;
    uv_check_init(&w->loop, &w->turn);
    uv_prepare_init(&w->loop, &w->flush);
    uv_idle_init(&w->loop, &w->again);
    w->turn.data = w->flush.data = w->again.data = w;
    uv_check_start(&w->turn, on_turn);
    uv_prepare_start(&w->flush, on_flush);
    return 0;
}

static void finish(struct evrt_worker *w) {
    evrt_cpu_turns(EVRT_CPU_NORMAL);
    evrt_page_awake(w->page); /* finalizers of scripts may never return */
    evrt_worker_state_close(w);
    evrt_channel_close(&w->channel, NULL);
    uv_walk(&w->loop, close_handle, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    uv_loop_close(&w->loop);
    evrt_deliveries_finish(&w->deliveries);
    evrt_buf_finish(&w->scratch);
    evrt_reads_finish(&w->reads);
    evrt_shared_finish(&w->shared);
    evrt_counts_finish(w);
    free(w->hello_bytes);
    munmap((void *)(uintptr_t)w->snapshot.p, w->snapshot.n);
}

int evrt_worker_main(void) {
    struct evrt_worker *w = evrt_zalloc(sizeof *w);
    w->done = SIZE_MAX;
    detach();
    evrt_random_init(&w->random);
    evrt_deliveries_init(&w->deliveries);
    evrt_buf_init(&w->scratch);
    int rc = inherit(w);
    if (rc == 0) rc = uv_loop_init(&w->loop);
    if (rc == 0) rc = start(w);
    if (rc < 0) {
        fprintf(
            stderr,
            "evrt worker: is started by evrt itself, with its socket on fd %d and the scripts on "
            "fd %d: %s\n",
            EVRT_FRAME_SOCKET_FD, EVRT_FRAME_SNAPSHOT_FD, uv_strerror(rc));
        free(w);
        return EX_USAGE;
    }
    uv_run(&w->loop, UV_RUN_DEFAULT);
    int exit_code = w->exit_code;
    finish(w);
    free(w);
    return exit_code;
}

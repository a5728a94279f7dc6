/* See load_guard.h. A timer's signal, twice at most:
 *
 *     load_timeout ──▶ a hook, which raises an error in the script's own frame: file and line, and its
 *                      traceback, as with any other error (LuaJIT allows to set one from a signal)
 *     a moment later ──▶ still here: it is in C (os.execute, a pattern match), where no hook runs, or it
 *                      caught the error. REFUSED is written from here, and the process ends.
 *
 * Scripts are compiled only once they are loaded, since hooks do not run in compiled loops. */
#include "worker/load_guard.h"

#include <errno.h>
#include <lauxlib.h>
#include <luajit.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/units.h"
#include "frame/frame.h"
#include "frame/page.h"
#include "worker/process.h"

enum { AGAIN_MS = 200 };

/* "path:line: " of the nearest frame that is a script's, then what is wrong. From a signal, too: reading the
 * stack is safe where whoever was interrupted is in C and does not come back. */
static void explain(struct evrt_worker *w, lua_State *L, char *out, size_t size) {
    char limit[EVRT_UNITS_SIZE];
    lua_Debug ar;
    size_t n = 0;
    for (int level = 0; n == 0 && lua_getstack(L, level, &ar); level++)
        if (lua_getinfo(L, "Sl", &ar) && ar.source[0] == '@' && ar.currentline > 0)
            n = (size_t)snprintf(out, size / 2, "%s:%d: ", ar.source + 1, ar.currentline);
    if (n >= size / 2) n = size / 2 - 1;
    snprintf(out + n, size - n,
             "the scripts did not load within %s (workers.stall_timeout): this loops or waits "
             "while it is loaded",
             evrt_duration_format(w->hello.load_timeout_ms, limit));
}

static void on_hook(lua_State *L, lua_Debug *ar) {
    char text[1024];
    (void)ar;
    lua_sethook(L, NULL, 0, 0);
    explain(evrt_worker_of(L), L, text, sizeof text);
    lua_pushstring(L, text);
    lua_error(L);
}

/* Nothing here may allocate: the allocator may be what was interrupted. */
static void refuse(struct evrt_worker *w) {
    char frame[EVRT_FRAME_HEADER + 1024] = {0};
    char *text = frame + EVRT_FRAME_HEADER;
    explain(w, w->L, text, 1024);
    size_t n = EVRT_FRAME_HEADER + strlen(text);
    evrt_set_u32(frame, (uint32_t)n);
    frame[4] = (char)EVRT_FRAME_REFUSED;
    ssize_t written = write(EVRT_FRAME_SOCKET_FD, frame, n);
    _exit(written == (ssize_t)n ? EX_CONFIG : EX_SOFTWARE);
}

static void on_signal(int signum, siginfo_t *info, void *context) {
    struct evrt_worker *w = info->si_value.sival_ptr;
    int saved = errno;
    (void)signum, (void)context;
    evrt_page_awake(w->page); /* the host waits for what comes of this */
    if (w->guard.ticks++ == 0)
        lua_sethook(w->L, on_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
    else
        refuse(w);
    errno = saved;
}

static struct itimerspec after(int64_t ms, int64_t again_ms) {
    return (struct itimerspec){
        .it_value = {ms / 1000, ms % 1000 * 1000000},
        .it_interval = {again_ms / 1000, again_ms % 1000 * 1000000},
    };
}

void evrt_load_guard_start(struct evrt_worker *w) {
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct itimerspec when = after(w->hello.load_timeout_ms, AGAIN_MS);
    event.sigev_value.sival_ptr = w;
    luaJIT_setmode(w->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    if (w->hello.load_timeout_ms <= 0) return;
    sigaction(SIGALRM, &action, NULL);
    if (timer_create(CLOCK_MONOTONIC, &event, &w->guard.timer) < 0) return;
    timer_settime(w->guard.timer, 0, &when, NULL);
    w->guard.on = 1;
}

void evrt_load_guard_stop(struct evrt_worker *w) {
    if (w->guard.on) {
        timer_delete(w->guard.timer);
        signal(SIGALRM, SIG_DFL);
        lua_sethook(w->L, NULL, 0, 0);
    }
    w->guard.on = 0;
    luaJIT_setmode(w->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_ON);
}

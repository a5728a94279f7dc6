/* See load_thread.h. A process that has lowered its own priority may not raise it again, but a thread that has
 * ends: so scripts are loaded by a nicer thread, and handled by the first one. Nothing runs beside it, as the first
 * one waits; SIGALRM, which interrupts a script that does not end its loading (load_guard.c), has to come to the
 * thread that runs it. */
#include "worker/load_thread.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <unistd.h>

/* A tenth of what others get where all want the CPU: a reload goes on under any load. */
enum { NICER = 10 };

struct loading {
    int (*load)(void *arg);
    void *arg;
    int rc;
};

static void *run(void *arg) {
    struct loading *l = arg;
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICER);
    l->rc = l->load(l->arg);
    return NULL;
}

int evrt_load_aside(int (*load)(void *arg), void *arg) {
    struct loading l = {.load = load, .arg = arg};
    sigset_t alarm, before;
    pthread_t thread;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, &before);
    if (pthread_create(&thread, NULL, run, &l) == 0)
        pthread_join(thread, NULL);
    else
        l.rc = load(arg); /* and as fast as it goes */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return l.rc;
}

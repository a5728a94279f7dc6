/* See process.h. posix_spawn does the same, but for standing aside: its attributes know no such policy, and once it has
 * returned the new process has loaded its program beside those that serve. The child shares this process's memory
 * until then: raw calls only, as a C library (or a sanitizer) would write down there what the child did. */
#include "host/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cpu.h"

enum { FIRST_FD = 3, FDS_MAX = 8, STACK = 32 << 10, SIGNALS = 64, MASK_SIZE = SIGNALS / 8 };

extern char **environ;
/* glibc's clone, under the name by which ThreadSanitizer does not make a fork of it. */
extern int __clone(int (*run)(void *), void *stack, int flags, void *arg, ...); /* NOLINT */

struct plan {
    const char *path;
    int fds[FDS_MAX]; /* copies, out of the way of the numbers that the new process has them at */
    size_t given;
    bool aside;
    int error;
};

/* Default signals first: a handler must not run here. */
__attribute__((no_sanitize_address, no_sanitize_thread)) static int child(void *arg) {
    static const uint64_t
        nothing[8]; /* the kernel's struct sigaction for SIG_DFL, or an empty mask */
    struct plan *p = arg;
    const char *args[] = {"evrt", "worker", NULL};
    unsigned first_closed = FIRST_FD + (unsigned)p->given;
    if (p->aside) (void)evrt_cpu_aside(0);
    for (int i = 1; i <= SIGNALS; i++)
        syscall(SYS_rt_sigaction, i, nothing, NULL, MASK_SIZE);
    long null = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY, 0);
    bool ok = null == 0 || (null > 0 && syscall(SYS_dup3, null, 0, 0) == 0);
    for (size_t i = 0; ok && i < p->given; i++)
        ok = syscall(SYS_dup3, p->fds[i], FIRST_FD + i, 0) >= 0;
    ok = ok && syscall(SYS_close_range, first_closed, ~0u, 0) == 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, nothing, NULL, MASK_SIZE);
    if (ok) syscall(SYS_execve, p->path, args, environ);
    p->error = errno;
    syscall(SYS_exit_group, 127);
    return 0;
}

/* Returns once the child runs its program, or has failed. */
static int start(struct plan *p, pid_t *pid) {
    _Alignas(16) char stack[STACK];
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    *pid = __clone(child, stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, p);
    int rc = *pid < 0 ? -errno : -p->error;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (p->error != 0) waitpid(*pid, NULL, 0);
    return rc;
}

int host_process_start(pid_t *pid, const char *path, const int *fds, size_t count, bool aside) {
    struct plan p = {.path = path, .aside = aside};
    int rc = 0;
    while (rc == 0 && p.given < count && p.given < FDS_MAX && fds[p.given] >= 0) {
        int copy = fcntl(fds[p.given], F_DUPFD_CLOEXEC, FIRST_FD + FDS_MAX);
        if (copy < 0)
            rc = -errno;
        else
            p.fds[p.given++] = copy;
    }
    if (rc == 0) rc = start(&p, pid);
    while (p.given > 0)
        close(p.fds[--p.given]);
    return rc;
}

bool host_process_ended(pid_t pid, int *status, int *signal) {
    int how;
    pid_t rc = waitpid(pid, &how, WNOHANG);
    if (rc == 0 || (rc < 0 && errno != ECHILD)) return false;
    /* ECHILD: the embedding program reaps every child there is. */
    bool signalled = rc > 0 && WIFSIGNALED(how);
    *signal = signalled ? WTERMSIG(how) : 0;
    *status = rc > 0 && !signalled ? WEXITSTATUS(how) : 0;
    return true;
}

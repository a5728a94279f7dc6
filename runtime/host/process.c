/* See process.h. */
#include "host/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST_FD = 3, FDS_MAX = 8 };

extern char **environ;

/* Copies stand out of the way of the numbers that the new process has them at. */
static int put_files(posix_spawn_file_actions_t *files, const int *fds, size_t count,
                     int copies[FDS_MAX]) {
    posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
    for (size_t i = 0; i < count; i++) {
        copies[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FIRST_FD + FDS_MAX);
        if (copies[i] < 0) return -errno;
        posix_spawn_file_actions_adddup2(files, copies[i], FIRST_FD + (int)i);
    }
    posix_spawn_file_actions_addclosefrom_np(files, FIRST_FD + (int)count);
    return 0;
}

static void put_signals(posix_spawnattr_t *attributes) {
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_setsigdefault(attributes, &all);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
}

int host_process_start(pid_t *pid, const char *path, const int *fds, size_t count) {
    char *args[] = {(char *)"evrt", (char *)"worker", NULL};
    int copies[FDS_MAX];
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    size_t given = 0;
    while (given < count && given < FDS_MAX && fds[given] >= 0)
        given++;
    for (size_t i = 0; i < FDS_MAX; i++)
        copies[i] = -1;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    put_signals(&attributes);
    int rc = put_files(&files, fds, given, copies);
    if (rc == 0) rc = -posix_spawn(pid, path, &files, &attributes, args, environ);
    for (size_t i = 0; i < FDS_MAX; i++)
        if (copies[i] >= 0) close(copies[i]);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
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

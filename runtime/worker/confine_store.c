/* See confine.h: keeping a process from a folder.
 *
 * A mount namespace costs scripts nothing but the store itself. Landlock can only grant, never take away
 * again, so keeping from /a/b/data means granting what else there is in /, /a and /a/b, by enumeration:
 * then nothing new can be made in these folders themselves. It is the second choice for that reason, and
 * is in force beside the namespace for what it says of tracing and signals. */
#include "worker/confine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frame/page.h"

/* ---- Mount namespace ---- */

static bool write_text(const char *path, const char *text, size_t n) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool ok = write(fd, text, n) == (ssize_t)n;
    close(fd);
    return ok;
}

/* A user namespace in which this user is itself; it brings the right to mount, and nothing else. */
static bool own_namespace(void) {
    struct evrt_buf map;
    unsigned uid = geteuid(), gid = getegid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) return false;
    prctl(PR_SET_DUMPABLE, 1); /* else /proc/self is root's */
    evrt_buf_init(&map);
    evrt_buf_printf(&map, "%u %u 1", uid, uid);
    bool ok = write_text("/proc/self/setgroups", "deny", 4) &&
              write_text("/proc/self/uid_map", map.p, map.n);
    evrt_buf_clear(&map);
    evrt_buf_printf(&map, "%u %u 1", gid, gid);
    ok = ok && write_text("/proc/self/gid_map", map.p, map.n);
    evrt_buf_finish(&map);
    return ok;
}

static bool hide(const char *store) {
    if (unshare(CLONE_NEWNS) < 0 && !own_namespace()) return false;
    /* What is mounted here stays here; what is mounted outside later still comes in. */
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0) return false;
    unsigned long flags = MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOEXEC;
    return mount("evrt", store, "tmpfs", flags, "size=4k,mode=000") == 0;
}

/* First in a child: what fails halfway cannot be undone, and a service manager's filter may kill for it. */
bool evrt_confine_hide(const char *store) {
    int status = -1;
    pid_t child = fork();
    if (child < 0) return false;
    if (child == 0) _exit(hide(store) ? 0 : 1);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return status == 0 && hide(store);
}

/* ---- Landlock ---- */

/* Of linux/landlock.h, whose older versions lack some. */
struct ruleset_attr {
    uint64_t handled_access_fs, handled_access_net, scoped;
};
struct path_beneath_attr {
    uint64_t allowed_access;
    int32_t parent_fd;
} __attribute__((packed));

enum {
    WRITE_FILE = 1 << 1,
    READ_FILE = 1 << 2,
    REMOVE_DIR = 1 << 4,
    REMOVE_FILE = 1 << 5,
    MAKE_CHAR = 1 << 6,
    MAKE_DIR = 1 << 7,
    MAKE_REG = 1 << 8,
    MAKE_SOCK = 1 << 9,
    MAKE_FIFO = 1 << 10,
    MAKE_BLOCK = 1 << 11,
    MAKE_SYM = 1 << 12,
    REFER = 1 << 13,    /* ABI 2; renaming from folder to folder, refused unless granted */
    TRUNCATE = 1 << 14, /* ABI 3 */
    /* Not running programs and not listing: neither shows or changes what an event says. */
    EVERYTHING = WRITE_FILE | READ_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_CHAR | MAKE_DIR |
                 MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_BLOCK | MAKE_SYM | REFER | TRUNCATE,
    DEVICES = MAKE_CHAR | MAKE_BLOCK,
    OF_FILES = WRITE_FILE | READ_FILE | TRUNCATE,
    SCOPE_SIGNAL = 1 << 1, /* ABI 6 */
    RULE_PATH_BENEATH = 1,
    GET_VERSION = 1,
};

static int abi_version(void) {
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, GET_VERSION);
    return abi < 0 ? 0 : (int)abi;
}

static uint64_t known(int abi, uint64_t rights) {
    if (abi < 2) rights &= ~(uint64_t)REFER;
    if (abi < 3) rights &= ~(uint64_t)TRUNCATE;
    return rights;
}

static int make_ruleset(int abi, uint64_t rights) {
    struct ruleset_attr attr = {.handled_access_fs = rights, .scoped = abi >= 6 ? SCOPE_SIGNAL : 0};
    size_t size = abi >= 6 ? sizeof attr : sizeof attr.handled_access_fs;
    return (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
}

/* Grants the rights for what is at `name` and beneath. What is gone, and links, need no grant. */
static bool grant(int ruleset, int folder, const char *name, uint64_t rights) {
    struct stat st;
    int fd = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return true;
    bool ok = fstat(fd, &st) == 0;
    if (ok && !S_ISLNK(st.st_mode)) {
        struct path_beneath_attr rule = {rights & (S_ISDIR(st.st_mode) ? ~UINT64_C(0) : OF_FILES),
                                         fd};
        ok = syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) == 0;
    }
    close(fd);
    return ok;
}

/* Everything in the folder but `except`. */
static bool grant_others(int ruleset, const char *folder, const char *except, uint64_t rights) {
    DIR *dir = opendir(folder);
    bool ok = dir != NULL;
    if (!ok) return false;
    for (struct dirent *d; ok && (d = readdir(dir)) != NULL;) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0) continue;
        if (strcmp(d->d_name, except) != 0) ok = grant(ruleset, dirfd(dir), d->d_name, rights);
    }
    closedir(dir);
    return ok;
}

/* For /a/b/data: the others of /, of /a, of /a/b. Shortens `path`, which is real and absolute, as it goes up. */
static bool grant_around(int ruleset, char *path, uint64_t rights) {
    bool ok = true;
    while (ok && path[0] != '\0') {
        char *name = strrchr(path, '/');
        *name++ = '\0';
        ok = grant_others(ruleset, path[0] == '\0' ? "/" : path, name, rights);
    }
    return ok;
}

uint32_t evrt_confine_landlock(const char *store) {
    char path[PATH_MAX];
    int abi = abi_version();
    bool around = store != NULL && realpath(store, path) != NULL && path[1] != '\0';
    /* Without REFER to grant, no file could be renamed to another folder any more: not worth it alone. */
    if (abi < (around ? 1 : 2)) return 0;
    uint64_t rights = known(abi, around ? EVERYTHING : DEVICES | REFER);
    int ruleset = make_ruleset(abi, rights);
    if (ruleset < 0) return 0;
    bool ok = around ? grant_around(ruleset, path, rights) : grant(ruleset, AT_FDCWD, "/", REFER);
    ok = ok && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    close(ruleset);
    if (!ok) return 0;
    return (around ? EVRT_CONFINED_STORE_DENIED : 0) | (abi >= 6 ? EVRT_CONFINED_SIGNALS : 0) |
           EVRT_CONFINED_TRACING;
}

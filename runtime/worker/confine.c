/* See confine.h. The order matters: what needs privileges, then giving them up, then what needs none. */
#include "worker/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/error.h"
#include "frame/page.h"

enum { DESCRIPTORS_MAX = 4096 };

/* ---- Who ---- */

static int become(const char *name, struct evrt_error *err) {
    errno = 0;
    const struct passwd *user = getpwnam(name);
    if (user == NULL)
        return evrt_error_set(err, -EINVAL, "workers.user: there is no user \"%s\"%s%s", name,
                              errno == 0 ? "" : ": ", errno == 0 ? "" : strerror(errno));
    if (user->pw_uid == geteuid() && user->pw_uid == getuid()) return 0;
    if (initgroups(user->pw_name, user->pw_gid) < 0 ||
        setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0)
        return evrt_error_set(
            err, -errno,
            "workers.user: cannot become \"%s\": %s (only a node that runs as root "
            "can)",
            name, strerror(errno));
    return 0;
}

/* What administers a machine. The rest stays with a root worker: reading and writing files of others,
 * low ports. One that is not root has only what a user namespace gave it, and needs nothing. */
static void drop_capabilities(void) {
    static const unsigned administrative[] = {
        CAP_SYS_ADMIN, CAP_SYS_PTRACE,    CAP_SYS_MODULE,         CAP_SYS_RAWIO,
        CAP_SYS_BOOT,  CAP_SYS_TIME,      CAP_SYS_CHROOT,         CAP_DAC_READ_SEARCH,
        CAP_MKNOD,     CAP_SYSLOG,        CAP_MAC_ADMIN,          CAP_MAC_OVERRIDE,
        CAP_NET_ADMIN, CAP_AUDIT_CONTROL, CAP_LINUX_IMMUTABLE,    CAP_SYS_RESOURCE,
        CAP_BPF,       CAP_PERFMON,       CAP_CHECKPOINT_RESTORE,
    };
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0) return;
    bool root = geteuid() == 0;
    for (unsigned i = 0; i < sizeof administrative / sizeof administrative[0]; i++) {
        uint32_t bit = CAP_TO_MASK(administrative[i]), word = CAP_TO_INDEX(administrative[i]);
        data[word].effective &= ~bit;
        data[word].permitted &= ~bit;
        data[word].inheritable &= ~bit;
    }
    for (int i = 0; i < 2 && !root; i++)
        data[i] = (struct __user_cap_data_struct){0};
    (void)syscall(SYS_capset, &header, data);
}

/* ---- How much ---- */

static void limit(int resource, rlim_t most) {
    struct rlimit now;
    if (getrlimit(resource, &now) < 0) return;
    if (now.rlim_max < most) most = now.rlim_max;
    (void)setrlimit(resource, &(struct rlimit){most, most});
}

/* Lua's memory is limited by its allocator (memory.h), with a clear error; this is for what C libraries
 * and FFI take. Private writable memory only: LuaJIT reserves address space that it does not use, so an
 * RLIMIT_AS that fits it would hold back nothing. */
static void limit_all(uint64_t memory) {
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NOFILE, DESCRIPTORS_MAX);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)memory; /* sanitizers take terabytes */
#else
    enum { MIB = 1 << 20, BESIDE_LUA_MIB = 128 };
    limit(RLIMIT_DATA, memory + memory / 2 + (rlim_t)BESIDE_LUA_MIB * MIB);
#endif
}

int evrt_confine(const struct evrt_confine *c, uint32_t *confined, struct evrt_error *err) {
    *confined = 0;
    bool hidden = c->confine && evrt_confine_hide(c->store);
    int rc = c->user[0] == '\0' ? 0 : become(c->user, err);
    if (rc < 0) return rc;
    if (c->user[0] != '\0') *confined |= EVRT_CONFINED_USER;
    if (c->confine) {
        drop_capabilities();
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) *confined |= EVRT_CONFINED_PRIVILEGES;
        if (hidden) *confined |= EVRT_CONFINED_STORE_HIDDEN;
        *confined |= evrt_confine_landlock(hidden ? NULL : c->store);
        limit_all(c->memory);
        if (evrt_confine_calls()) *confined |= EVRT_CONFINED_CALLS;
    }
    /* Another user or namespace cleared both. */
    prctl(PR_SET_DUMPABLE, 1);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    return 0;
}

/* See confine.h: a filter of system calls. It refuses (EPERM) what looks into or acts on other processes,
 * administers the machine, or gets around the other confinements; it knows nothing of paths. A list of what
 * is refused and not of what is granted: scripts use libraries that nobody here knows. */
#include "worker/confine.h"

#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#endif

#ifndef NATIVE

bool evrt_confine_calls(void) {
    return false;
}

#else

#ifndef SECCOMP_FILTER_FLAG_SPEC_ALLOW
#define SECCOMP_FILTER_FLAG_SPEC_ALLOW 4
#endif

/* LeakSanitizer traces its own process. */
#ifdef __SANITIZE_ADDRESS__
#define TRACING(X)
#else
#define TRACING(X) X(ptrace)
#endif

/* clang-format off */
#define REFUSED(X)                                                                                   \
    TRACING(X) X(process_vm_readv) X(process_vm_writev) X(kcmp) X(process_madvise) X(pidfd_getfd)    \
    X(mount) X(umount2) X(pivot_root) X(chroot) X(setns) X(unshare) X(open_tree) X(move_mount)       \
    X(fsopen) X(fsconfig) X(fsmount) X(fspick) X(open_by_handle_at) X(quotactl) X(swapon) X(swapoff) \
    X(bpf) X(perf_event_open) X(userfaultfd) X(add_key) X(request_key) X(keyctl)                     \
    X(init_module) X(finit_module) X(delete_module) X(kexec_load) X(reboot) X(acct)                  \
    X(settimeofday) X(clock_settime) X(adjtimex) X(clock_adjtime) X(sethostname) X(setdomainname)
/* Programs fall back when these are not there; their arguments, in memory, no filter can see. */
#define ABSENT(X) X(clone3) X(io_uring_setup)
/* Their first argument is a process. */
#define ON_PROCESS(X) X(kill) X(tgkill) X(rt_sigqueueinfo) X(rt_tgsigqueueinfo) X(pidfd_open)
/* clang-format on */

enum {
    PROCESSES = 3, /* never to be signalled: the host, its group, everybody */
    INSTRUCTIONS_MAX = 256,
};

struct program {
    struct sock_filter code[INSTRUCTIONS_MAX];
    unsigned short n;
};

static void put(struct program *p, struct sock_filter instruction) {
    assert(p->n < INSTRUCTIONS_MAX);
    p->code[p->n++] = instruction;
}

#define LOAD(member) \
    (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define RETURN(value) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, value)
#define SKIP_UNLESS(kind, value, count) \
    (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_K | (kind), value, 0, count)
enum { REFUSE = SECCOMP_RET_ERRNO | EPERM, MISS = SECCOMP_RET_ERRNO | ENOSYS };

static void answer(struct program *p, unsigned nr, unsigned with) {
    put(p, SKIP_UNLESS(BPF_JEQ, nr, 1));
    put(p, RETURN(with));
}

/* The lower half of an argument is enough for numbers of 32 bits; this code is little-endian. */
static void on_process(struct program *p, unsigned nr, const int processes[PROCESSES]) {
    put(p, SKIP_UNLESS(BPF_JEQ, nr, 2 * PROCESSES + 2));
    put(p, LOAD(args[0]));
    for (int i = 0; i < PROCESSES; i++)
        answer(p, (unsigned)processes[i], REFUSE);
    put(p, RETURN(SECCOMP_RET_ALLOW));
}

static void on_flags(struct program *p, unsigned nr, size_t argument, unsigned kind,
                     unsigned value) {
    put(p, SKIP_UNLESS(BPF_JEQ, nr, 4));
    put(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)argument));
    put(p, SKIP_UNLESS(kind, value, 1));
    put(p, RETURN(REFUSE));
    put(p, RETURN(SECCOMP_RET_ALLOW));
}

static void write_program(struct program *p) {
    const int processes[PROCESSES] = {getppid(), -getpgid(getppid()), -1};
    put(p, LOAD(arch));
    put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_K | BPF_JEQ, NATIVE, 1, 0));
    put(p, RETURN(REFUSE));
    put(p, LOAD(nr));
#ifdef __x86_64__
    put(p, SKIP_UNLESS(BPF_JGE, 0x40000000, 1)); /* the x32 variants of all calls */
    put(p, RETURN(REFUSE));
#endif
#define X(name) answer(p, SYS_##name, REFUSE);
    REFUSED(X)
#undef X
#define X(name) answer(p, SYS_##name, MISS);
    ABSENT(X)
#undef X
#define X(name) on_process(p, SYS_##name, processes);
    ON_PROCESS(X)
#undef X
    const unsigned namespaces = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
                                CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    on_flags(p, SYS_clone, offsetof(struct seccomp_data, args[0]), BPF_JSET, namespaces);
    /* Typing into the terminal that the host was started from. */
    on_flags(p, SYS_ioctl, offsetof(struct seccomp_data, args[1]), BPF_JEQ, TIOCSTI);
    put(p, RETURN(SECCOMP_RET_ALLOW));
}

bool evrt_confine_calls(void) {
    struct program p = {.n = 0};
    write_program(&p);
    struct sock_fprog program = {p.n, p.code};
    /* Scripts are the operator's own: no reason to slow all of them for fear of speculation. */
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW,
                   &program) == 0;
}

#endif

/* See cpu.h. glibc has neither the calls nor their structure. */
#include "core/cpu.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { QUICK_NS = 100000, SHORT_NS = 300000, LONG_NS = 100000000, NICE = 10, NICE_MAX = 19 };

/* struct sched_attr, as of its first version. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

/* What has another policy than `from` was given it on purpose. */
static int get(pid_t thread, unsigned from, struct attributes *a) {
    *a = (struct attributes){.size = sizeof *a};
    if (syscall(SYS_sched_getattr, thread, a, sizeof *a, 0) < 0) return -errno;
    return a->policy == from ? 0 : -EINVAL;
}

static int set(pid_t thread, unsigned policy, uint64_t turn_ns, struct attributes *a) {
    a->policy = policy;
    a->runtime = turn_ns;
    return syscall(SYS_sched_setattr, thread, a, 0) < 0 ? -errno : 0;
}

static uint64_t length(enum evrt_cpu_turns turns) {
    static const uint64_t ns[] = {[EVRT_CPU_SHORT] = SHORT_NS, [EVRT_CPU_QUICK] = QUICK_NS};
    return ns[turns];
}

void evrt_cpu_turns(enum evrt_cpu_turns turns) {
    struct attributes a;
    if (get(0, SCHED_OTHER, &a) == 0) (void)set(0, SCHED_OTHER, length(turns), &a);
}

void evrt_cpu_nice(unsigned steps) {
    (void)!nice((int)steps);
}

/* Shorter, the timer would be over before the thread has left the CPU: a virtual machine takes 8 us to set one. */
void evrt_cpu_rest(void) {
    const struct timespec moment = {.tv_nsec = 20000};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
}

void evrt_cpu_give_way(void) {
    struct attributes a;
    if (get(0, SCHED_OTHER, &a) < 0) return;
    a.nice = a.nice < NICE_MAX - NICE ? a.nice + NICE : NICE_MAX;
    (void)set(0, SCHED_BATCH, LONG_NS, &a);
}

int evrt_cpu_aside(pid_t thread) {
    struct attributes a;
    int rc = get(thread, SCHED_OTHER, &a);
    if (rc < 0) return a.policy == SCHED_IDLE ? 0 : rc;
    return set(thread, SCHED_IDLE, 0, &a);
}

int evrt_cpu_back(pid_t thread, enum evrt_cpu_turns turns) {
    struct attributes a;
    int rc = get(thread, SCHED_IDLE, &a);
    return rc < 0 ? rc : set(thread, SCHED_OTHER, length(turns), &a);
}

/* See cpu.h. glibc has neither the call nor its structure. */
#include "core/cpu.h"

#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SHORT_NS = 300000, LONG_NS = 100000000, NICE = 10, NICE_MAX = 19 };

/* struct sched_attr, as of its first version. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

void evrt_cpu_turns(enum evrt_cpu_turns turns) {
    struct attributes a = {.size = sizeof a};
    if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) < 0 || a.policy != SCHED_OTHER) return;
    a.runtime = turns == EVRT_CPU_SHORT ? SHORT_NS : 0;
    (void)syscall(SYS_sched_setattr, 0, &a, 0);
}

void evrt_cpu_give_way(void) {
    struct attributes a = {.size = sizeof a};
    if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) < 0 || a.policy != SCHED_OTHER) return;
    a.policy = SCHED_BATCH;
    a.nice = a.nice < NICE_MAX - NICE ? a.nice + NICE : NICE_MAX;
    a.runtime = LONG_NS;
    (void)syscall(SYS_sched_setattr, 0, &a, 0);
}

/* How the kernel shares a CPU between the calling thread and others. */
#ifndef EVRT_CORE_CPU_H
#define EVRT_CORE_CPU_H

enum evrt_cpu_turns {
    EVRT_CPU_NORMAL,
    EVRT_CPU_SHORT, /* a yield gives little away, and a wake-up comes before others' normal turns end */
};

/* For the calling thread, and what it starts: not how much, only in what pieces. A kernel that does not know turns (before Linux 6.12) goes on as it
 * did. */
void evrt_cpu_turns(enum evrt_cpu_turns turns);

/* For the calling thread, for good: what it does may come late. It has a share of its own, a tenth of another's, in
 * long turns that anyone who wakes up may interrupt, and its own wake-ups interrupt nobody. Where this is refused
 * it goes on as it did. */
void evrt_cpu_give_way(void);

#endif

/* How the kernel shares a CPU between the calling thread and others: never how much, only in what pieces. */
#ifndef EVRT_CORE_CPU_H
#define EVRT_CORE_CPU_H

enum evrt_cpu_turns {
    EVRT_CPU_NORMAL,
    EVRT_CPU_SHORT, /* a yield gives little away, and a wake-up comes before others' normal turns end */
};

/* For the calling thread, and what it starts. A kernel that does not know turns (before Linux 6.12) goes on as it
 * did. */
void evrt_cpu_turns(enum evrt_cpu_turns turns);

#endif

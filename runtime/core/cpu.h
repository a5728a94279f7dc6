/* How the kernel shares a CPU between threads. */
#ifndef EVRT_CORE_CPU_H
#define EVRT_CORE_CPU_H

#include <sys/types.h>

enum evrt_cpu_turns {
    EVRT_CPU_NORMAL,
    EVRT_CPU_SHORT, /* a yield gives little away, and a wake-up comes before others' normal turns end */
    EVRT_CPU_QUICK, /* a wake-up comes before others' short turns end, too */
};

/* For the calling thread, and what it starts: not how much, only in what pieces. A kernel that does not know turns
 * (before Linux 6.12) goes on as it did; so does a thread that stands aside or gives way. */
void evrt_cpu_turns(enum evrt_cpu_turns turns);

/* For the calling thread, for good: its share is smaller by so many steps of nice(1). */
void evrt_cpu_nice(unsigned steps);
/* Whoever waits for this CPU has it for a moment, whatever the kernel owes whom: the calling thread sleeps. */
void evrt_cpu_rest(void);

/* For the calling thread, for good: what it does may come late. Its share is a tenth of that of a thread without nice, in
 * long turns that anyone who wakes up may interrupt, and its own wake-ups interrupt nobody. Where this is refused
 * it goes on as it did. */
void evrt_cpu_give_way(void);

/* The thread with this id (0: the calling one; a process: its first one) runs only when no other thread wants its
 * CPU, until it is called back: where all of them are busy that is next to never, so not for long. Negative errno
 * when it cannot, and goes on as it did. Standing aside is anyone's right, being called back is not (RLIMIT_NICE, or
 * privilege): try both on a thread that may be lost first. */
int evrt_cpu_aside(pid_t thread);
int evrt_cpu_back(pid_t thread, enum evrt_cpu_turns turns);

#endif

/* How the kernel shares a CPU between this process and others. */
#ifndef EVRT_CORE_CPU_H
#define EVRT_CORE_CPU_H

/* Asks for short turns on the CPU, for the calling thread and what it will start: no more time than before, but
 * in smaller pieces, so that a yield gives little away and a wake-up is served soon. What kernel does not know
 * that (before Linux 6.12) goes on as it did. */
void evrt_cpu_short_turns(void);

#endif

/* Loading scripts beside a node that is busy: on a thread that gives way to all that serves. */
#ifndef EVRT_WORKER_LOAD_THREAD_H
#define EVRT_WORKER_LOAD_THREAD_H

/* Calls load(arg) on a thread of its own, which yields to others, and waits for it. Where no thread can be had,
 * on this one. Returns what load returns. */
int evrt_load_aside(int (*load)(void *arg), void *arg);

#endif

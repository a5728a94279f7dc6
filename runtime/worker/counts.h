/* Metrics of scripts: what a worker has counted and not told yet. A script's count is an addition here; what
 * was added leaves with the next flush, one frame for all of it. Embedded in the worker; its loop's thread. */
#ifndef EVRT_WORKER_COUNTS_H
#define EVRT_WORKER_COUNTS_H

struct evrt_worker;

/* Puts what was counted since the last time. */
void evrt_counts_put(struct evrt_worker *w);
void evrt_counts_finish(struct evrt_worker *w);

#endif

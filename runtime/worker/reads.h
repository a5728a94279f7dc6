/* Reading a key without asking the host, where that says the same: from memory that the host keeps as of the last write it
 * has accepted (frame/values.h). What deliveries of this worker left behind and the host has not taken yet is not in
 * there, so those keys are asked for: an answer comes behind what was sent before.
 *
 *     EFFECTS number n sent, with the key ─▶ asked for ─▶ the page says that n were taken ─▶ read here
 *
 * Embedded in the worker; its loop's thread. */
#ifndef EVRT_WORKER_READS_H
#define EVRT_WORKER_READS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"

struct evrt_delivery;
struct evrt_values;
struct evrt_worker;

struct evrt_reads {
    struct evrt_values *values; /* NULL: there is nothing to be read here */
    uint64_t sent;              /* EFFECTS frames */
    uint64_t *last;             /* by a part of the key's hash: the last of them that had it */
};

/* From what the process inherited, page and values; without both every key is asked for. */
void evrt_reads_init(struct evrt_worker *w);
void evrt_reads_finish(struct evrt_reads *r);
/* These effects are being sent. */
void evrt_reads_sent(struct evrt_worker *w, struct evrt_slice effects);
/* false: the host is to be asked, as the running delivery is now and then, lest a script that reads for ever never
 * waits. Else *value is in `room`, of EVRT_VALUES_ROOM bytes; n 0: the key has none. */
bool evrt_reads_get(struct evrt_worker *w, struct evrt_slice ns, struct evrt_slice key, char *room,
                    struct evrt_slice *value);

#endif

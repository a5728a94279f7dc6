/* A store that no process has open: what `evrt store verify|repair` do. Owner: the caller; one thread. */
#ifndef EVRT_JOURNAL_STORE_H
#define EVRT_JOURNAL_STORE_H

#include <stdbool.h>

#include "evrt.h"

/* One finding, told as it is made. offset and length are bytes within the segment file. */
struct evrt_store_finding {
    const char *segment; /* file name */
    uint64_t offset, length;
    bool torn; /* a torn tail (harmless, cut at the next start); else damage */
    char what[200];
};

struct evrt_store_report {
    uint64_t segments, groups, records, events, bytes;
    uint64_t first_seq, next_seq;
    uint64_t damaged, torn; /* findings */
    uint64_t events_lost;   /* repair: sequences that a GAP now stands for */
};

typedef void (*evrt_store_finding_cb)(void *arg, const struct evrt_store_finding *f);
typedef void (*evrt_store_progress_cb)(void *arg, uint64_t bytes, uint64_t total);

/* Reads every byte. 0 also when damage was found (see the report); -EBUSY locked; -ENOENT no store. */
EVRT_MUST_CHECK int evrt_store_verify(const char *path, struct evrt_store_report *report,
                                      evrt_store_finding_cb finding,
                                      evrt_store_progress_cb progress, void *arg,
                                      struct evrt_error *err);
/* Sets every bad range aside under STORE/damaged/ and puts a GAP record in its place, so that the store
 * opens again. Nothing readable is lost. `dry_run`: only reports. */
EVRT_MUST_CHECK int evrt_store_repair(const char *path, bool dry_run,
                                      struct evrt_store_report *report,
                                      evrt_store_finding_cb finding,
                                      evrt_store_progress_cb progress, void *arg,
                                      struct evrt_error *err);

#endif

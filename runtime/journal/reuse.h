/* Whether a segment's file may be written on where its good groups end. Used at recovery; any thread. */
#ifndef EVRT_JOURNAL_REUSE_H
#define EVRT_JOURNAL_REUSE_H

#include <stdint.h>

#include "core/error.h"

struct evrt_reuse {
    uint64_t last_at;  /* where the last good group begins */
    uint64_t end;      /* where the good groups end */
    uint64_t used_end; /* one past the last byte that is not zero */
};

/* Makes the file fit to be written on: what it is known by is on the disk, its name and what went from the
 * folder before included, and zeros follow `end`. A descriptor, or a negative errno: it has to be looked at
 * once more and written anew. */
EVRT_MUST_CHECK int evrt_journal_reuse(int dir, const char *name, const struct evrt_reuse *r);
/* Writes the SEAL that ends at `end` once more, as it stands there, and syncs it. */
EVRT_MUST_CHECK int evrt_journal_reseal(int dir, const char *name, uint64_t end);

#endif

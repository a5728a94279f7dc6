/* Repair's writing. Every change is a new file, synced and renamed over the old one; what is taken out
 * is copied to STORE/damaged/ first. Owner: store.c; one thread. */
#ifndef EVRT_JOURNAL_REPAIR_H
#define EVRT_JOURNAL_REPAIR_H

#include "journal/folder.h"
#include "journal/survey.h"

/* Writes the segment anew: s->header, the good groups, a GAP in place of every bad range, and a SEAL at
 * the end when asked. s->link NULL: there is no file to take groups from. *end: where it ends now. */
EVRT_MUST_CHECK int evrt_repair_segment(const struct evrt_folder *f, const struct evrt_survey *s,
                                        bool seal, uint64_t *end, struct evrt_error *err);
/* Copies bytes of a segment to STORE/damaged/<segment>.<offset in hex>. */
EVRT_MUST_CHECK int evrt_repair_keep(const struct evrt_folder *f, const struct evrt_link *link,
                                     uint64_t offset, uint64_t length, struct evrt_error *err);
/* Moves a whole file there. */
EVRT_MUST_CHECK int evrt_repair_move(const struct evrt_folder *f, const struct evrt_link *link,
                                     struct evrt_error *err);

#endif

/* The segments of a store as the folder lists them: headers read, not yet judged. Used when opening and
 * by the store tools. Owner: the caller; one thread. */
#ifndef EVRT_JOURNAL_CHAIN_H
#define EVRT_JOURNAL_CHAIN_H

#include "journal/format.h"

struct evrt_link {
    uint64_t number; /* by its name */
    uint64_t file_size;
    enum evrt_header_state state;
    struct evrt_segment_header header; /* unless state is BAD or NEWER */
    char name[EVRT_SEGMENT_NAME];
};

struct evrt_chain {
    struct evrt_link *links; /* ascending by number */
    size_t n;
};

/* Lists and reads. Damage is in the links' states; an error is a folder or file that cannot be read. */
EVRT_MUST_CHECK int evrt_chain_load(struct evrt_chain *c, int journal_dir, struct evrt_error *err);
void evrt_chain_finish(struct evrt_chain *c);

/* Opens a link's file for reading. A descriptor, or a negative errno with err set. */
int evrt_chain_open(const struct evrt_link *link, int journal_dir, struct evrt_error *err);
/* Whether the segment ends, where `next` says it does, with the SEAL that next's numbers follow.
 * 1 or 0, or a negative errno. */
EVRT_MUST_CHECK int evrt_chain_sealed(const struct evrt_link *link, const struct evrt_link *next,
                                      int journal_dir, struct evrt_error *err);

#endif

/* What is good and what is bad in one segment file, as verify tells and repair acts on. Owner: the
 * caller; one thread. */
#ifndef EVRT_JOURNAL_SURVEY_H
#define EVRT_JOURNAL_SURVEY_H

#include "journal/chain.h"
#include "journal/scan.h"

/* Bytes that are no group, and what they held as far as the neighbours tell. */
struct evrt_bad {
    uint64_t offset, length;
    struct evrt_record_gap gap; /* groups 0: nothing that is not made anew (a SEAL) */
};

struct evrt_survey {
    const struct evrt_link *link;
    const struct evrt_link *next;      /* NULL: the last one */
    struct evrt_segment_header header; /* as it should be */
    struct evrt_bad *bad;
    size_t bad_count;
    uint64_t end;                  /* of the last good group */
    uint64_t next_group, next_seq; /* what must follow */
    bool sealed;
    uint64_t torn;   /* bytes of a torn tail behind `end`; 0: none */
    bool unfinished; /* last but one, without its SEAL, before an empty last one: no damage */
    uint64_t groups, records, events;
};

typedef void (*evrt_survey_progress)(void *arg, uint64_t offset);

/* Reads the whole segment. link->header is readable; `next`, if given, is too and follows directly. */
EVRT_MUST_CHECK int evrt_survey_segment(struct evrt_survey *s, const struct evrt_link *link,
                                        const struct evrt_link *next, int journal_dir,
                                        evrt_survey_progress progress, void *arg,
                                        struct evrt_error *err);
void evrt_survey_finish(struct evrt_survey *s);

/* What a file with an unreadable header held, by the look of it: walks group headers that follow one
 * another, unchecked. *groups is 0 when nothing looks like one. */
EVRT_MUST_CHECK int evrt_survey_guess(const struct evrt_link *link, int journal_dir,
                                      struct evrt_record_gap *out, struct evrt_error *err);

#endif

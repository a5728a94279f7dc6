/* The journal's bytes on disk. Pure: no files here, no allocation; any thread. Little-endian.
 *
 *     segment = header page, groups end to end, zeros up to the size the file was made with
 *
 *     header page, 4096: the header at 0 and again at 2048, zeros else
 *         0 magic "evrtseg\n"    24 u64 first group      56 u64 where the previous segment ended
 *         8 u32 version, u32 0   32 u64 first seq        64 i64 latest group time in it, ms
 *        16 u64 number           40 i64 made at, ms      72 u64 salt
 *                                48 u64 file size        80 u64 checksum of 0..79
 *     group, 56 and its records:
 *         0 u32 magic            16 u64 first seq        36 u32 events
 *         4 u32 check of 8..47   24 i64 written at, ms   40 u32 records, u32 0
 *         8 u64 number           32 u32 bytes of records 48 u64 checksum of 0..47 and the records
 *     record: u32 payload bytes, u8 kind, 3 zeros, payload, zeros up to a multiple of 8
 *
 * Both checks of a group are seeded with the segment's random salt: bytes that an event carries, or
 * that an earlier life of the disk block left, cannot pose as a group. The check of the header alone
 * lets a search trust a header (and its length) before it reads the body. A GAP stands alone in a group
 * that takes the number of the first group lost. */
#ifndef EVRT_JOURNAL_FORMAT_H
#define EVRT_JOURNAL_FORMAT_H

#include <stdbool.h>
#include <sys/uio.h>

#include "core/bytes.h"
#include "core/record.h"

enum {
    EVRT_STORE_VERSION = 1,
    EVRT_SEGMENT_PAGE = 4096,
    EVRT_SEGMENT_COPY = 2048, /* offset of the header's second copy */
    EVRT_SEGMENT_HEAD = 88,
    EVRT_GROUP_HEAD = 56,
    EVRT_RECORD_HEAD = 8,
    EVRT_SEAL_BYTES = EVRT_GROUP_HEAD + EVRT_RECORD_HEAD, /* a group that holds only a SEAL */
    EVRT_SEGMENT_NAME = 21,                               /* "0123456789abcdef.seg" and a NUL */
};

struct evrt_segment_header {
    uint64_t number;
    uint64_t first_group, first_seq;
    int64_t created_ms;
    uint64_t size;
    uint64_t prev_end; /* 0: there was no previous segment */
    int64_t prev_max_ms;
    uint64_t salt;
};

/* What evrt_segment_header_get() found. */
enum evrt_header_state {
    EVRT_HEADER_GOOD,
    EVRT_HEADER_HALF,  /* one copy is damaged, or bytes between them: *h is from the good one */
    EVRT_HEADER_BAD,   /* no copy is readable */
    EVRT_HEADER_NEWER, /* both copies are of a later version, h->number is that version */
};

void evrt_segment_header_put(void *page, const struct evrt_segment_header *h);
enum evrt_header_state evrt_segment_header_get(const void *page, struct evrt_segment_header *h);
/* "<16 hex digits>.seg" and back. */
void evrt_segment_name(uint64_t number, char out[EVRT_SEGMENT_NAME]);
bool evrt_segment_name_parse(const char *name, uint64_t *number);

struct evrt_group {
    uint64_t number, first_seq;
    int64_t time_ms;
    uint32_t length, events, records; /* length: of the records, without the header */
    /* Set by evrt_group_body(): */
    const char *body;
    uint64_t next_group, next_seq; /* what must follow; differs from number + 1 after a GAP */
    bool sealed;                   /* holds a SEAL */
};

/* Fills the 56 bytes at `head` for records that stand in iov[1..count-1]; iov[0] is the writer's for
 * the header itself. number to records are taken from g. */
void evrt_group_put(void *head, struct iovec *iov, size_t count, const struct evrt_group *g,
                    uint64_t salt);
/* Reads 56 bytes. -EBADMSG: not a group's header under this salt. */
EVRT_MUST_CHECK int evrt_group_head(const void *p, uint64_t salt, struct evrt_group *g);
/* The same without the salted check: a guess at what stands in a segment whose salt is lost. */
EVRT_MUST_CHECK int evrt_group_look(const void *p, struct evrt_group *g);
/* The rest of a group whose header at p was read: 56 + g->length bytes. -EBADMSG: damaged. */
EVRT_MUST_CHECK int evrt_group_body(const void *p, uint64_t salt, struct evrt_group *g);

static inline uint64_t evrt_record_bytes(uint64_t payload) {
    return EVRT_RECORD_HEAD + EVRT_ALIGN(payload, 8);
}
/* Starts a record at p (8-aligned room of evrt_record_bytes(n)); returns where the payload goes. */
char *evrt_record_begin(char *p, unsigned kind, uint32_t n);
/* Steps through the n bytes of records at body: *at starts at 0. 1, 0 at the end, -EBADMSG. */
int evrt_record_next(const char *body, size_t n, size_t *at, unsigned *kind,
                     struct evrt_slice *payload);

#endif

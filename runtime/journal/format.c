/* See format.h. Every length is checked against what holds it before it is used. */
#include "journal/format.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/event.h"
#include "core/hash.h"

static const char segment_magic[8] = "evrtseg\n";
enum {
    GROUP_MAGIC = 0x52475645, /* "EVGR" */
    HEADER_SEED =
        0x6a6f7572, /* the segment header's checksum cannot be salted: it holds the salt */
};

static void put_header(char *p, const struct evrt_segment_header *h) {
    memcpy(p, segment_magic, sizeof segment_magic);
    evrt_set_u32(p + 8, EVRT_STORE_VERSION);
    evrt_set_u64(p + 16, h->number);
    evrt_set_u64(p + 24, h->first_group);
    evrt_set_u64(p + 32, h->first_seq);
    evrt_set_u64(p + 40, (uint64_t)h->created_ms);
    evrt_set_u64(p + 48, h->size);
    evrt_set_u64(p + 56, h->prev_end);
    evrt_set_u64(p + 64, (uint64_t)h->prev_max_ms);
    evrt_set_u64(p + 72, h->salt);
    evrt_set_u64(p + 80, evrt_hash64(p, 80, HEADER_SEED));
}

void evrt_segment_header_put(void *page, const struct evrt_segment_header *h) {
    memset(page, 0, EVRT_SEGMENT_PAGE);
    put_header(page, h);
    put_header((char *)page + EVRT_SEGMENT_COPY, h);
}

static bool get_header(const char *p, struct evrt_segment_header *h) {
    if (memcmp(p, segment_magic, sizeof segment_magic) != 0) return false;
    if (evrt_get_u64(p + 80) != evrt_hash64(p, 80, HEADER_SEED)) return false;
    if (evrt_get_u32(p + 8) != EVRT_STORE_VERSION) return false;
    h->number = evrt_get_u64(p + 16);
    h->first_group = evrt_get_u64(p + 24);
    h->first_seq = evrt_get_u64(p + 32);
    h->created_ms = (int64_t)evrt_get_u64(p + 40);
    h->size = evrt_get_u64(p + 48);
    h->prev_end = evrt_get_u64(p + 56);
    h->prev_max_ms = (int64_t)evrt_get_u64(p + 64);
    h->salt = evrt_get_u64(p + 72);
    return h->first_group > 0 && h->first_seq > 0;
}

/* A flipped bit changes one copy; a later version changes both in the same way. */
static uint32_t newer_version(const char *page) {
    const char *copy = page + EVRT_SEGMENT_COPY;
    if (memcmp(page, segment_magic, sizeof segment_magic) != 0) return 0;
    if (memcmp(page, copy, 12) != 0) return 0;
    uint32_t version = evrt_get_u32(page + 8);
    return version > EVRT_STORE_VERSION ? version : 0;
}

enum evrt_header_state evrt_segment_header_get(const void *page, struct evrt_segment_header *h) {
    const char *p = page;
    struct evrt_segment_header second;
    memset(h, 0, sizeof *h);
    bool a = get_header(p, h);
    bool b = get_header(p + EVRT_SEGMENT_COPY, a ? &second : h);
    if (!a && !b) {
        h->number = newer_version(p);
        return h->number > 0 ? EVRT_HEADER_NEWER : EVRT_HEADER_BAD;
    }
    /* Good means the whole page is as it was made, so that no flipped bit passes unseen. */
    char whole[EVRT_SEGMENT_PAGE];
    evrt_segment_header_put(whole, h);
    return memcmp(whole, p, sizeof whole) == 0 ? EVRT_HEADER_GOOD : EVRT_HEADER_HALF;
}

void evrt_segment_name(uint64_t number, char out[EVRT_SEGMENT_NAME]) {
    snprintf(out, EVRT_SEGMENT_NAME, "%016llx.seg", (unsigned long long)number);
}

bool evrt_segment_name_parse(const char *name, uint64_t *number) {
    if (strlen(name) != EVRT_SEGMENT_NAME - 1 || strspn(name, "0123456789abcdef") != 16 ||
        strcmp(name + 16, ".seg") != 0)
        return false;
    *number = strtoull(name, NULL, 16);
    return *number > 0;
}

static uint32_t head_check(const char *p, uint64_t salt) {
    return (uint32_t)evrt_hash64(p + 8, 40, salt);
}

void evrt_group_put(void *head, struct iovec *iov, size_t count, const struct evrt_group *g,
                    uint64_t salt) {
    char *p = head;
    evrt_set_u32(p, GROUP_MAGIC);
    evrt_set_u64(p + 8, g->number);
    evrt_set_u64(p + 16, g->first_seq);
    evrt_set_u64(p + 24, (uint64_t)g->time_ms);
    evrt_set_u32(p + 32, g->length);
    evrt_set_u32(p + 36, g->events);
    evrt_set_u32(p + 40, g->records);
    evrt_set_u32(p + 44, 0);
    evrt_set_u32(p + 4, head_check(p, salt));
    iov[0] = (struct iovec){p, EVRT_GROUP_HEAD - 8};
    evrt_set_u64(p + 48, evrt_hash64_iov(iov, count, salt));
    iov[0].iov_len = EVRT_GROUP_HEAD;
}

int evrt_group_head(const void *at, uint64_t salt, struct evrt_group *g) {
    if (evrt_get_u32(at) != GROUP_MAGIC ||
        evrt_get_u32((const char *)at + 4) != head_check(at, salt))
        return -EBADMSG;
    return evrt_group_look(at, g);
}

int evrt_group_look(const void *at, struct evrt_group *g) {
    const char *p = at;
    if (evrt_get_u32(p) != GROUP_MAGIC) return -EBADMSG;
    memset(g, 0, sizeof *g);
    g->number = evrt_get_u64(p + 8);
    g->first_seq = evrt_get_u64(p + 16);
    g->time_ms = (int64_t)evrt_get_u64(p + 24);
    g->length = evrt_get_u32(p + 32);
    g->events = evrt_get_u32(p + 36);
    g->records = evrt_get_u32(p + 40);
    if (evrt_get_u32(p + 44) != 0 || g->length % 8 != 0 || g->records == 0 ||
        g->events > g->records || g->length / EVRT_RECORD_HEAD < g->records || g->number == 0 ||
        g->first_seq == 0)
        return -EBADMSG;
    return 0;
}

/* What a GAP says must follow from where it stands. */
static int take_gap(struct evrt_group *g, struct evrt_slice payload) {
    struct evrt_record_gap gap;
    if (g->records != 1 || evrt_record_get_gap(payload, &gap) < 0) return -EBADMSG;
    if (gap.first_group != g->number || gap.first_seq != g->first_seq || gap.groups == 0 ||
        gap.groups > UINT64_MAX - g->number || gap.events > UINT64_MAX - g->first_seq)
        return -EBADMSG;
    g->next_group = g->number + gap.groups;
    g->next_seq = g->first_seq + gap.events;
    return 0;
}

int evrt_group_body(const void *at, uint64_t salt, struct evrt_group *g) {
    const char *p = at;
    struct iovec iov[2] = {{(void *)(uintptr_t)p, EVRT_GROUP_HEAD - 8},
                           {(void *)(uintptr_t)(p + EVRT_GROUP_HEAD), g->length}};
    if (evrt_get_u64(p + 48) != evrt_hash64_iov(iov, 2, salt)) return -EBADMSG;
    g->body = p + EVRT_GROUP_HEAD;
    g->next_group = g->number + 1;
    g->next_seq = g->first_seq + g->events;
    uint32_t records = 0, events = 0;
    unsigned kind;
    struct evrt_slice payload;
    int rc;
    for (size_t i = 0; (rc = evrt_record_next(g->body, g->length, &i, &kind, &payload)) > 0;) {
        records++;
        events += kind == EVRT_RECORD_EVENT;
        if (kind == EVRT_RECORD_EVENT && payload.n < EVRT_EVENT_HEADER) return -EBADMSG;
        if (kind == EVRT_RECORD_SEAL) g->sealed = true;
        if (kind == EVRT_RECORD_GAP && take_gap(g, payload) < 0) return -EBADMSG;
    }
    if (rc < 0 || records != g->records || events != g->events) return -EBADMSG;
    return 0;
}

char *evrt_record_begin(char *p, unsigned kind, uint32_t n) {
    evrt_set_u32(p, n);
    evrt_set_u32(p + 4, kind & 0xff);
    if (n % 8 != 0) evrt_set_u64(p + EVRT_RECORD_HEAD + n / 8 * 8, 0);
    return p + EVRT_RECORD_HEAD;
}

int evrt_record_next(const char *body, size_t n, size_t *at, unsigned *kind,
                     struct evrt_slice *payload) {
    if (*at >= n) return *at == n ? 0 : -EBADMSG;
    if (n - *at < EVRT_RECORD_HEAD) return -EBADMSG;
    const char *p = body + *at;
    uint64_t bytes = evrt_record_bytes(evrt_get_u32(p));
    *kind = evrt_get_u32(p + 4);
    if (bytes > n - *at || *kind == 0 || *kind > 0xff) return -EBADMSG;
    *payload = (struct evrt_slice){p + EVRT_RECORD_HEAD, evrt_get_u32(p)};
    *at += bytes;
    return 1;
}

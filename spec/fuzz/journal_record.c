/* Fuzz target: bytes as what stands in a segment file: a header page, groups, records. Nothing may be read
 * out of bounds; what is accepted must be consistent. A fuzzer cannot guess checksums, so the input is also
 * put into groups with good ones. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/buf.h"
#include "journal/file.h"
#include "journal/format.h"
#include "journal/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SALT = 99 };

static void header(const char *p, size_t n) {
    char page[EVRT_SEGMENT_PAGE] = {0};
    struct evrt_segment_header h;
    memcpy(page, p, n < sizeof page ? n : sizeof page);
    if (evrt_segment_header_get(page, &h) != EVRT_HEADER_GOOD) return;
    char again[EVRT_SEGMENT_PAGE];
    evrt_segment_header_put(again, &h);
    assert(memcmp(page, again, sizeof page) == 0);
}

static void records(const char *p, size_t n) {
    size_t at = 0;
    unsigned kind;
    struct evrt_slice payload;
    while (evrt_record_next(p, n, &at, &kind, &payload) > 0) {
        assert(payload.p >= p && payload.p + payload.n <= p + n && at <= n);
        struct evrt_record_gap gap;
        if (kind == EVRT_RECORD_GAP && evrt_record_get_gap(payload, &gap) == 0) assert(at > 0);
    }
}

static void group(const char *p, size_t n) {
    struct evrt_group g;
    if (n < EVRT_GROUP_HEAD || evrt_group_look(p, &g) < 0) return;
    if (evrt_group_head(p, SALT, &g) < 0) return;
    if (g.length > n - EVRT_GROUP_HEAD || evrt_group_body(p, SALT, &g) < 0) return;
    assert(g.next_group > g.number && g.next_seq >= g.first_seq);
}

/* The input as the records of a group that is whole. Its first bytes say how many there are. */
static void good_group(const char *p, size_t n) {
    if (n < 8) return;
    size_t body = (n - 8) / 8 * 8;
    struct evrt_buf b;
    evrt_buf_init(&b);
    evrt_buf_room(&b, EVRT_GROUP_HEAD + body);
    memcpy(b.p + EVRT_GROUP_HEAD, p + 8, body);
    struct iovec iov[2] = {{NULL, 0}, {b.p + EVRT_GROUP_HEAD, body}};
    struct evrt_group g = {.number = (unsigned char)p[0],
                           .first_seq = (unsigned char)p[1],
                           .length = (uint32_t)body,
                           .events = (unsigned char)p[2],
                           .records = (unsigned char)p[3]};
    evrt_group_put(b.p, iov, 2, &g, SALT);
    group(b.p, EVRT_GROUP_HEAD + body);
    evrt_buf_finish(&b);
}

/* The input as a file: every walk must end, within it. */
static void file(const char *p, size_t n) {
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || evrt_file_write(fd, p, n, 0) < 0) abort();
    struct evrt_scan scan;
    struct evrt_tail tail;
    struct evrt_group g;
    uint64_t next_group = 1, next_seq = 1, end, offset;
    evrt_scan_init(&scan, fd, SALT, n);
    if (evrt_scan_walk(&scan, 0, &next_group, &next_seq, &end, NULL, NULL) < 0) abort();
    assert(end <= n);
    if (evrt_scan_tail(&scan, end, next_group, &tail) < 0) abort();
    assert(tail.used_end >= end && tail.used_end <= n);
    int rc = evrt_scan_resume(&scan, end, next_group, &offset, &g);
    assert(rc == 0 || (rc == 1 && tail.later && offset >= end));
    evrt_scan_finish(&scan);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *p = (const char *)data;
    if (size == 0 || size > 1 << 20) return 0;
    header(p, size);
    records(p, size);
    group(p, size);
    good_group(p, size);
    file(p, size);
    return 0;
}

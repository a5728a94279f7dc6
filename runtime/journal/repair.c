/* See repair.h. The salt stays: good groups are copied as they are. */
#include "journal/repair.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/error.h"
#include "journal/file.h"

static const char fresh_name[] = "segment.new";

static int fail(struct evrt_error *err, int rc, const char *name) {
    return evrt_error_set(err, rc, "repairing segment %s: %s", name, strerror(-rc));
}

/* The folder damaged/, made when it is not there. */
static int open_damaged(const struct evrt_folder *f) {
    bool made = mkdirat(f->store, "damaged", 0700) == 0;
    if (!made && errno != EEXIST) return -errno;
    int dir = openat(f->store, "damaged", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) return -errno;
    int rc = made ? evrt_file_sync(f->store) : 0;
    if (rc == 0) return dir;
    close(dir);
    return rc;
}

static int copy(int from, uint64_t from_at, uint64_t n, int to, uint64_t to_at) {
    char piece[64 << 10];
    while (n > 0) {
        ssize_t got =
            evrt_file_read(from, piece, n < sizeof piece ? (size_t)n : sizeof piece, from_at);
        if (got < 0) return (int)got;
        if (got == 0) return 0; /* the file ends before the damage does */
        int rc = evrt_file_write(to, piece, (size_t)got, to_at);
        if (rc < 0) return rc;
        from_at += (uint64_t)got;
        to_at += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return 0;
}

int evrt_repair_keep(const struct evrt_folder *f, const struct evrt_link *link, uint64_t offset,
                     uint64_t length, struct evrt_error *err) {
    char name[64];
    snprintf(name, sizeof name, "%s.%llx", link->name, (unsigned long long)offset);
    int from = evrt_chain_open(link, f->journal, err);
    if (from < 0) return from;
    int dir = open_damaged(f);
    int to = dir < 0 ? dir : evrt_file_create(dir, name);
    int rc = to < 0 ? to : copy(from, offset, length, to, 0);
    if (rc == 0) rc = evrt_file_sync(to);
    if (rc == 0) rc = evrt_file_sync(dir);
    if (to >= 0) close(to);
    if (dir >= 0) close(dir);
    close(from);
    return rc < 0 ? fail(err, rc, link->name) : 0;
}

int evrt_repair_move(const struct evrt_folder *f, const struct evrt_link *link,
                     struct evrt_error *err) {
    int dir = open_damaged(f);
    int rc = dir < 0 ? dir : 0;
    if (rc == 0 && renameat(f->journal, link->name, dir, link->name) < 0) rc = -errno;
    if (rc == 0) rc = evrt_file_sync(dir);
    if (rc == 0) rc = evrt_file_sync(f->journal);
    if (dir >= 0) close(dir);
    return rc < 0 ? fail(err, rc, link->name) : 0;
}

/* A file being written, group by group. */
struct out {
    int fd;
    uint64_t at, salt;
};

static int put_group(struct out *o, enum evrt_record_kind kind, struct evrt_slice payload,
                     uint64_t group, uint64_t seq) {
    char head[EVRT_GROUP_HEAD], record[128];
    uint64_t n = evrt_record_bytes(payload.n);
    if (n > sizeof record) return -EMSGSIZE;
    char *at = evrt_record_begin(record, kind, (uint32_t)payload.n);
    if (payload.n > 0) memcpy(at, payload.p, payload.n);
    struct iovec iov[2] = {{NULL, 0}, {record, (size_t)n}};
    struct evrt_group g = {.number = group,
                           .first_seq = seq,
                           .time_ms = evrt_wall_ms(),
                           .length = (uint32_t)n,
                           .records = 1};
    evrt_group_put(head, iov, 2, &g, o->salt);
    size_t bytes = sizeof head + (size_t)n;
    int rc = evrt_file_writev(o->fd, iov, 2, bytes, o->at, false);
    if (rc == 0) o->at += bytes;
    return rc;
}

static int put_gap(struct out *o, const struct evrt_record_gap *gap) {
    if (gap->groups == 0) return 0;
    struct evrt_buf payload;
    evrt_buf_init(&payload);
    evrt_record_put_gap(&payload, gap);
    int rc =
        put_group(o, EVRT_RECORD_GAP, evrt_buf_slice(&payload), gap->first_group, gap->first_seq);
    evrt_buf_finish(&payload);
    return rc;
}

static int put_groups(struct out *o, const struct evrt_survey *s, int from, bool seal) {
    uint64_t good = EVRT_SEGMENT_PAGE;
    for (size_t i = 0; i <= s->bad_count; i++) {
        uint64_t to = i < s->bad_count ? s->bad[i].offset : s->end;
        uint64_t n = to > good ? to - good : 0;
        int rc = n == 0 ? 0 : copy(from, good, n, o->fd, o->at);
        o->at += n;
        if (rc == 0 && i < s->bad_count) {
            rc = put_gap(o, &s->bad[i].gap);
            good = s->bad[i].offset + s->bad[i].length;
        }
        if (rc < 0) return rc;
    }
    return seal ? put_group(o, EVRT_RECORD_SEAL, (struct evrt_slice){NULL, 0}, s->next_group,
                            s->next_seq)
                : 0;
}

static int put_header(const struct out *o, const struct evrt_survey *s) {
    char page[EVRT_SEGMENT_PAGE];
    struct evrt_segment_header h = s->header;
    if (h.size < o->at + EVRT_SEAL_BYTES)
        h.size = EVRT_ALIGN(o->at + EVRT_SEAL_BYTES, EVRT_SEGMENT_PAGE);
    if (ftruncate(o->fd, (off_t)h.size) < 0) return -errno;
    evrt_segment_header_put(page, &h);
    return evrt_file_write(o->fd, page, sizeof page, 0);
}

static int write_anew(const struct evrt_folder *f, const struct evrt_survey *s, int from, bool seal,
                      const char *name, uint64_t *end) {
    struct out o = {.at = EVRT_SEGMENT_PAGE, .salt = s->header.salt};
    o.fd = evrt_file_create(f->journal, fresh_name);
    if (o.fd < 0) return o.fd;
    int rc = put_groups(&o, s, from, seal);
    if (rc == 0) rc = put_header(&o, s);
    if (rc == 0) rc = evrt_file_sync(o.fd);
    close(o.fd);
    if (rc == 0 && renameat(f->journal, fresh_name, f->journal, name) < 0) rc = -errno;
    if (rc == 0) rc = evrt_file_sync(f->journal);
    if (rc < 0) (void)unlinkat(f->journal, fresh_name, 0);
    *end = o.at;
    return rc;
}

int evrt_repair_segment(const struct evrt_folder *f, const struct evrt_survey *s, bool seal,
                        uint64_t *end, struct evrt_error *err) {
    char name[EVRT_SEGMENT_NAME];
    int from = -1, rc = 0;
    evrt_segment_name(s->header.number, name);
    if (s->link != NULL) {
        if (s->link->state == EVRT_HEADER_HALF)
            rc = evrt_repair_keep(f, s->link, 0, EVRT_SEGMENT_PAGE, err);
        for (size_t i = 0; rc == 0 && i < s->bad_count; i++)
            if (s->bad[i].length > 0)
                rc = evrt_repair_keep(f, s->link, s->bad[i].offset, s->bad[i].length, err);
        if (rc < 0) return rc;
        from = evrt_chain_open(s->link, f->journal, err);
        if (from < 0) return from;
    }
    rc = write_anew(f, s, from, seal, name, end);
    if (from >= 0) close(from);
    return rc < 0 ? fail(err, rc, name) : 0;
}

/* See reuse.h. What is asked is whether the disk has what the page cache shows: after a failed write the
 * cache may hold a group that the disk does not, and calls it clean. Only the last group can be such a one,
 * as each is written when the one before was synced; so that one is read past the cache, and compared. File
 * systems that encrypt, compress or journal data take O_DIRECT and read through the cache all the same: it
 * is told to forget those pages in between.
 *
 *     | synced, or the next one would not be there | last group | torn | zeros
 *                                                   compared     zeroed
 *
 * The torn part goes: a later group must not be taken for one that was built on it. */
#include "journal/reuse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/bytes.h"
#include "journal/file.h"
#include "journal/format.h"

enum { PIECE = 256 << 10 };

/* -EIO: they differ. */
static int compare(int cached, int direct, uint64_t from, uint64_t to, char *pieces) {
    for (uint64_t at = from; at < to; at += PIECE) {
        size_t n = to - at < PIECE ? (size_t)(to - at) : PIECE;
        ssize_t here = evrt_file_read(cached, pieces, n, at);
        (void)posix_fadvise(cached, (off_t)at, (off_t)n, POSIX_FADV_DONTNEED);
        ssize_t there = evrt_file_read(direct, pieces + PIECE, n, at);
        if (here < 0 || there < 0) return (int)(here < 0 ? here : there);
        if (here != there || memcmp(pieces, pieces + PIECE, (size_t)here) != 0) return -EIO;
    }
    return 0;
}

static int is_on_disk(int dir, const char *name, int fd, const struct evrt_reuse *r) {
    int direct = openat(dir, name, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (direct < 0) return -errno;
    void *pieces = NULL;
    int rc = -posix_memalign(&pieces, EVRT_FILE_PAGE, (size_t)2 * PIECE);
    if (rc == 0)
        rc = compare(fd, direct, r->last_at / EVRT_FILE_PAGE * EVRT_FILE_PAGE,
                     EVRT_ALIGN(r->end, EVRT_FILE_PAGE), pieces);
    free(pieces);
    close(direct);
    return rc;
}

static int clear(int fd, uint64_t from, uint64_t to) {
    static const char zeros[16 << 10];
    for (uint64_t at = from; at < to;) {
        size_t n = to - at < sizeof zeros ? (size_t)(to - at) : sizeof zeros;
        int rc = evrt_file_write(fd, zeros, n, at);
        if (rc < 0) return rc;
        at += n;
    }
    return from < to ? evrt_file_sync(fd) : 0;
}

/* A copy may be sparse: a commit must not find the disk full. */
static int fill_holes(int fd, uint64_t from) {
    uint64_t size;
    int rc = evrt_file_size(fd, &size);
    if (rc == 0 && from < size) rc = evrt_file_allocate(fd, from, size);
    return rc == -EOPNOTSUPP ? 0 : rc;
}

int evrt_journal_reuse(int dir, const char *name, const struct evrt_reuse *r) {
    int fd = openat(dir, name, O_RDWR | O_CLOEXEC);
    if (fd < 0) return -errno;
    int rc = evrt_file_sync(fd); /* and tells of any write back that failed unheard */
    if (rc == 0) rc = evrt_file_sync(dir);
    if (rc == 0) rc = is_on_disk(dir, name, fd, r);
    if (rc == 0) rc = clear(fd, r->end, r->used_end);
    if (rc == 0) rc = fill_holes(fd, r->end);
    if (rc == 0) return fd;
    close(fd);
    return rc;
}

int evrt_journal_reseal(int dir, const char *name, uint64_t end) {
    char seal[EVRT_SEAL_BYTES];
    int fd = openat(dir, name, O_RDWR | O_CLOEXEC);
    if (fd < 0) return -errno;
    ssize_t n = evrt_file_read(fd, seal, sizeof seal, end - sizeof seal);
    int rc = n < 0 ? (int)n : n < (ssize_t)sizeof seal ? -EIO : 0;
    struct iovec iov = {seal, sizeof seal};
    if (rc == 0) rc = evrt_file_writev(fd, &iov, 1, sizeof seal, end - sizeof seal, true);
    close(fd);
    return rc;
}

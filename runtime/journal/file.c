/* See file.h. */
#include "journal/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/bytes.h"

enum { PIECE = 1 << 20 }; /* of zeros written at once */

ssize_t evrt_file_read(int fd, void *p, size_t n, uint64_t offset) {
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(fd, (char *)p + done, n - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -errno;
        if (got == 0) break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

int evrt_file_writev(int fd, const struct iovec *iov, size_t count, size_t bytes, uint64_t offset,
                     bool dsync) {
    ssize_t put;
    bool synced = dsync;
    do
        put = pwritev2(fd, iov, (int)count, (off_t)offset, dsync ? RWF_DSYNC : 0);
    while (put < 0 && errno == EINTR);
    if (put < 0 && dsync && (errno == EOPNOTSUPP || errno == ENOSYS)) {
        synced = false;
        do
            put = pwritev(fd, iov, (int)count, (off_t)offset);
        while (put < 0 && errno == EINTR);
    }
    if (put < 0) return -errno;
    if ((size_t)put != bytes) return -EIO;
    if (dsync && !synced && fdatasync(fd) < 0) return -errno;
    return 0;
}

int evrt_file_write(int fd, const void *p, size_t n, uint64_t offset) {
    struct iovec iov = {(void *)(uintptr_t)p, n};
    return evrt_file_writev(fd, &iov, 1, n, offset, false);
}

int evrt_file_sync(int fd) {
    return fsync(fd) < 0 ? -errno : 0;
}

int evrt_file_size(int fd, uint64_t *size) {
    struct stat st;
    if (fstat(fd, &st) < 0) return -errno;
    *size = (uint64_t)st.st_size;
    return 0;
}

int evrt_file_create(int dir, const char *name) {
    /* A fresh inode: someone may still be reading the one that had this name. */
    if (unlinkat(dir, name, 0) < 0 && errno != ENOENT) return -errno;
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

/* Its error counts: having told it here, the kernel may not tell it again to a later fsync. */
static int push_out(int fd, uint64_t at, size_t n) {
    unsigned flags =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (sync_file_range(fd, (off_t)at, (off_t)n, flags) == 0) return 0;
    return errno == ENOSYS || errno == EINVAL ? 0 : -errno;
}

/* One piece of zeros. The iovecs are aligned for O_DIRECT when n is. */
static int put_zeros(int fd, uint64_t at, size_t n) {
    static const char zeros[16 << 10] __attribute__((aligned(EVRT_FILE_PAGE)));
    struct iovec iov[PIECE / sizeof zeros];
    size_t count = 0;
    for (size_t left = n; left > 0; count++) {
        size_t part = left < sizeof zeros ? left : sizeof zeros;
        iov[count] = (struct iovec){(void *)(uintptr_t)zeros, part};
        left -= part;
    }
    return evrt_file_writev(fd, iov, count, n, at, false);
}

/* Zeros by O_DIRECT need no page cache: 64 MiB cost 6 to 14 ms of CPU so, and 80 to 190 ms through it, which
 * is more than a microsecond for each event of 400 bytes. False where the file system has none. */
static bool set_direct(int fd, bool on) {
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

static int fill(int fd, uint64_t from, uint64_t to, bool smooth,
                int (*pause)(void *arg, uint64_t done), void *arg) {
    bool direct = from % EVRT_FILE_PAGE == 0 && to % EVRT_FILE_PAGE == 0 && set_direct(fd, true);
    int rc = 0;
    for (uint64_t at = from; rc == 0 && at < to;) {
        size_t n = to - at < PIECE ? (size_t)(to - at) : PIECE;
        rc = put_zeros(fd, at, n);
        if (rc == -EINVAL && direct) { /* it took the flag, but not the write */
            direct = !set_direct(fd, false);
            rc = put_zeros(fd, at, n);
        }
        if (rc == 0 && smooth && !direct) rc = push_out(fd, at, n);
        at += n;
        if (rc == 0 && pause != NULL) rc = pause(arg, at - from);
    }
    if (direct && !set_direct(fd, false) && rc == 0) rc = -errno;
    return rc;
}

int evrt_file_allocate(int fd, uint64_t from, uint64_t to) {
    return fallocate(fd, 0, (off_t)from, (off_t)(to - from)) < 0 ? -errno : 0;
}

int evrt_file_fill(int fd, uint64_t from, uint64_t to, bool smooth,
                   int (*pause)(void *arg, uint64_t done), void *arg) {
    uint64_t page = EVRT_ALIGN(from, EVRT_FILE_PAGE);
    /* All the space is claimed before any is written: a full disk is found at once. */
    if (fallocate(fd, 0, (off_t)from, (off_t)(to - from)) < 0 && errno != EOPNOTSUPP) return -errno;
    if (page > to) page = to;
    int rc = page == from ? 0 : put_zeros(fd, from, (size_t)(page - from));
    return rc < 0 ? rc : fill(fd, page, to, smooth, pause, arg);
}

int evrt_folder_make(const char *path) {
    if (mkdir(path, 0700) == 0) return 1;
    if (errno != EEXIST) return -errno;
    struct stat st;
    if (stat(path, &st) < 0) return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

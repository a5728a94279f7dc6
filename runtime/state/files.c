/* See files.h. */
#include "state/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/hash.h"

#define PIECE (256 * 1024)

static const char *const beside[] = {"-wal", "-shm"};

char *evrt_state_file_path(const char *fmt, ...) {
    char *path = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&path, fmt, ap);
    va_end(ap);
    if (n < 0) abort();
    return path;
}

bool evrt_state_file_exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

int evrt_state_file_sync(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int rc = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

int evrt_state_file_mkdir(const char *path) {
    if (mkdir(path, 0700) < 0 && errno != EEXIST) return -errno;
    char *above = evrt_state_file_path("%s/..", path);
    int rc = evrt_state_file_sync(above);
    free(above);
    return rc;
}

/* Fills as much of the piece as the file has. Returns the bytes, or a negative errno. */
static ssize_t read_piece(int fd, char *piece) {
    size_t n = 0;
    while (n < PIECE) {
        ssize_t got = read(fd, piece + n, PIECE - n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -errno;
        if (got == 0) break;
        n += (size_t)got;
    }
    return (ssize_t)n;
}

static int write_all(int fd, const char *p, size_t n) {
    while (n > 0) {
        ssize_t put = write(fd, p, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return -errno;
        p += put;
        n -= (size_t)put;
    }
    return 0;
}

/* The hash of each piece is seeded by that of the one before, so a file never has to be in memory. */
int evrt_state_file_hash(const char *path, uint64_t *hash, uint64_t *size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    char *piece = evrt_alloc(PIECE);
    ssize_t n;
    *hash = *size = 0;
    while ((n = read_piece(fd, piece)) > 0) {
        *hash = evrt_hash64(piece, (size_t)n, *hash);
        *size += (uint64_t)n;
    }
    free(piece);
    close(fd);
    return n < 0 ? (int)n : 0;
}

static int open_new(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

/* Syncs and closes what was written well; else removes it. */
static int finish_new(int fd, const char *path, int rc) {
    if (rc == 0 && fsync(fd) < 0) rc = -errno;
    close(fd);
    if (rc < 0) unlink(path);
    return rc;
}

int evrt_state_file_copy(const char *from, const char *to) {
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) return -errno;
    int out = open_new(to), rc = out < 0 ? out : 0;
    if (out >= 0) {
        char *piece = evrt_alloc(PIECE);
        ssize_t n;
        while (rc == 0 && (n = read_piece(in, piece)) != 0)
            rc = n < 0 ? (int)n : write_all(out, piece, (size_t)n);
        free(piece);
        rc = finish_new(out, to, rc);
    }
    close(in);
    return rc;
}

int evrt_state_file_write(const char *path, const char *text, size_t n) {
    int fd = open_new(path);
    return fd < 0 ? fd : finish_new(fd, path, write_all(fd, text, n));
}

int evrt_state_file_set_aside(const char *path) {
    if (!evrt_state_file_exists(path)) return -ENOENT;
    int64_t ms = evrt_wall_ms();
    char *to = NULL;
    do {
        free(to);
        to = evrt_state_file_path("%s.damaged-%lld", path, (long long)ms++);
    } while (evrt_state_file_exists(to));
    int rc = rename(path, to) < 0 ? -errno : 0;
    for (size_t i = 0; rc == 0 && i < sizeof beside / sizeof beside[0]; i++) {
        char *log = evrt_state_file_path("%s%s", path, beside[i]);
        char *log_to = evrt_state_file_path("%s%s", to, beside[i]);
        if (rename(log, log_to) < 0 && errno != ENOENT) rc = -errno;
        free(log);
        free(log_to);
    }
    free(to);
    return rc;
}

void evrt_state_file_unlink_log(const char *path) {
    for (size_t i = 0; i < sizeof beside / sizeof beside[0]; i++) {
        char *log = evrt_state_file_path("%s%s", path, beside[i]);
        unlink(log);
        free(log);
    }
}

/* Files as the journal needs them: whole reads and writes, synced folders, zero-filled files.
 * Any thread. 0 or a negative errno; a short write is -EIO (files are preallocated: it has no good
 * reason). Nothing is retried but EINTR: a failed fsync is never asked again (D9). */
#ifndef EVRT_JOURNAL_FILE_H
#define EVRT_JOURNAL_FILE_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "evrt.h"

enum { EVRT_FILE_PAGE = 4096 };

/* Reads up to n bytes at `offset`; less only at the end of the file. The count, or a negative errno. */
ssize_t evrt_file_read(int fd, void *p, size_t n, uint64_t offset);
EVRT_MUST_CHECK int evrt_file_write(int fd, const void *p, size_t n, uint64_t offset);
/* One gathered write. `dsync`: data (and what is needed to find it) is on the disk when it returns.
 * Uses RWF_DSYNC, or fdatasync where the file system does not know that flag. */
EVRT_MUST_CHECK int evrt_file_writev(int fd, const struct iovec *iov, size_t count, size_t bytes,
                                     uint64_t offset, bool dsync);
EVRT_MUST_CHECK int evrt_file_sync(int fd); /* fsync; also of a folder */
EVRT_MUST_CHECK int evrt_file_size(int fd, uint64_t *size);

/* Creates `name` in the folder, empty, 0600, replacing what was there. The descriptor or an errno. */
int evrt_file_create(int dir, const char *name);
/* Allocates [from, to) of the file; it reads as zeros. */
EVRT_MUST_CHECK int evrt_file_allocate(int fd, uint64_t from, uint64_t to);
/* And fills it with zeros, so that a later write there changes no metadata. `pause` (may be NULL) is
 * asked after each piece with the bytes done; non-zero ends the work with that value. `smooth`: hands
 * each piece to the disk at once instead of in one burst. */
EVRT_MUST_CHECK int evrt_file_fill(int fd, uint64_t from, uint64_t to, bool smooth,
                                   int (*pause)(void *arg, uint64_t done), void *arg);
/* Makes a folder 0700 unless it is there; 1 when it was made. */
int evrt_folder_make(const char *path);

#endif

/* What state.db and its snapshots need of the file system. Any thread; paths are the caller's. */
#ifndef EVRT_STATE_FILES_H
#define EVRT_STATE_FILES_H

#include <stdbool.h>

#include "evrt.h"

/* A printf-made path; the caller frees. */
char *evrt_state_file_path(const char *fmt, ...) __attribute__((format(printf, 1, 2), malloc));
bool evrt_state_file_exists(const char *path);
/* fsync of a file, or of a folder, so that names made or moved in it stay. 0 or a negative errno. */
EVRT_MUST_CHECK int evrt_state_file_sync(const char *path);
/* Makes it unless it is there; either way its name is durable then. */
EVRT_MUST_CHECK int evrt_state_file_mkdir(const char *path);
/* Reads a whole file in pieces and hashes it. */
EVRT_MUST_CHECK int evrt_state_file_hash(const char *path, uint64_t *hash, uint64_t *size);
/* A synced copy; `to` is replaced. Removed again on error. */
EVRT_MUST_CHECK int evrt_state_file_copy(const char *from, const char *to);
/* A synced file of this text. */
EVRT_MUST_CHECK int evrt_state_file_write(const char *path, const char *text, size_t n);

/* Renames a database and the -wal and -shm beside it to <path>.damaged-<ms>[-wal|-shm], the database
 * first: whenever this is cut short, what is left of the others is without its database, and the next
 * call (or evrt_state_file_unlink_log) deals with it. -ENOENT: there was nothing. */
EVRT_MUST_CHECK int evrt_state_file_set_aside(const char *path);
/* Removes -wal and -shm whose database is gone: joined to another database they would corrupt it. */
void evrt_state_file_unlink_log(const char *path);

#endif

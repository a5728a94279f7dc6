/* A store's folder: its lock, its format file, its subfolders.
 *
 *     STORE/            0700
 *       lock            flock()ed while a process has the store; says which
 *       format          "evrt store 1"
 *       journal/        <16 hex digits>.seg; spare and reserve: zero-filled files for segments to come
 *       damaged/        what repair set aside
 *
 * Owner: the journal or a store tool; that owner's thread. */
#ifndef EVRT_JOURNAL_FOLDER_H
#define EVRT_JOURNAL_FOLDER_H

#include <stdbool.h>

#include "core/buf.h"

struct evrt_folder {
    char *path;  /* of the store */
    int store;   /* descriptors of the folders */
    int journal; /* -1: not opened */
    int lock;
};

/* Takes the lock. `create`: makes what is missing; else -ENOENT. -EBUSY names the process that has it,
 * -EPROTONOSUPPORT both versions. On error nothing is left to close. */
EVRT_MUST_CHECK int evrt_folder_open(struct evrt_folder *f, const char *path, bool create,
                                     struct evrt_error *err);
void evrt_folder_close(struct evrt_folder *f);

#endif

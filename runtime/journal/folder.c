/* See folder.h. The lock is flock(2): it goes with its holder however that ends, and a second open by
 * the same process is refused as well. What the file says is only for the message. */
#include "journal/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/error.h"
#include "journal/file.h"
#include "journal/format.h"

#define FORMAT_PREFIX "evrt store "

static int fail(struct evrt_error *err, int rc, const char *path, const char *name) {
    return evrt_error_set(err, rc, "%s/%s: %s", path, name, strerror(-rc));
}

/* The text of a small file, without its newline. */
static void read_text(int fd, char *text, size_t size) {
    ssize_t n = evrt_file_read(fd, text, size - 1, 0);
    text[n < 0 ? 0 : n] = '\0';
    text[strcspn(text, "\n")] = '\0';
}

static int say_holder(struct evrt_folder *f) {
    char text[128], started[EVRT_RFC3339_SIZE];
    int n = snprintf(text, sizeof text, "process %ld, started %s\n", (long)getpid(),
                     evrt_rfc3339_format(evrt_wall_ms(), started));
    if (ftruncate(f->lock, 0) < 0) return -errno;
    return evrt_file_write(f->lock, text, (size_t)n, 0);
}

static int take_lock(struct evrt_folder *f, bool create, struct evrt_error *err) {
    char text[128];
    f->lock = openat(f->store, "lock", O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
    if (f->lock < 0 && errno == ENOENT)
        return evrt_error_set(err, -ENOENT, "%s: no evrt store here (no lock file)", f->path);
    if (f->lock < 0) return fail(err, -errno, f->path, "lock");
    if (flock(f->lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK) return fail(err, -errno, f->path, "lock");
        read_text(f->lock, text, sizeof text);
        return evrt_error_set(err, -EBUSY,
                              "store %s is in use by %s; stop it, or give this one another "
                              "store.path",
                              f->path, text[0] != '\0' ? text : "another process");
    }
    int rc = say_holder(f);
    return rc < 0 ? fail(err, rc, f->path, "lock") : 0;
}

static int write_format(struct evrt_folder *f, struct evrt_error *err) {
    static const char name[] = "format", fresh[] = "format.new";
    char text[32];
    int n = snprintf(text, sizeof text, FORMAT_PREFIX "%d\n", EVRT_STORE_VERSION);
    int fd = evrt_file_create(f->store, fresh);
    if (fd < 0) return fail(err, fd, f->path, fresh);
    int rc = evrt_file_write(fd, text, (size_t)n, 0);
    if (rc == 0) rc = evrt_file_sync(fd);
    close(fd);
    if (rc == 0 && renameat(f->store, fresh, f->store, name) < 0) rc = -errno;
    if (rc == 0) rc = evrt_file_sync(f->store);
    return rc < 0 ? fail(err, rc, f->path, name) : 0;
}

static int check_format(struct evrt_folder *f, bool create, struct evrt_error *err) {
    char text[64], *end;
    int fd = openat(f->store, "format", O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && create) return write_format(f, err);
    if (fd < 0) return fail(err, -errno, f->path, "format");
    read_text(fd, text, sizeof text);
    close(fd);
    size_t prefix = sizeof FORMAT_PREFIX - 1;
    unsigned long version = 0;
    if (strncmp(text, FORMAT_PREFIX, prefix) == 0) version = strtoul(text + prefix, &end, 10);
    if (version == 0 || *end != '\0')
        return evrt_error_set(err, -EBADMSG,
                              "%s/format: not an evrt store (expected \"" FORMAT_PREFIX
                              "%d\", found \"%s\")",
                              f->path, EVRT_STORE_VERSION, text);
    if (version > EVRT_STORE_VERSION)
        return evrt_error_set(
            err, -EPROTONOSUPPORT,
            "store %s has format %lu, written by a newer evrt; this one (" EVRT_VERSION
            ") knows formats up to %d",
            f->path, version, EVRT_STORE_VERSION);
    return 0;
}

static int open_journal(struct evrt_folder *f, bool create, struct evrt_error *err) {
    char *path = evrt_alloc(strlen(f->path) + sizeof "/journal");
    sprintf(path, "%s/journal", f->path);
    int made = create ? evrt_folder_make(path) : 0;
    f->journal = made < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = made < 0 ? made : f->journal < 0 ? -errno : 0;
    /* Segments are only as durable as the folder that names them. */
    if (rc == 0 && made > 0) rc = evrt_file_sync(f->store);
    free(path);
    return rc < 0 ? fail(err, rc, f->path, "journal") : 0;
}

int evrt_folder_open(struct evrt_folder *f, const char *path, bool create, struct evrt_error *err) {
    *f = (struct evrt_folder){.store = -1, .journal = -1, .lock = -1};
    int made = create ? evrt_folder_make(path) : 0;
    if (made < 0) return evrt_error_set(err, made, "%s: %s", path, strerror(-made));
    f->path = evrt_strdup(path);
    f->store = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = f->store < 0 ? evrt_error_set(err, -errno, "%s: %s", path, strerror(errno)) : 0;
    if (rc == 0) rc = take_lock(f, create, err);
    if (rc == 0) rc = check_format(f, create, err);
    if (rc == 0) rc = open_journal(f, create, err);
    if (rc < 0) evrt_folder_close(f);
    return rc;
}

static void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

void evrt_folder_close(struct evrt_folder *f) {
    /* The lock last: whoever waits for it may open the rest at once. */
    close_fd(&f->journal);
    close_fd(&f->store);
    close_fd(&f->lock);
    free(f->path);
    f->path = NULL;
}

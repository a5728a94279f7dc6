/* See snapshot.h. */
#include "frame/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/bytes.h"

static const char magic[8] = "EVRTSNP1";

enum {
    COUNT_AT = sizeof magic,
    FIRST_AT = COUNT_AT + 4,
    FILE_HEADER = 1 + 4 + 4 + 4,
};

void evrt_snapshot_start(struct evrt_buf *out) {
    evrt_buf_clear(out);
    evrt_buf_put(out, magic, sizeof magic);
    evrt_buf_put(out, "\0\0\0\0", 4);
}

void evrt_snapshot_add(struct evrt_buf *out, const struct evrt_snapshot_file *f) {
    char *p = evrt_buf_room(out, FILE_HEADER);
    p[0] = f->role;
    evrt_set_u32(p + 1, (uint32_t)f->path.n);
    evrt_set_u32(p + 5, (uint32_t)f->name.n);
    evrt_set_u32(p + 9, (uint32_t)f->bytes.n);
    out->n += FILE_HEADER;
    evrt_buf_put(out, f->path.p, f->path.n);
    evrt_buf_put(out, f->name.p, f->name.n);
    evrt_buf_put(out, f->bytes.p, f->bytes.n);
    evrt_set_u32(out->p + COUNT_AT, evrt_get_u32(out->p + COUNT_AT) + 1);
}

/* Sealed, so that no process which inherits it can change what the others run. */
int evrt_snapshot_seal(const struct evrt_buf *out) {
    int fd = memfd_create("evrt-scripts", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -errno;
    size_t at = 0;
    while (at < out->n) {
        ssize_t n = write(fd, out->p + at, out->n - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) goto fail;
        at += (size_t)n;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        goto fail;
    return fd;
fail:;
    int rc = -errno;
    close(fd);
    return rc;
}

/* The count is not trusted alone: files are read while bytes last, and both must agree at the end. A
 * walk keeps only its offset, so the agreement is checked from the start when the end is reached. */
static int check_count(struct evrt_slice snapshot) {
    uint32_t count = 0;
    size_t at = FIRST_AT;
    while (at < snapshot.n) {
        const char *p = snapshot.p + at;
        at +=
            FILE_HEADER + (uint64_t)evrt_get_u32(p + 1) + evrt_get_u32(p + 5) + evrt_get_u32(p + 9);
        count++;
    }
    return count == evrt_get_u32(snapshot.p + COUNT_AT) ? 0 : -EBADMSG;
}

int evrt_snapshot_next(struct evrt_slice snapshot, size_t *at, struct evrt_snapshot_file *out) {
    if (*at == 0) {
        if (snapshot.n < FIRST_AT || memcmp(snapshot.p, magic, sizeof magic) != 0) return -EBADMSG;
        *at = FIRST_AT;
    }
    if (*at == snapshot.n) return check_count(snapshot);
    if (*at > snapshot.n || snapshot.n - *at < FILE_HEADER) return -EBADMSG;
    const char *p = snapshot.p + *at;
    uint64_t path = evrt_get_u32(p + 1), name = evrt_get_u32(p + 5), size = evrt_get_u32(p + 9);
    if (path + name + size > snapshot.n - *at - FILE_HEADER) return -EBADMSG;
    const char *text = p + FILE_HEADER;
    *out = (struct evrt_snapshot_file){
        p[0], {text, path}, {text + path, name}, {text + path + name, size}};
    *at += FILE_HEADER + path + name + size;
    return 1;
}

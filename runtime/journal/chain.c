/* See chain.h. Two small reads a segment: opening a store of a thousand segments takes milliseconds. */
#include "journal/chain.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/error.h"
#include "journal/file.h"

static int by_number(const void *a, const void *b) {
    const struct evrt_link *x = a, *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

static int list(struct evrt_chain *c, int journal_dir) {
    int fd = openat(journal_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    size_t cap = 0;
    errno = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL; errno = 0) {
        uint64_t number;
        if (!evrt_segment_name_parse(entry->d_name, &number)) continue;
        c->links = evrt_grow(c->links, c->n, &cap, sizeof *c->links);
        struct evrt_link *link = &c->links[c->n++];
        *link = (struct evrt_link){.number = number};
        evrt_segment_name(number, link->name);
    }
    int rc = -errno;
    closedir(dir);
    if (c->n > 1) qsort(c->links, c->n, sizeof *c->links, by_number);
    return rc;
}

int evrt_chain_open(const struct evrt_link *link, int journal_dir, struct evrt_error *err) {
    int fd = openat(journal_dir, link->name, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) return fd;
    return evrt_error_set(err, -errno, "segment %s: %s", link->name, strerror(errno));
}

static int read_link(struct evrt_link *link, int journal_dir, struct evrt_error *err) {
    char page[EVRT_SEGMENT_PAGE];
    int fd = evrt_chain_open(link, journal_dir, err);
    if (fd < 0) return fd;
    int rc = evrt_file_size(fd, &link->file_size);
    ssize_t n = rc < 0 ? rc : evrt_file_read(fd, page, sizeof page, 0);
    close(fd);
    if (n < 0)
        return evrt_error_set(err, (int)n, "segment %s: %s at offset 0", link->name,
                              strerror((int)-n));
    link->state = EVRT_HEADER_BAD;
    if (n == sizeof page) link->state = evrt_segment_header_get(page, &link->header);
    bool read = link->state == EVRT_HEADER_GOOD || link->state == EVRT_HEADER_HALF;
    if (read && link->header.number != link->number) link->state = EVRT_HEADER_BAD;
    return 0;
}

int evrt_chain_load(struct evrt_chain *c, int journal_dir, struct evrt_error *err) {
    *c = (struct evrt_chain){0};
    int rc = list(c, journal_dir);
    if (rc < 0) evrt_error_set(err, rc, "cannot list the journal's folder: %s", strerror(-rc));
    for (size_t i = 0; rc == 0 && i < c->n; i++)
        rc = read_link(&c->links[i], journal_dir, err);
    if (rc < 0) evrt_chain_finish(c);
    return rc;
}

void evrt_chain_finish(struct evrt_chain *c) {
    free(c->links);
    *c = (struct evrt_chain){0};
}

int evrt_chain_sealed(const struct evrt_link *link, const struct evrt_link *next, int journal_dir,
                      struct evrt_error *err) {
    char p[EVRT_SEAL_BYTES];
    const struct evrt_segment_header *after = &next->header;
    if (after->prev_end < EVRT_SEGMENT_PAGE + EVRT_SEAL_BYTES) return 0;
    int fd = evrt_chain_open(link, journal_dir, err);
    if (fd < 0) return fd;
    ssize_t n = evrt_file_read(fd, p, sizeof p, after->prev_end - sizeof p);
    close(fd);
    if (n < 0)
        return evrt_error_set(err, (int)n, "segment %s: %s at offset %llu", link->name,
                              strerror((int)-n), (unsigned long long)(after->prev_end - sizeof p));
    struct evrt_group g;
    return n == sizeof p && evrt_group_head(p, link->header.salt, &g) == 0 &&
           g.length == EVRT_RECORD_HEAD && evrt_group_body(p, link->header.salt, &g) == 0 &&
           g.sealed && g.next_group == after->first_group && g.next_seq == after->first_seq;
}

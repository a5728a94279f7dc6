/* See scan.h.
 *
 * Why a header alone is evidence of damage: group N+1 is written only after N is durable, and nobody
 * can make a header that passes the salted check. So any later header proves that what stands before
 * it was committed once, whether or not its own body is whole. */
#include "journal/scan.h"

#include <errno.h>
#include <stdlib.h>

#include "core/buf.h"
#include "journal/file.h"

void evrt_scan_init(struct evrt_scan *s, int fd, uint64_t salt, uint64_t limit) {
    *s = (struct evrt_scan){.fd = fd, .salt = salt, .limit = limit};
}

void evrt_scan_finish(struct evrt_scan *s) {
    free(s->window);
    s->window = NULL;
    s->cap = s->n = 0;
}

void evrt_scan_reset(struct evrt_scan *s, int fd, uint64_t salt, uint64_t limit) {
    s->fd = fd;
    s->salt = salt;
    s->limit = limit;
    s->n = 0;
}

/* A large group leaves a large window; the next ordinary read gives it back. */
static void resize(struct evrt_scan *s, size_t want) {
    size_t cap = want > EVRT_SCAN_WINDOW ? want : EVRT_SCAN_WINDOW;
    if (cap <= s->cap && s->cap <= 4 * cap) return;
    free(s->window);
    s->window = evrt_alloc(cap);
    s->cap = cap;
}

const char *evrt_scan_bytes(struct evrt_scan *s, uint64_t offset, size_t want, size_t *have,
                            int *rc) {
    *rc = 0;
    if (offset < s->start || offset > s->start + s->n || s->start + s->n - offset < want) {
        uint64_t left = offset < s->limit ? s->limit - offset : 0;
        resize(s, want < left ? want : (size_t)left);
        ssize_t got =
            evrt_file_read(s->fd, s->window, left < s->cap ? (size_t)left : s->cap, offset);
        s->start = offset;
        s->n = got < 0 ? 0 : (size_t)got;
        if (got < 0) {
            *rc = (int)got;
            return NULL;
        }
    }
    *have = (size_t)(s->start + s->n - offset);
    return s->window + (offset - s->start);
}

int evrt_scan_group(struct evrt_scan *s, uint64_t offset, struct evrt_group *g) {
    size_t have;
    int rc;
    const char *p = evrt_scan_bytes(s, offset, EVRT_GROUP_HEAD, &have, &rc);
    if (p == NULL) return rc;
    if (have < EVRT_GROUP_HEAD || evrt_group_head(p, s->salt, g) < 0) return -EBADMSG;
    size_t whole = EVRT_GROUP_HEAD + (size_t)g->length;
    if (whole > s->limit - offset) return -EBADMSG;
    p = evrt_scan_bytes(s, offset, whole, &have, &rc);
    if (p == NULL) return rc;
    if (have < whole) return -EBADMSG;
    return evrt_group_body(p, s->salt, g);
}

int evrt_scan_walk(struct evrt_scan *s, uint64_t offset, uint64_t *group, uint64_t *seq,
                   uint64_t *end, evrt_scan_cb each, void *arg) {
    bool sealed = false;
    for (*end = offset; !sealed;) {
        struct evrt_group g;
        int rc = evrt_scan_group(s, *end, &g);
        if (rc == -EBADMSG) break;
        if (rc < 0) return rc;
        if (g.number != *group || g.first_seq != *seq) break;
        if (each != NULL) each(arg, *end, &g);
        *end += EVRT_GROUP_HEAD + g.length;
        *group = g.next_group;
        *seq = g.next_seq;
        sealed = g.sealed;
    }
    return 0;
}

/* A group's header at one offset of the file. 1 or 0, or a negative errno. */
static int head_at(struct evrt_scan *s, uint64_t offset, struct evrt_group *g) {
    size_t have;
    int rc;
    const char *p = evrt_scan_bytes(s, offset, EVRT_GROUP_HEAD, &have, &rc);
    if (p == NULL) return rc;
    return have >= EVRT_GROUP_HEAD && evrt_group_head(p, s->salt, g) == 0;
}

/* The next offset at or behind `from` that is not a word of zeros; s->limit or the end of the file
 * when there is none (*at is then where nothing more can be read). 1 or 0, or a negative errno. */
static int next_word(struct evrt_scan *s, uint64_t from, uint64_t *at) {
    for (;;) {
        size_t have;
        int rc;
        const char *p = evrt_scan_bytes(s, from, 8, &have, &rc);
        if (p == NULL) return rc;
        if (have < 8) {
            *at = from + have;
            for (size_t i = 0; i < have; i++)
                if (p[i] != 0) return 1;
            return 0;
        }
        for (size_t i = 0; have - i >= 8; i += 8) {
            if (evrt_get_u64(p + i) == 0) continue;
            *at = from + i;
            return 1;
        }
        from += have / 8 * 8;
    }
}

int evrt_scan_tail(struct evrt_scan *s, uint64_t from, uint64_t group, struct evrt_tail *out) {
    *out = (struct evrt_tail){.used_end = from};
    uint64_t at = from;
    int rc;
    while ((rc = next_word(s, at, &at)) > 0) {
        struct evrt_group g;
        int head = head_at(s, at, &g);
        if (head < 0) return head;
        if (head > 0 && g.number > group) {
            if (!out->later) out->later_at = at;
            out->later = true;
            out->last_group = g.number + 1;
            out->last_seq = g.first_seq + g.events;
        }
        out->used_end = at + 8;
        at += 8;
    }
    if (out->used_end > s->limit) out->used_end = s->limit;
    return rc;
}

int evrt_scan_resume(struct evrt_scan *s, uint64_t from, uint64_t group, uint64_t *offset,
                     struct evrt_group *g) {
    int rc;
    for (uint64_t at = from; (rc = next_word(s, at, &at)) > 0; at += 8) {
        struct evrt_group head;
        int found = head_at(s, at, &head);
        if (found < 0) return found;
        if (found == 0 || head.number <= group) continue;
        rc = evrt_scan_group(s, at, g);
        if (rc == -EBADMSG) continue;
        if (rc < 0) return rc;
        *offset = at;
        return 1;
    }
    return rc;
}

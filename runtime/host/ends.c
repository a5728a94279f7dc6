/* See ends.h. A delivery's first end counts: later settlements name it again only as a dead letter that left, whose
 * end that is. */
#include "host/ends.h"

#include <errno.h>

#include "core/clock.h"
#include "core/record.h"
#include "journal/journal.h"

enum { LOOK_EVERY = 4096 }; /* records between two looks at the clock */

struct finding {
    struct host_end *ends;
    size_t count, open;
    uint64_t record;
};

/* The first one at or behind seq. */
static size_t at_seq(const struct finding *f, uint64_t seq) {
    size_t low = 0, high = f->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (f->ends[mid].seq < seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* `window`: what has failed before was in it no more, and is not meant. */
static void mark(struct finding *f, uint32_t sub, struct evrt_slice ranges, enum host_how how,
                 bool window) {
    struct evrt_range r;
    uint64_t from = 0;
    for (size_t at = 0; evrt_ranges_next(ranges, &at, &from, &r) == 1;)
        for (size_t i = at_seq(f, r.first); i < f->count && f->ends[i].seq - r.first < r.count;
             i++) {
            struct host_end *e = &f->ends[i];
            if (e->sub != sub || e->how != HOST_HOW_OPEN || (window && e->failed)) continue;
            e->how = how;
            e->said = f->record;
            f->open--;
        }
}

/* It left the window, but as a retry or a dead letter. */
static void take_back(struct finding *f, uint32_t sub, uint64_t seq) {
    for (size_t i = at_seq(f, seq); i < f->count && f->ends[i].seq == seq; i++) {
        struct host_end *e = &f->ends[i];
        if (e->sub != sub) continue;
        e->failed = true;
        if (e->how == HOST_HOW_OPEN || e->said != f->record) continue;
        e->how = HOST_HOW_OPEN;
        f->open++;
    }
}

static void take(struct finding *f, struct evrt_slice payload) {
    struct evrt_record_settle s;
    struct evrt_record_retry retry;
    struct evrt_record_dead dead;
    if (evrt_record_get_settle(payload, &s) < 0) return;
    f->record++;
    mark(f, s.sub, s.gone, HOST_HOW_DISCARDED, false);
    mark(f, s.sub, s.ranges, HOST_HOW_DONE, true);
    mark(f, s.sub, s.retried, HOST_HOW_DONE, false);
    for (size_t at = 0; evrt_retry_next(s.retries, &at, &retry) == 1;)
        take_back(f, s.sub, retry.seq);
    for (size_t at = 0; evrt_dead_next(s.dead, &at, &dead) == 1;)
        take_back(f, s.sub, dead.seq);
    mark(f, s.sub, s.left, HOST_HOW_DONE, false);
}

static void give_up(struct finding *f) {
    for (size_t i = 0; i < f->count; i++)
        if (f->ends[i].how == HOST_HOW_OPEN) f->ends[i].how = HOST_HOW_UNKNOWN;
}

int host_ends_find(struct evrt_journal_reader *reader, struct host_end *ends, size_t count,
                   int64_t ms, struct evrt_error *err) {
    struct finding f = {ends, count, 0, 0};
    struct evrt_journal_record r;
    int64_t until = evrt_mono_ns() + ms * INT64_C(1000000);
    for (size_t i = 0; i < count; i++)
        f.open += ends[i].how == HOST_HOW_OPEN;
    if (f.open == 0) return 0;
    int rc = evrt_journal_seek_seq(reader, ends[0].seq, err);
    for (unsigned n = 1; rc == 0 && f.open != 0; n++) {
        rc = evrt_journal_read(reader, &r, err);
        if (rc <= 0) break;
        rc = 0;
        if (r.kind == EVRT_RECORD_SETTLE) take(&f, r.payload);
        if (n % LOOK_EVERY != 0 || evrt_mono_ns() <= until) continue;
        give_up(&f);
        break;
    }
    return rc == -ENOENT ? 0 : rc;
}

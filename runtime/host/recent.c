/* Bytes of events for retries that are due soon. A delivery in flight has none at hand, so its event would be
 * read from the journal again: of events that fail here and there, with some chance in when they are due,
 * many times as much is read as is used. While deliveries fail, committed batches stay a little longer, and
 * what fails takes a copy of its event along:
 *
 *     committed ─▶ a few MiB of batches ─▶ gone         failed ─▶ copy, kept with the retry ─▶ sent from there
 *
 * What finds nothing here, or no room, is read from the journal. The loop's thread. */
#include <stdlib.h>

#include "host/node.h"

#include "core/event.h"

enum {
    EVENTS = 32768,  /* a power of two; the newest that can be found, */
    BATCHES = 1024,  /* in so many batches, */
    BYTES = 8 << 20, /* bytes of batches at most */
    SOON_MS = 5000,  /* retries due later would hold memory for little */
    CALM_NS = 1000000000,
};

struct recent_batch {
    struct evrt_hold *hold;
    uint64_t next_seq; /* of the first event behind it */
};

struct host_recent {
    int64_t asked_ns;     /* when something last failed */
    uint64_t first, next; /* these sequences can be found */
    struct evrt_slice events[EVENTS];
    struct recent_batch batches[BATCHES];
    uint64_t head, tail; /* of the batches, a ring */
    size_t bytes;
};

/* ---- Batches ---- */

static void drop_oldest(struct host_recent *r) {
    struct recent_batch *b = &r->batches[r->head++ % BATCHES];
    if (r->first < b->next_seq) r->first = b->next_seq;
    r->bytes -= b->hold->bytes;
    evrt_hold_release(b->hold);
}

void host_recent_event(struct evrt_host *h, uint64_t seq, struct evrt_slice event) {
    struct host_recent *r = h->recent;
    if (seq != r->next) r->first = seq;
    r->next = seq + 1;
    if (r->next - r->first > EVENTS) r->first = r->next - EVENTS;
    r->events[seq % EVENTS] = event;
}

void host_recent_batch(struct evrt_host *h, struct evrt_hold *hold) {
    struct host_recent *r = h->recent;
    if (r->tail - r->head == BATCHES) drop_oldest(r);
    r->batches[r->tail++ % BATCHES] = (struct recent_batch){hold, r->next};
    hold->refs++;
    r->bytes += hold->bytes;
    size_t most = h->config->bus.memory_limit / 4;
    while (r->bytes > (most < BYTES ? most : BYTES))
        drop_oldest(r);
}

/* ---- Copies ---- */

struct kept {
    struct evrt_kept its;
    struct evrt_host *host;
    char bytes[];
};

static void release(struct evrt_hold *hold) {
    struct kept *k = (struct kept *)hold;
    evrt_bus_held(k->host->bus, -(int64_t)hold->bytes);
    free(k);
}

/* Half of what may be held, so that fresh events have the rest of it. */
static bool has_room(const struct evrt_host *h, size_t n) {
    return evrt_bus_held_bytes(h->bus) + n <= h->config->bus.memory_limit / 2;
}

struct evrt_kept *host_recent_keep(struct evrt_host *h, uint64_t seq, int64_t delay_ms,
                                   int64_t now_ns) {
    if (delay_ms > SOON_MS) return NULL;
    if (h->recent == NULL) {
        h->recent = evrt_zalloc(sizeof *h->recent);
        h->recent->first = h->recent->next = evrt_bus_next_seq(h->bus);
    }
    struct host_recent *r = h->recent;
    r->asked_ns = now_ns;
    if (seq < r->first || seq >= r->next) return NULL;
    struct evrt_slice event = r->events[seq % EVENTS];
    if (!has_room(h, event.n)) return NULL;
    struct kept *k = evrt_alloc(sizeof *k + event.n);
    *k = (struct kept){{{1, event.n, release}, k->bytes, (uint32_t)event.n}, h};
    memcpy(k->bytes, event.p, event.n);
    evrt_bus_held(h->bus, (int64_t)event.n);
    return &k->its;
}

/* ---- Its end ---- */

void host_recent_clear(struct evrt_host *h) {
    struct host_recent *r = h->recent;
    if (r == NULL) return;
    h->recent = NULL;
    while (r->head != r->tail)
        drop_oldest(r);
    free(r);
}

void host_recent_tidy(struct evrt_host *h, int64_t now_ns) {
    if (h->recent != NULL && now_ns - h->recent->asked_ns > CALM_NS) host_recent_clear(h);
}

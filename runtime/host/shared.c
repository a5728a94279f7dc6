/* See shared.h. Entries whose time is over are looked for only when there is no room, and not more often
 * than once a second: until then they do no harm. */
#include "host/shared.h"

#include <errno.h>
#include <stdlib.h>

#include "core/map.h"

#define SWEEP_NS INT64_C(1000000000)

struct entry {
    uint64_t version;
    int64_t expires_ns; /* INT64_MAX: never */
    size_t n;
    char bytes[];
};

struct evrt_shared {
    struct evrt_map map;
    size_t max_entries, max_value;
    evrt_shared_gone_cb gone;
    void *arg;
    uint64_t version; /* the last given out */
    int64_t swept_ns;
    struct evrt_shared_stats stats;
};

struct evrt_shared *evrt_shared_create(size_t max_entries, size_t max_value,
                                       evrt_shared_gone_cb gone, void *arg) {
    struct evrt_shared *s = evrt_zalloc(sizeof *s);
    s->max_entries = max_entries;
    s->max_value = max_value;
    s->gone = gone;
    s->arg = arg;
    s->swept_ns = INT64_MIN;
    evrt_map_init(&s->map);
    return s;
}

void evrt_shared_destroy(struct evrt_shared *s) {
    if (s == NULL) return;
    size_t at = 0;
    for (struct entry *e; (e = evrt_map_next(&s->map, &at, NULL)) != NULL;)
        free(e);
    evrt_map_finish(&s->map);
    free(s);
}

static void drop(struct evrt_shared *s, struct evrt_slice key) {
    struct entry *e = evrt_map_remove(&s->map, key);
    if (e == NULL) return;
    s->stats.entries--;
    s->stats.bytes -= key.n + e->n;
    free(e);
}

/* The map may not change while it is walked, so those that are over are gathered first. */
static void sweep(struct evrt_shared *s, int64_t now_ns) {
    struct evrt_slice key, *over = NULL;
    size_t at = 0, count = 0;
    s->swept_ns = now_ns;
    for (struct entry *e; (e = evrt_map_next(&s->map, &at, &key)) != NULL;) {
        if (e->expires_ns > now_ns) continue;
        over = evrt_realloc(over, (count + 1) * sizeof *over);
        over[count++] = (struct evrt_slice){evrt_strndup(key.p, key.n), key.n};
    }
    for (size_t i = 0; i < count; i++) {
        drop(s, over[i]);
        s->stats.expired++;
        if (s->gone != NULL) s->gone(s->arg, &over[i]);
        free((void *)(uintptr_t)over[i].p);
    }
    free(over);
}

static bool has_room(struct evrt_shared *s, int64_t now_ns) {
    if (s->map.count >= s->max_entries &&
        (s->swept_ns == INT64_MIN || now_ns - s->swept_ns >= SWEEP_NS))
        sweep(s, now_ns);
    return s->map.count < s->max_entries;
}

static struct evrt_shared_entry shown(struct evrt_slice key, const struct entry *e) {
    if (e == NULL) return (struct evrt_shared_entry){.key = key};
    return (struct evrt_shared_entry){key, {e->bytes, e->n}, e->version};
}

static struct entry *put(struct evrt_shared *s, const struct evrt_shared_entry *change,
                         int64_t expires_ns) {
    struct entry *e = evrt_alloc(sizeof *e + change->value.n + 1);
    *e = (struct entry){++s->version, expires_ns, change->value.n};
    memcpy(e->bytes, change->value.p, change->value.n);
    drop(s, change->key);
    (void)evrt_map_set(&s->map, change->key, e);
    s->stats.entries++;
    s->stats.bytes += change->key.n + e->n;
    return e;
}

int evrt_shared_cas(struct evrt_shared *s, const struct evrt_shared_entry *change, int64_t ttl_ms,
                    int64_t now_ns, struct evrt_shared_entry *now) {
    struct entry *e = evrt_map_get(&s->map, change->key);
    *now = shown(change->key, e);
    if (now->version != change->version) {
        s->stats.conflicts++;
        return -EAGAIN;
    }
    if (change->key.n + change->value.n > s->max_value) {
        s->stats.refused_size++;
        return -EMSGSIZE;
    }
    if (e == NULL && change->value.p != NULL && !has_room(s, now_ns)) {
        s->stats.refused_full++;
        return -ENOSPC;
    }
    bool forever = ttl_ms <= 0 || ttl_ms > (INT64_MAX - now_ns) / 1000000;
    if (change->value.p == NULL)
        drop(s, change->key);
    else
        e = put(s, change, forever ? INT64_MAX : now_ns + ttl_ms * 1000000);
    *now = shown(change->key, change->value.p == NULL ? NULL : e);
    s->stats.changes++;
    return 0;
}

bool evrt_shared_next(const struct evrt_shared *s, size_t *at, struct evrt_shared_entry *out) {
    struct evrt_slice key;
    const struct entry *e = evrt_map_next(&s->map, at, &key);
    if (e != NULL) *out = shown(key, e);
    return e != NULL;
}

void evrt_shared_stats(const struct evrt_shared *s, struct evrt_shared_stats *out) {
    *out = s->stats;
}

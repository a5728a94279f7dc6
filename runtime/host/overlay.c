/* See overlay.h. An entry is found by a map, stands in a skip list by name, and in one of two lists: dirty ones
 * by the stamp of their last write, clean ones by their last use.
 *
 * A reading of state.db sees the writes up to its group, and not those behind: for a key with differences the
 * value is that row and the differences of later stamps. So stamps are kept apart as long as one runs. */
#include "host/overlay.h"

#include <assert.h>
#include <stdlib.h>

#include "core/random.h"
#include "frame/values.h"

enum {
    LEVELS = 16,
    ENTRY_BYTES = 160, /* of memory, beside name and value */
};

struct difference {
    uint64_t stamp;
    int64_t by, at_ms;
};

struct entry {
    struct entry *prev, *next; /* in its list */
    struct evrt_kv_row row;    /* value.p is owned; when known */
    struct difference *differences;
    uint32_t difference_count, difference_cap;
    uint64_t stamp; /* of its last write */
    bool known, dirty;
    uint8_t levels;
    uint16_t ns_n;
    uint32_t n;
    char *name;         /* namespace, NUL, key; behind `up` */
    struct entry *up[]; /* the next one by name, on each level */
};

struct list {
    struct entry *first, *last;
};

struct sealed {
    uint64_t stamp, group; /* 0: not committed */
};

struct evrt_overlay {
    struct evrt_overlay_options options;
    struct evrt_map map;
    struct entry *up[LEVELS];
    struct list dirty, clean;
    size_t dirty_bytes, clean_bytes;
    uint64_t stamp;       /* of what is written now */
    uint64_t clean_stamp; /* state.db has what has it */
    struct sealed *ring;
    uint32_t ring_mask;
    uint64_t ring_head, ring_sealed, ring_tail; /* applied; committed; sealed */
    unsigned readings;
    uint64_t applied;       /* told while a reading ran */
    struct entry **written; /* and not shown to workers yet */
    size_t written_count, written_cap;
    struct evrt_random random;
    struct evrt_buf name;
    uint64_t hits, misses;
};

struct evrt_overlay *evrt_overlay_create(const struct evrt_overlay_options *options) {
    struct evrt_overlay *o = evrt_zalloc(sizeof *o);
    o->options = *options;
    o->stamp = 1;
    o->ring_mask = 63;
    o->ring = evrt_alloc((o->ring_mask + 1) * sizeof *o->ring);
    evrt_map_init_borrowing(&o->map); /* of names in entries */
    evrt_buf_init(&o->name);
    evrt_random_init(&o->random);
    return o;
}

static void free_entry(struct entry *e) {
    free((char *)e->row.value.p);
    free(e->differences);
    free(e);
}

void evrt_overlay_destroy(struct evrt_overlay *o) {
    if (o == NULL) return;
    for (struct entry *e = o->up[0], *next; e != NULL; e = next) {
        next = e->up[0];
        free_entry(e);
    }
    evrt_map_finish(&o->map);
    evrt_buf_finish(&o->name);
    free(o->written);
    free(o->ring);
    free(o);
}

/* ---- By name ---- */

static struct evrt_slice name_of(const struct entry *e) {
    return (struct evrt_slice){e->name, e->n};
}

static struct evrt_slice key_of(const struct entry *e) {
    return (struct evrt_slice){e->name + e->ns_n + 1, e->n - e->ns_n - 1};
}

static struct evrt_slice put_name(struct evrt_buf *out, const struct evrt_overlay_name *name) {
    evrt_buf_clear(out);
    evrt_buf_put(out, name->ns.p, name->ns.n);
    evrt_buf_putc(out, '\0');
    evrt_buf_put(out, name->key.p, name->key.n);
    return evrt_buf_slice(out);
}

/* The links that lead to the first entry that is not before the name; `from` NULL: only the entry. */
static struct entry *seek(const struct evrt_overlay *o, struct evrt_slice name,
                          struct entry ***from) {
    struct entry *const *links = o->up;
    for (int level = LEVELS - 1; level >= 0; level--) {
        while (links[level] != NULL && evrt_slice_order(name_of(links[level]), name) < 0)
            links = links[level]->up;
        if (from != NULL) from[level] = (struct entry **)(uintptr_t)&links[level];
    }
    return links[0];
}

/* ---- Lists ---- */

static size_t size_of(const struct entry *e) {
    return ENTRY_BYTES + e->n + e->row.value.n + e->difference_cap * sizeof *e->differences;
}

static void take_out(struct evrt_overlay *o, struct entry *e) {
    struct list *l = e->dirty ? &o->dirty : &o->clean;
    *(e->prev == NULL ? &l->first : &e->prev->next) = e->next;
    *(e->next == NULL ? &l->last : &e->next->prev) = e->prev;
    *(e->dirty ? &o->dirty_bytes : &o->clean_bytes) -= size_of(e);
}

static void put_last(struct evrt_overlay *o, struct entry *e, bool dirty) {
    struct list *l = dirty ? &o->dirty : &o->clean;
    e->dirty = dirty;
    e->prev = l->last;
    e->next = NULL;
    *(l->last == NULL ? &l->first : &l->last->next) = e;
    l->last = e;
    *(dirty ? &o->dirty_bytes : &o->clean_bytes) += size_of(e);
}

/* ---- Entries ---- */

static void set_row(struct entry *e, const struct evrt_kv_row *row) {
    evrt_kv_row_set(&e->row, row);
    e->known = true;
    free(e->differences);
    e->differences = NULL;
    e->difference_count = e->difference_cap = 0;
}

/* Not in a list yet, its value not known. */
static struct entry *create_entry(struct evrt_overlay *o, const struct evrt_overlay_name *name,
                                  struct evrt_slice whole) {
    uint64_t chance = evrt_random_u64(&o->random);
    unsigned levels = 1;
    for (; levels < LEVELS && (chance & 3) == 0; chance >>= 2)
        levels++;
    struct entry *e = evrt_zalloc(sizeof *e + levels * sizeof(struct entry *) + whole.n);
    e->levels = (uint8_t)levels;
    e->ns_n = (uint16_t)name->ns.n;
    e->n = (uint32_t)whole.n;
    e->name = (char *)(e->up + levels);
    memcpy(e->name, whole.p, whole.n);
    struct entry **from[LEVELS];
    seek(o, whole, from);
    for (unsigned i = 0; i < levels; i++) {
        e->up[i] = *from[i];
        *from[i] = e;
    }
    evrt_map_set(&o->map, name_of(e), e);
    if (o->options.keep) set_row(e, &(struct evrt_kv_row){{NULL, 0}, 0});
    return e;
}

/* It is in no list. */
static void destroy_entry(struct evrt_overlay *o, struct entry *e) {
    struct entry **from[LEVELS];
    seek(o, name_of(e), from);
    for (unsigned i = 0; i < e->levels; i++)
        *from[i] = e->up[i];
    evrt_map_remove(&o->map, name_of(e));
    free_entry(e);
}

/* The entry of a name, made when there is none, in no list. */
static struct entry *open_entry(struct evrt_overlay *o, const struct evrt_overlay_name *name) {
    struct evrt_slice whole = put_name(&o->name, name);
    struct entry *e = evrt_map_get(&o->map, whole);
    if (e == NULL) return create_entry(o, name, whole);
    take_out(o, e);
    return e;
}

/* But for the last one, which was just read. */
static void trim(struct evrt_overlay *o) {
    while (!o->options.keep && o->clean_bytes > o->options.cache_bytes &&
           o->clean.first != o->clean.last) {
        struct entry *e = o->clean.first;
        take_out(o, e);
        destroy_entry(o, e);
    }
}

/* ---- For workers ---- */

static struct evrt_values_name shown_name(const struct entry *e) {
    return evrt_values_name((struct evrt_slice){e->name, e->ns_n}, key_of(e));
}

static void note_written(struct evrt_overlay *o, struct entry *e) {
    if (o->options.values == NULL) return;
    o->written = evrt_grow(o->written, o->written_count, &o->written_cap, sizeof *o->written);
    o->written[o->written_count++] = e;
}

/* What nobody read lately has no place there, and gets none. What expires is read here: this clock counts. */
void evrt_overlay_show(struct evrt_overlay *o) {
    struct evrt_values *values = o->options.values;
    for (size_t i = 0; o->written_count > 1 && i < o->written_count; i++) {
        struct evrt_values_name name = shown_name(o->written[i]);
        evrt_values_hide(values, &name);
    }
    for (size_t i = 0; i < o->written_count; i++) {
        const struct entry *e = o->written[i];
        struct evrt_values_name name = shown_name(e);
        if (e->known && e->row.expires_ms == 0)
            evrt_values_update(values, &name, e->row.value);
        else
            evrt_values_drop(values, &name);
    }
    o->written_count = 0;
}

/* ---- Writes ---- */

static void add(struct evrt_kv_row *row, struct evrt_buf *bytes, const struct difference *d) {
    int64_t sum;
    if (evrt_kv_expired(row, d->at_ms)) *row = (struct evrt_kv_row){{NULL, 0}, 0};
    if (!evrt_kv_add(row->value, d->by, &sum)) return;
    evrt_buf_clear(bytes);
    evrt_kv_put_integer(bytes, sum);
    row->value = evrt_buf_slice(bytes);
}

void evrt_overlay_set(struct evrt_overlay *o, const struct evrt_overlay_name *name,
                      const struct evrt_kv_row *row) {
    struct entry *e = open_entry(o, name);
    set_row(e, row);
    e->stamp = o->stamp;
    put_last(o, e, true);
    note_written(o, e);
}

/* What state.db has is never looked at again: without that, a key that is written all the time would gather its
 * differences for ever. */
static void make_room(const struct evrt_overlay *o, struct entry *e) {
    uint32_t gone = 0;
    while (gone < e->difference_count && e->differences[gone].stamp <= o->clean_stamp)
        gone++;
    e->difference_count -= gone;
    if (gone != 0)
        memmove(e->differences, e->differences + gone,
                e->difference_count * sizeof *e->differences);
    if (e->difference_count < e->difference_cap / 2) return;
    e->difference_cap = e->difference_cap == 0 ? 4 : e->difference_cap * 2;
    e->differences = evrt_realloc(e->differences, e->difference_cap * sizeof *e->differences);
}

/* One for each stamp is enough. */
static void add_difference(const struct evrt_overlay *o, struct entry *e,
                           const struct difference *d) {
    struct difference *last =
        e->difference_count == 0 ? NULL : &e->differences[e->difference_count - 1];
    if (last != NULL && last->stamp == d->stamp) {
        last->by = (int64_t)((uint64_t)last->by + (uint64_t)d->by);
        return;
    }
    if (e->difference_count == e->difference_cap) make_room(o, e);
    e->differences[e->difference_count++] = *d;
}

void evrt_overlay_incr(struct evrt_overlay *o, const struct evrt_overlay_name *name, int64_t by,
                       int64_t at_ms) {
    struct entry *e = open_entry(o, name);
    struct difference d = {o->stamp, by, at_ms};
    if (e->known) {
        char bytes[EVRT_KV_INTEGER_BYTES];
        struct evrt_buf sum = {bytes, 0, sizeof bytes};
        struct evrt_kv_row row = e->row;
        add(&row, &sum, &d);
        if (row.value.p != e->row.value.p || row.value.n != e->row.value.n) set_row(e, &row);
    } else {
        add_difference(o, e, &d);
    }
    e->stamp = o->stamp;
    put_last(o, e, true);
    note_written(o, e);
}

void evrt_overlay_seal(struct evrt_overlay *o) {
    assert(o->written_count == 0);
    if (o->ring_tail - o->ring_head > o->ring_mask) {
        uint32_t mask = o->ring_mask * 2 + 1;
        struct sealed *ring = evrt_alloc((mask + 1) * sizeof *ring);
        for (uint64_t i = o->ring_head; i < o->ring_tail; i++)
            ring[i & mask] = o->ring[i & o->ring_mask];
        free(o->ring);
        o->ring = ring;
        o->ring_mask = mask;
    }
    o->ring[o->ring_tail++ & o->ring_mask] = (struct sealed){o->stamp++, 0};
}

void evrt_overlay_committed(struct evrt_overlay *o, uint64_t group) {
    assert(o->ring_sealed < o->ring_tail);
    o->ring[o->ring_sealed++ & o->ring_mask].group = group;
}

static void retire(struct evrt_overlay *o) {
    while (o->ring_head < o->ring_sealed &&
           o->ring[o->ring_head & o->ring_mask].group <= o->applied)
        o->clean_stamp = o->ring[o->ring_head++ & o->ring_mask].stamp;
    for (struct entry *e; (e = o->dirty.first) != NULL && e->stamp <= o->clean_stamp;) {
        take_out(o, e);
        if (!e->known || (o->options.keep && e->row.value.n == 0))
            destroy_entry(o, e);
        else
            put_last(o, e, false);
    }
    trim(o);
}

void evrt_overlay_applied(struct evrt_overlay *o, uint64_t group) {
    if (group <= o->applied) return;
    o->applied = group;
    if (o->readings == 0) retire(o);
}

void evrt_overlay_reading(struct evrt_overlay *o, int delta) {
    o->readings = (unsigned)((int)o->readings + delta);
    if (o->readings == 0) retire(o);
}

uint32_t evrt_overlay_sweep(struct evrt_overlay *o, int64_t now_ms, uint32_t most) {
    const struct entry *last = o->clean.last;
    uint32_t gone = 0;
    for (bool over = last == NULL; !over && most > 0; most--) {
        struct entry *e = o->clean.first;
        over = e == last;
        take_out(o, e);
        if (evrt_kv_expired(&e->row, now_ms)) {
            destroy_entry(o, e);
            gone++;
        } else {
            put_last(o, e, false);
        }
    }
    return gone;
}

/* ---- Reads ---- */

/* NULL: it is not known; counted either way. */
static struct entry *look(struct evrt_overlay *o, const struct evrt_overlay_name *name,
                          int64_t now_ms, struct evrt_slice *value) {
    struct entry *e = evrt_map_get(&o->map, put_name(&o->name, name));
    *value = (struct evrt_slice){NULL, 0};
    if (e == NULL || !e->known) {
        o->misses++;
        return NULL;
    }
    o->hits++;
    if (!evrt_kv_expired(&e->row, now_ms)) *value = e->row.value;
    if (!e->dirty && e->next != NULL) {
        take_out(o, e);
        put_last(o, e, false);
    }
    return e;
}

bool evrt_overlay_peek(struct evrt_overlay *o, const struct evrt_overlay_name *name, int64_t now_ms,
                       struct evrt_slice *value) {
    return look(o, name, now_ms, value) != NULL || o->options.keep;
}

bool evrt_overlay_get(struct evrt_overlay *o, const struct evrt_overlay_name *name, int64_t now_ms,
                      struct evrt_slice *value) {
    const struct entry *e = look(o, name, now_ms, value);
    if (e == NULL) return o->options.keep;
    if (o->options.values != NULL && e->row.expires_ms == 0) {
        struct evrt_values_name shown = shown_name(e);
        evrt_values_put(o->options.values, &shown, *value);
    }
    return true;
}

/* What state.db had as of the group has these stamps. */
static uint64_t stamp_of(const struct evrt_overlay *o, uint64_t group) {
    uint64_t stamp = o->clean_stamp;
    for (uint64_t i = o->ring_head; i < o->ring_sealed; i++) {
        const struct sealed *s = &o->ring[i & o->ring_mask];
        if (s->group > group) break;
        stamp = s->stamp;
    }
    return stamp;
}

void evrt_overlay_learn(struct evrt_overlay *o, const struct evrt_overlay_name *name,
                        const struct evrt_kv_row *row, uint64_t group) {
    struct evrt_slice whole = put_name(&o->name, name);
    struct entry *e = evrt_map_get(&o->map, whole);
    if (e != NULL && e->known) return;
    if (e == NULL) {
        e = create_entry(o, name, whole);
        set_row(e, row);
        put_last(o, e, false);
        trim(o);
        return;
    }
    /* It has differences, so it is dirty, and stays where it is: that list is by stamp. */
    uint64_t has = stamp_of(o, group);
    char bytes[EVRT_KV_INTEGER_BYTES];
    struct evrt_buf sum = {bytes, 0, sizeof bytes};
    struct evrt_kv_row now = *row;
    for (uint32_t i = 0; i < e->difference_count; i++)
        if (e->differences[i].stamp > has) add(&now, &sum, &e->differences[i]);
    o->dirty_bytes -= size_of(e);
    set_row(e, &now);
    o->dirty_bytes += size_of(e);
}

bool evrt_overlay_next(const struct evrt_overlay *o, const struct evrt_overlay_range *range,
                       struct evrt_slice *key) {
    const struct evrt_overlay_name from = {range->ns, range->from};
    struct evrt_buf name = {0};
    const struct entry *e = seek(o, put_name(&name, &from), NULL);
    evrt_buf_finish(&name);
    for (; e != NULL; e = e->up[0]) {
        if (e->ns_n != from.ns.n || memcmp(e->name, from.ns.p, from.ns.n) != 0) return false;
        *key = key_of(e);
        if (range->to.n != 0 && evrt_slice_order(*key, range->to) >= 0) return false;
        if (range->behind && evrt_slice_eq(*key, from.key)) continue;
        if (e->dirty || o->options.keep) return true;
    }
    return false;
}

bool evrt_overlay_namespace(const struct evrt_overlay *o, struct evrt_slice after,
                            struct evrt_slice *ns) {
    struct evrt_buf name = {0};
    evrt_buf_put(&name, after.p, after.n);
    evrt_buf_putc(&name, '\x01'); /* behind every key of it, and before any other namespace */
    const struct entry *e = seek(o, evrt_buf_slice(&name), NULL);
    evrt_buf_finish(&name);
    while (e != NULL && (!e->known || e->row.value.n == 0))
        e = e->up[0];
    if (e == NULL) return false;
    *ns = (struct evrt_slice){e->name, e->ns_n};
    return true;
}

void evrt_overlay_stats(const struct evrt_overlay *o, struct evrt_overlay_stats *out) {
    *out = (struct evrt_overlay_stats){o->map.count, o->dirty_bytes, o->clean_bytes, o->hits,
                                       o->misses};
}

size_t evrt_overlay_dirty(const struct evrt_overlay *o) {
    return o->dirty_bytes;
}

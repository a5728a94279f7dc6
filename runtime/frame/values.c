/* See values.h. A place is guarded by its number, odd while it is written: whoever reads the same even number before and
 * after has read what was there at one moment. Words are stored with release and loaded with acquire, so a reader that
 * has seen any part of a change sees that the number has changed, too.
 *
 * What host and worker look at travels between their caches each time, which is what all of this costs: a short value
 * with its name and number is one line, and stands where it is looked for first. */
#include "frame/values.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/hash.h"

enum {
    WAYS = 4, /* places for a name, one after the other */
    WORDS = EVRT_VALUES_ROOM / 8,
    LAST_SEAL = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE,
};

/* `sizes`: bytes of namespace, key and value, 8 bits each, and what the place is. */
struct place {
    _Atomic uint32_t number, sizes;
    _Atomic uint64_t bytes[WORDS];
};
_Static_assert(sizeof(struct place) == 128, "a place begins with a cache line");

#define USED (UINT32_C(1) << 24)
#define HIDDEN (UINT32_C(1) << 25)

struct evrt_values {
    struct place *places;
    size_t count;  /* a power of two, at least WAYS */
    unsigned next; /* of the places of a name that has none: which is given to it */
};

struct evrt_values_name evrt_values_name(struct evrt_slice ns, struct evrt_slice key) {
    return (struct evrt_values_name){ns, key,
                                     evrt_hash64(key.p, key.n, evrt_hash64(ns.p, ns.n, 0))};
}

/* ---- The memory ---- */

static struct evrt_values *map(int fd, size_t count, int how) {
    void *p = mmap(NULL, count * sizeof(struct place), how, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) return NULL;
    struct evrt_values *v = evrt_alloc(sizeof *v);
    *v = (struct evrt_values){p, count, 0};
    return v;
}

/* Sealed when it is mapped here: nobody else can write it, or take it away from under the others. */
int evrt_values_create(struct evrt_values **out, size_t bytes, int *fd) {
    size_t count = WAYS;
    *out = NULL;
    *fd = -1;
    if (bytes < count * sizeof(struct place)) return -EINVAL;
    while (count * 2 * sizeof(struct place) <= bytes)
        count *= 2;
    int memory = memfd_create("evrt-values", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0) return -errno;
    struct evrt_values *v = NULL;
    int rc = ftruncate(memory, (off_t)(count * sizeof(struct place)));
    if (rc == 0) v = map(memory, count, PROT_READ | PROT_WRITE);
    if (v == NULL || fcntl(memory, F_ADD_SEALS, LAST_SEAL) < 0) {
        rc = -errno;
        evrt_values_close(v);
        close(memory);
        return rc;
    }
    *out = v;
    *fd = memory;
    return 0;
}

struct evrt_values *evrt_values_open(int fd) {
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & LAST_SEAL) != LAST_SEAL || fstat(fd, &st) < 0) return NULL;
    size_t count = (size_t)st.st_size / sizeof(struct place);
    if (count < WAYS || (count & (count - 1)) != 0) return NULL;
    return map(fd, count, PROT_READ);
}

void evrt_values_close(struct evrt_values *v) {
    if (v == NULL) return;
    munmap(v->places, v->count * sizeof(struct place));
    free(v);
}

/* ---- Places ---- */

/* The i-th place in which a name may stand. */
static struct place *place_of(const struct evrt_values *v, uint64_t hash, unsigned i) {
    return &v->places[(hash + i) & (v->count - 1)];
}

/* 0: the name with such a value stands nowhere. */
static uint32_t sizes_of(const struct evrt_values_name *name, size_t value) {
    size_t room = EVRT_VALUES_ROOM;
    if (name->ns.n > room || name->key.n > room - name->ns.n ||
        value > room - name->ns.n - name->key.n)
        return 0;
    return USED | (uint32_t)(name->ns.n | name->key.n << 8 | value << 16);
}

/* The text of a place, so many bytes of it. */
static void load(const struct place *p, char *to, size_t n) {
    for (size_t i = 0; i * 8 < n; i++)
        evrt_set_u64(to + i * 8, atomic_load_explicit(&p->bytes[i], memory_order_acquire));
}

/* Loads the place's text when it is of that name. What a reader sees may be torn, and of any sizes. */
static bool load_named(const struct place *p, uint32_t sizes, const struct evrt_values_name *name,
                       char *text) {
    size_t named = name->ns.n + name->key.n, n = named + (uint8_t)(sizes >> 16);
    if ((sizes & USED) == 0 || (uint16_t)sizes != (uint16_t)sizes_of(name, 0) ||
        n > EVRT_VALUES_ROOM)
        return false;
    load(p, text, n);
    return memcmp(text, name->ns.p, name->ns.n) == 0 &&
           memcmp(text + name->ns.n, name->key.p, name->key.n) == 0;
}

/* ---- The host's loop ---- */

static uint32_t sizes_at(const struct place *p) {
    return atomic_load_explicit(&p->sizes, memory_order_relaxed);
}

static void begin(struct place *p) {
    uint32_t n = atomic_load_explicit(&p->number, memory_order_relaxed);
    atomic_store_explicit(&p->number, n + 1, memory_order_relaxed);
}

static void end(struct place *p) {
    uint32_t n = atomic_load_explicit(&p->number, memory_order_relaxed);
    atomic_store_explicit(&p->number, n + 1, memory_order_release);
}

static struct place *find(const struct evrt_values *v, const struct evrt_values_name *name) {
    char text[EVRT_VALUES_ROOM];
    if (sizes_of(name, 0) == 0) return NULL;
    for (unsigned i = 0; i < WAYS; i++) {
        struct place *p = place_of(v, name->hash, i);
        if (load_named(p, sizes_at(p), name, text)) return p;
    }
    return NULL;
}

static void set_sizes(struct place *p, uint32_t sizes) {
    begin(p);
    atomic_store_explicit(&p->sizes, sizes, memory_order_release);
    end(p);
}

static void write_place(struct place *p, const struct evrt_values_name *name,
                        struct evrt_slice value) {
    char text[EVRT_VALUES_ROOM];
    const struct evrt_slice parts[] = {name->ns, name->key, value};
    size_t n = 0;
    for (int i = 0; i < 3; i++) {
        if (parts[i].n != 0) memcpy(text + n, parts[i].p, parts[i].n);
        n += parts[i].n;
    }
    begin(p);
    atomic_store_explicit(&p->sizes, sizes_of(name, value.n), memory_order_release);
    for (size_t at = 0; at < n; at += 8)
        atomic_store_explicit(&p->bytes[at / 8], evrt_get_u64(text + at), memory_order_release);
    end(p);
}

void evrt_values_put(struct evrt_values *v, const struct evrt_values_name *name,
                     struct evrt_slice value) {
    struct place *p = find(v, name);
    if (sizes_of(name, value.n) == 0) {
        if (p != NULL) set_sizes(p, 0);
        return;
    }
    for (unsigned i = 0; p == NULL && i < WAYS; i++)
        if (sizes_at(place_of(v, name->hash, i)) == 0) p = place_of(v, name->hash, i);
    if (p == NULL) p = place_of(v, name->hash, v->next++ % WAYS);
    write_place(p, name, value);
}

void evrt_values_update(struct evrt_values *v, const struct evrt_values_name *name,
                        struct evrt_slice value) {
    struct place *p = find(v, name);
    if (p == NULL) return;
    if (sizes_of(name, value.n) != 0)
        write_place(p, name, value);
    else
        set_sizes(p, 0);
}

void evrt_values_hide(struct evrt_values *v, const struct evrt_values_name *name) {
    struct place *p = find(v, name);
    if (p != NULL) set_sizes(p, sizes_at(p) | HIDDEN);
}

void evrt_values_drop(struct evrt_values *v, const struct evrt_values_name *name) {
    struct place *p = find(v, name);
    if (p != NULL) set_sizes(p, 0);
}

/* ---- A worker ---- */

static bool read_place(const struct place *p, const struct evrt_values_name *name, char *room,
                       struct evrt_slice *value) {
    uint32_t number = atomic_load_explicit(&p->number, memory_order_acquire);
    uint32_t sizes = atomic_load_explicit(&p->sizes, memory_order_acquire);
    if ((number & 1) != 0 || (sizes & HIDDEN) != 0 || !load_named(p, sizes, name, room))
        return false;
    *value = (struct evrt_slice){room + name->ns.n + name->key.n, (uint8_t)(sizes >> 16)};
    return atomic_load_explicit(&p->number, memory_order_relaxed) == number;
}

bool evrt_values_get(const struct evrt_values *v, const struct evrt_values_name *name, char *room,
                     struct evrt_slice *value) {
    if (sizes_of(name, 0) == 0) return false;
    for (unsigned i = 0; i < WAYS; i++)
        if (read_place(place_of(v, name->hash, i), name, room, value)) return true;
    return false;
}

/* See log_sample.h. Messages outside the table are found by hash in a set of four slots; when all four are
 * others' the one unused longest is taken over. Two messages never share a count, so a frequent one cannot
 * hide a rare one; at worst a flood of ever new messages is not sampled, as none of them repeats.
 *
 * A line costs one addition; one of the table's messages not even a locked one: those that come often are the loop's
 * alone, and of the others, should two threads log one at the same moment, one more passes and one less is told to be
 * left out; at the turn of a second, that second's twice. How many were left out follows from how many came: it is reckoned when a second is
 * over, a slot taken over or the limits change, and for the running second when somebody asks. */
#include "telemetry/log_sample.h"

#include "core/hash.h"

#define SECOND_NS 1000000000

/* Of as many lines as came in the slot's second. */
static uint32_t left_out(const struct evrt_log_sampler *s, uint64_t state) {
    uint32_t n = (uint32_t)state;
    uint32_t first = atomic_load_explicit(&s->first, memory_order_relaxed);
    uint32_t then = atomic_load_explicit(&s->then, memory_order_relaxed);
    if (first == 0 || n <= first) return 0;
    return n - first - (then == 0 ? 0 : (n - first) / then);
}

/* A slot's second is over. */
static void settle(struct evrt_log_sampler *s, uint64_t state) {
    uint32_t n = left_out(s, state);
    if (n != 0) atomic_fetch_add_explicit(&s->left_out, n, memory_order_relaxed);
}

/* The table's messages, then the others. */
static struct evrt_log_sample_slot *slot_at(struct evrt_log_sampler *s, size_t i) {
    if (i < EVRT_MSG_COUNT) return &s->events[i];
    i -= EVRT_MSG_COUNT;
    return &s->others[i / EVRT_LOG_SAMPLE_WAYS][i % EVRT_LOG_SAMPLE_WAYS];
}
enum { SLOTS = EVRT_MSG_COUNT + EVRT_LOG_SAMPLE_SETS * EVRT_LOG_SAMPLE_WAYS };

void evrt_log_sampler_set(struct evrt_log_sampler *s, uint32_t first, uint32_t then) {
    /* What came so far was by the limits that were. */
    for (size_t i = 0; i < SLOTS; i++)
        settle(s, atomic_exchange_explicit(&slot_at(s, i)->state, 0, memory_order_relaxed));
    atomic_store_explicit(&s->first, first, memory_order_relaxed);
    atomic_store_explicit(&s->then, then, memory_order_relaxed);
}

uint64_t evrt_log_sample_left_out(const struct evrt_log_sampler *s) {
    uint64_t all = atomic_load_explicit(&s->left_out, memory_order_relaxed);
    for (size_t i = 0; i < SLOTS; i++)
        all += left_out(s, atomic_load_explicit(&slot_at((struct evrt_log_sampler *)s, i)->state,
                                                memory_order_relaxed));
    return all;
}

static bool is_off(const struct evrt_log_sampler *s) {
    return atomic_load_explicit(&s->first, memory_order_relaxed) == 0;
}

/* Counts the line: as the how manieth of this second? `locked`: many threads have this message. */
static inline uint32_t count(struct evrt_log_sampler *s, struct evrt_log_sample_slot *slot,
                             uint32_t now, bool locked) {
    uint64_t state = atomic_load_explicit(&slot->state, memory_order_relaxed);
    /* A clock that is a little behind another thread's does not turn the second back. */
    while ((int32_t)(now - (uint32_t)(state >> 32)) > 0) {
        if (!atomic_compare_exchange_weak_explicit(&slot->state, &state, (uint64_t)now << 32 | 1,
                                                   memory_order_relaxed, memory_order_relaxed))
            continue;
        settle(s, state);
        return 1;
    }
    if (locked)
        state = atomic_fetch_add_explicit(&slot->state, 1, memory_order_relaxed);
    else
        atomic_store_explicit(&slot->state, state + 1, memory_order_relaxed);
    return (uint32_t)state + 1;
}

static uint32_t second_at(int64_t now_ns) {
    return (uint32_t)(now_ns / SECOND_NS) + 1; /* never 0: an unused slot's */
}

static bool passes(uint32_t n, uint32_t first, uint32_t then) {
    return n <= first || (then != 0 && (n - first) % then == 0);
}

/* Most lines that are left out are so by one comparison. */
bool evrt_log_sample_event(struct evrt_log_sampler *s, enum evrt_log_message_id id,
                           int64_t now_ns) {
    struct evrt_log_sample_slot *slot = &s->events[id];
    if (is_off(s)) return true;
    uint32_t n = count(s, slot, second_at(now_ns), false);
    if (n != 1 && n < atomic_load_explicit(&slot->next, memory_order_relaxed)) return false;
    uint32_t first = atomic_load_explicit(&s->first, memory_order_relaxed);
    uint32_t then = atomic_load_explicit(&s->then, memory_order_relaxed);
    uint32_t next = n < first ? n + 1 : then == 0 ? UINT32_MAX : n + then - (n - first) % then;
    atomic_store_explicit(&slot->next, next, memory_order_relaxed);
    return passes(n, first, then);
}

static uint32_t second_of(const struct evrt_log_sample_slot *slot) {
    return (uint32_t)(atomic_load_explicit(&slot->state, memory_order_relaxed) >> 32);
}

static struct evrt_log_sample_slot *find(struct evrt_log_sampler *s, uint64_t key) {
    struct evrt_log_sample_slot *set = s->others[key % EVRT_LOG_SAMPLE_SETS], *oldest = set;
    for (int i = 0; i < EVRT_LOG_SAMPLE_WAYS; i++) {
        if (atomic_load_explicit(&set[i].key, memory_order_relaxed) == key) return &set[i];
        if (second_of(&set[i]) < second_of(oldest)) oldest = &set[i];
    }
    atomic_store_explicit(&oldest->key, key, memory_order_relaxed);
    settle(s, atomic_exchange_explicit(&oldest->state, 0, memory_order_relaxed));
    return oldest;
}

bool evrt_log_sample_text(struct evrt_log_sampler *s, enum evrt_log_level level,
                          struct evrt_slice msg, int64_t now_ns) {
    if (is_off(s)) return true;
    uint64_t key = evrt_hash64(msg.p, msg.n, 1 + (uint64_t)level);
    uint32_t n = count(s, find(s, key), second_at(now_ns), true);
    return passes(n, atomic_load_explicit(&s->first, memory_order_relaxed),
                  atomic_load_explicit(&s->then, memory_order_relaxed));
}

/* See log_sample.h. Messages outside the table are found by hash in a set of four slots; when all four are
 * others' the one unused longest is taken over. Two messages never share a count, so a frequent one cannot
 * hide a rare one; at worst a flood of ever new messages is not sampled, as none of them repeats. */
#include "telemetry/log_sample.h"

#include <time.h>

#include "core/hash.h"

void evrt_log_sampler_set(struct evrt_log_sampler *s, uint32_t first, uint32_t then) {
    atomic_store_explicit(&s->first, first, memory_order_relaxed);
    atomic_store_explicit(&s->then, then, memory_order_relaxed);
}

/* Seconds; cheap (5 ns), and the turn of the second may be 4 ms late. */
static uint32_t now_second(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint32_t)t.tv_sec + 1; /* never 0, which is an unused slot's */
}

static bool is_off(const struct evrt_log_sampler *s) {
    return atomic_load_explicit(&s->first, memory_order_relaxed) == 0;
}

static bool admit(struct evrt_log_sampler *s, struct evrt_log_sample_slot *slot, uint32_t now) {
    uint32_t second = atomic_load_explicit(&slot->second, memory_order_relaxed);
    if (second != now &&
        atomic_compare_exchange_strong_explicit(&slot->second, &second, now, memory_order_relaxed,
                                                memory_order_relaxed))
        atomic_store_explicit(&slot->count, 0, memory_order_relaxed);
    uint32_t n = atomic_fetch_add_explicit(&slot->count, 1, memory_order_relaxed) + 1;
    uint32_t first = atomic_load_explicit(&s->first, memory_order_relaxed);
    uint32_t then = atomic_load_explicit(&s->then, memory_order_relaxed);
    if (n <= first || (then != 0 && (n - first) % then == 0)) return true;
    atomic_fetch_add_explicit(&s->left_out, 1, memory_order_relaxed);
    return false;
}

bool evrt_log_sample_event(struct evrt_log_sampler *s, enum evrt_log_message_id id) {
    return is_off(s) || admit(s, &s->events[id], now_second());
}

static struct evrt_log_sample_slot *find(struct evrt_log_sampler *s, uint64_t key) {
    struct evrt_log_sample_slot *set = s->others[key % EVRT_LOG_SAMPLE_SETS], *oldest = set;
    for (int i = 0; i < EVRT_LOG_SAMPLE_WAYS; i++) {
        if (atomic_load_explicit(&set[i].key, memory_order_relaxed) == key) return &set[i];
        if (atomic_load_explicit(&set[i].second, memory_order_relaxed) <
            atomic_load_explicit(&oldest->second, memory_order_relaxed))
            oldest = &set[i];
    }
    atomic_store_explicit(&oldest->key, key, memory_order_relaxed);
    atomic_store_explicit(&oldest->second, 0, memory_order_relaxed);
    return oldest;
}

bool evrt_log_sample_text(struct evrt_log_sampler *s, enum evrt_log_level level,
                          struct evrt_slice msg) {
    if (is_off(s)) return true;
    uint64_t key = evrt_hash64(msg.p, msg.n, 1 + (uint64_t)level);
    return admit(s, find(s, key), now_second());
}

/* See window.h. */
#include "bus/window.h"

#include <stdlib.h>

#include "core/buf.h"

void evrt_window_init(struct evrt_window *w) {
    *w = (struct evrt_window){.head = 1, .tail = 1}; /* position 0 means none */
}

static uint64_t block_of(uint64_t position) {
    return position / EVRT_WINDOW_BLOCK;
}

static void drop_block(struct evrt_window *w, uint64_t block) {
    free(w->blocks[block & w->mask]);
    w->blocks[block & w->mask] = NULL;
}

void evrt_window_finish(struct evrt_window *w) {
    for (size_t i = 0; w->blocks != NULL && i <= w->mask; i++)
        free(w->blocks[i]);
    free(w->blocks);
    *w = (struct evrt_window){0};
}

static void grow(struct evrt_window *w) {
    size_t size = w->blocks == NULL ? 2 : (w->mask + 1) * 2;
    struct evrt_entry **blocks = evrt_zalloc(size * sizeof *blocks);
    for (uint64_t b = block_of(w->head); w->blocks != NULL && b <= block_of(w->tail - 1); b++)
        blocks[b & (size - 1)] = w->blocks[b & w->mask];
    free(w->blocks);
    w->blocks = blocks;
    w->mask = size - 1;
}

uint64_t evrt_window_push(struct evrt_window *w, struct evrt_entry entry) {
    if (w->blocks == NULL || block_of(w->tail) - block_of(w->head) > w->mask) grow(w);
    struct evrt_entry **block = &w->blocks[block_of(w->tail) & w->mask];
    if (*block == NULL) *block = evrt_alloc(EVRT_WINDOW_BLOCK * sizeof **block);
    (*block)[w->tail % EVRT_WINDOW_BLOCK] = entry;
    return w->tail++;
}

void evrt_window_pop(struct evrt_window *w) {
    w->tail--;
    if (w->tail % EVRT_WINDOW_BLOCK == 0) drop_block(w, block_of(w->tail));
}

void evrt_window_trim(struct evrt_window *w) {
    while (w->head < w->tail && evrt_window_at(w, w->head)->state >= EVRT_ENTRY_DONE)
        if (++w->head % EVRT_WINDOW_BLOCK == 0) drop_block(w, block_of(w->head - 1));
}

void evrt_window_clear(struct evrt_window *w) {
    uint64_t at = w->tail;
    evrt_window_finish(w);
    w->head = w->tail = at;
}

uint64_t evrt_window_find(const struct evrt_window *w, uint64_t seq) {
    uint64_t low = w->head, high = w->tail;
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if (evrt_window_at(w, mid)->seq < seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

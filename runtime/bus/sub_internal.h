/* What the files of a subscription share: sub.c, sub_delivery.c, sub_order.c, sub_retry.c, sub_aside.c. */
#ifndef EVRT_BUS_SUB_INTERNAL_H
#define EVRT_BUS_SUB_INTERNAL_H

#include "bus/sub.h"

struct evrt_delivery *evrt_sub_take_delivery(struct evrt_sub *s, uint64_t position, uint64_t seq,
                                             uint64_t key);
void evrt_sub_free_delivery(struct evrt_sub *s, struct evrt_delivery *d);
void evrt_sub_free_blocks(struct evrt_sub *s);
/* Frees or unreferences the bytes. */
void evrt_sub_let_go(struct evrt_sub *s, struct evrt_delivery *d);
/* Once; it stays until it is dropped. */
void evrt_sub_set_label(struct evrt_delivery_label *l, const char *event);
void evrt_sub_drop_label(struct evrt_delivery_label *l);
/* Into state AGAIN, at the end of those; and out of it, to FRESH. */
void evrt_sub_come_again(struct evrt_sub *s, struct evrt_delivery *d);
void evrt_sub_leave_again(struct evrt_sub *s, struct evrt_delivery *d);
/* The delivery of a retry, whatever its state, or NULL; and when it is settled. */
struct evrt_delivery *evrt_sub_find_retry(const struct evrt_sub *s, uint64_t seq);
void evrt_sub_forget_retry(struct evrt_sub *s, const struct evrt_delivery *d);
/* Every key is free; retries hold theirs no more. */
void evrt_sub_free_keys(struct evrt_sub *s);
void evrt_sub_put_ready(struct evrt_sub *s, uint64_t position, bool front);
/* For qsort, of uint64_t. */
int evrt_sub_ascending(const void *a, const void *b);
/* The same, of struct evrt_range. */
int evrt_sub_by_first(const void *a, const void *b);

#endif

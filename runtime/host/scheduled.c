/* Events for later, for people: listed from state.db, after a barrier. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/node.h"

#include "core/event.h"
#include "core/jsonout.h"
#include "core/schedule.h"

struct listing {
    struct evrt_host *host;
    int64_t due_ms;
    uint64_t number;
    uint32_t limit, count;
    struct evrt_jsonout o;
    struct evrt_buf json;
    int rc;
    evrt_host_json_cb cb;
    void *arg;
};

/* On the state thread. */
static void note(void *arg, const struct evrt_record_schedule *r) {
    static const char *const kinds[] = {"", "at", "after", "timer"};
    struct listing *l = arg;
    struct evrt_event e;
    char id[32];
    if (evrt_event_decode(r->event.p, r->event.n, &e) < 0) return;
    l->count++;
    l->due_ms = r->due_ms;
    l->number = r->number;
    snprintf(id, sizeof id, "%llu", (unsigned long long)r->number);
    evrt_jsonout_object(&l->o);
    evrt_jsonout_put_cstr(&l->o, "id", id);
    evrt_jsonout_put_time(&l->o, "deliver_at", r->due_ms);
    evrt_jsonout_put_time(&l->o, "accepted", r->at_ms);
    evrt_jsonout_put_cstr(&l->o, "kind", r->kind <= EVRT_SCHEDULE_TIMER ? kinds[r->kind] : "");
    evrt_jsonout_key(&l->o, "event");
    host_event_attributes(&l->o, &e);
    evrt_jsonout_end(&l->o);
}

static void list_job(struct evrt_state_view *view, void *arg) {
    struct listing *l = arg;
    l->o = evrt_jsonout_start(&l->json);
    evrt_jsonout_object(&l->o);
    evrt_jsonout_key(&l->o, "items");
    evrt_jsonout_array(&l->o);
    l->rc = evrt_state_each_scheduled(view, l->due_ms, l->number, l->limit, note, l);
    evrt_jsonout_end(&l->o);
    evrt_jsonout_key(&l->o, "next");
    if (l->count == l->limit) {
        char next[48];
        snprintf(next, sizeof next, "%lld-%llu", (long long)l->due_ms,
                 (unsigned long long)l->number);
        evrt_jsonout_cstr(&l->o, next);
    } else {
        evrt_jsonout_null(&l->o);
    }
    evrt_jsonout_end(&l->o);
}

static void finish(void *arg) {
    struct listing *l = arg;
    l->cb(l->arg, l->rc, l->rc == 0 ? evrt_buf_slice(&l->json) : EVRT_STR("state.db"));
    evrt_buf_finish(&l->json);
    free(l);
}

void evrt_host_scheduled(struct evrt_host *h, int64_t after_ms, uint64_t after_number,
                         uint32_t limit, evrt_host_json_cb cb, void *arg) {
    if (h->phase >= HOST_CLOSING) {
        cb(arg, -ESHUTDOWN, EVRT_STR("shutting down"));
        return;
    }
    struct listing *l = evrt_zalloc(sizeof *l);
    *l = (struct listing){.host = h,
                          .due_ms = after_ms,
                          .number = after_number,
                          .limit = limit,
                          .cb = cb,
                          .arg = arg};
    host_ask_settled(h, list_job, finish, l, &l->rc);
}

/* What is gathered to say why an event became what it did: why.c gathers, why_json.c tells. Owned by the
 * question; one thread at a time. */
#ifndef EVRT_HOST_WHY_H
#define EVRT_HOST_WHY_H

#include <uv.h>

#include "host/host.h"

struct evrt_journal_reader;

/* What the journal says of one delivery of the event. */
enum why_kind {
    WHY_FAILED, /* and to be tried again */
    WHY_DEAD,
    WHY_DONE,
    WHY_DISCARDED,
    WHY_NOTE,
    WHY_PUBLISHED,
};

struct why_fact {
    enum why_kind kind;
    uint32_t sub;
    uint32_t attempt; /* 0: not known */
    int64_t at_ms;
    int64_t due_ms, delay_ms; /* FAILED; PUBLISHED: when it will be, 0: it is */
    uint64_t seq;             /* PUBLISHED */
    uint64_t generation;      /* FAILED, DEAD: of the scripts that ran, */
    uint64_t script;          /* and the hash of the handler's file; 0: not known */
    uint8_t reason;           /* DEAD: enum evrt_dead_reason */
    size_t text;              /* where its texts begin; how long they are */
    uint32_t n[3]; /* FAILED, DEAD: type, message, traceback; NOTE: text; PUBLISHED: type, id */
};

/* A handler that matched it. */
struct why_handler {
    uint32_t sub;
    bool told;       /* its end was found */
    bool failed;     /* it was a retry or a dead letter since */
    bool tells;      /* it has an on_dead_letter, which ends after the letter was made: */
    unsigned untold; /* after so many attempts it became one; 0: that was not found, or is over */
    unsigned next_attempt; /* after the failures found so far */
    unsigned facts;        /* failures and notes that are kept */
    unsigned dead_attempt; /* it is a dead letter, after so many; 0: it is none (any more) */
};

struct why {
    struct evrt_host *host;
    uv_work_t work;
    struct evrt_journal_reader *reader;
    uint64_t seq; /* asked for; 0: */
    char *id;     /* by this */
    int rc;
    struct evrt_error err;
    struct evrt_buf event;   /* its encoding */
    struct evrt_buf parents; /* u32 size, encoding: what caused it, nearest first */
    struct why_handler *handlers;
    size_t handler_count;
    size_t open;   /* of those, whose end was not found */
    bool complete; /* the journal was read as far as it matters */
    struct evrt_buf facts, text;
    uint64_t left_out;  /* failures between the first and the latest that are kept */
    uint64_t published; /* PUBLISHED in all; so many are kept: */
    struct evrt_buf json;
    evrt_host_json_cb cb;
    void *arg;
};

enum {
    WHY_PUBLISHED_MAX = 100,
    WHY_FACTS_MAX = 400, /* failures and notes of a handler; then those go that are not */
    WHY_FACTS_KEPT = 100 /* among so many first or latest ones */
};

static inline const struct why_fact *why_facts(const struct why *w, size_t *count) {
    *count = w->facts.n / sizeof(struct why_fact);
    return (const struct why_fact *)(const void *)w->facts.p;
}

/* One of a fact's texts. */
static inline struct evrt_slice why_text(const struct why *w, const struct why_fact *f, int i) {
    size_t at = f->text;
    for (int k = 0; k < i; k++)
        at += f->n[k];
    return (struct evrt_slice){w->text.p + at, f->n[i]};
}

/* Writes w->json. On the loop. */
void why_tell(struct why *w);

#endif

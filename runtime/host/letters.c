/* See letters.h. */
#include "host/letters.h"

#include <stdlib.h>

#include "core/clock.h"
#include "host/node.h"

enum {
    PAGE = 1000,           /* discarded at once by their age or number */
    LOOK_AGAIN_MS = 60000, /* for those that are too old, at the latest */
    BUDGET_MS = 50,
};

struct choice {
    struct choice *next;
    struct evrt_host *host;
    struct evrt_state_letters which;
    char *type; /* owned */
    uint64_t seq;
    host_letters_fn chosen;
    void *arg;
    struct evrt_buf rows; /* struct host_letter */
    struct host_letters_chosen result;
};

struct held {
    struct host_letter letter;
    uint64_t owner;
};

struct host_letters {
    struct choice *first, **last; /* the first one is being made */
    struct held *held;
    size_t held_count, held_cap;
    struct host_letter *late; /* released while a choice was being made */
    size_t late_count;
    bool trimming;
    int64_t oldest_ms, looked_ns; /* the oldest one, as of then; 0: not known */
};

struct host_letters *host_letters_create(void) {
    struct host_letters *l = evrt_zalloc(sizeof *l);
    l->last = &l->first;
    return l;
}

void host_letters_destroy(struct host_letters *l) {
    if (l == NULL) return;
    while (l->first != NULL) { /* it waited for a disk that is full */
        struct choice *c = l->first;
        l->first = c->next;
        evrt_buf_finish(&c->rows);
        free(c->type);
        free(c);
    }
    free(l->held);
    free(l->late);
    free(l);
}

static bool is_one(const struct host_letter *l, uint32_t sub, uint64_t seq) {
    return l->seq == seq && l->sub == sub;
}

/* ---- Choosing ---- */

static void note(void *arg, const struct evrt_state_letter *l) {
    struct choice *c = arg;
    const struct host_letter one = {l->sub,          l->dead.seq,   l->n,
                                    l->dead.attempt, l->dead.at_ms, l->dead.first_failed_ms};
    evrt_buf_put(&c->rows, &one, sizeof one);
}

static void choose_job(struct evrt_state_view *view, void *arg) {
    struct choice *c = arg;
    c->result.rc = c->seq != 0 ? evrt_state_letter(view, c->which.sub, c->seq, note, c)
                               : evrt_state_letters(view, &c->which, note, c, &c->result.end);
}

static void begin(struct choice *c);

/* Those that someone holds, or let go since the rows were read, are not the asker's. */
static size_t leave_out(const struct host_letters *l, struct host_letter *letters, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        bool taken = false;
        for (size_t k = 0; !taken && k < l->held_count; k++)
            taken = is_one(&l->held[k].letter, letters[i].sub, letters[i].seq);
        for (size_t k = 0; !taken && k < l->late_count; k++)
            taken = is_one(&l->late[k], letters[i].sub, letters[i].seq);
        if (!taken) letters[kept++] = letters[i];
    }
    return kept;
}

static void finish(void *arg) {
    struct choice *c = arg;
    struct host_letters *l = c->host->letters;
    struct host_letter *letters = (struct host_letter *)(void *)c->rows.p;
    size_t n = c->rows.n / sizeof *letters;
    c->result.letters = letters;
    c->result.count = leave_out(l, letters, n);
    c->result.held = (unsigned)(n - c->result.count);
    c->chosen(c->arg, &c->result);
    l->late_count = 0;
    l->first = c->next;
    if (l->first == NULL) l->last = &l->first;
    if (l->first != NULL) begin(l->first);
    evrt_buf_finish(&c->rows);
    free(c->type);
    free(c);
}

static void on_settled(void *arg, uint64_t unused) {
    struct choice *c = arg;
    (void)unused;
    host_ask_state(c->host, choose_job, finish, c);
}

static void begin(struct choice *c) {
    host_barrier(c->host, on_settled, c);
}

void host_letters_choose(struct evrt_host *h, const struct evrt_state_letters *which, uint64_t seq,
                         host_letters_fn chosen, void *arg) {
    struct host_letters *l = h->letters;
    struct choice *c = evrt_zalloc(sizeof *c);
    *c = (struct choice){.host = h, .which = *which, .seq = seq, .chosen = chosen, .arg = arg};
    if (which->type.p != NULL) {
        c->type = evrt_strndup(which->type.p, which->type.n);
        c->which.type.p = c->type;
    }
    *l->last = c;
    l->last = &c->next;
    if (l->first == c) begin(c);
}

/* ---- Holding ---- */

void host_letters_hold(struct evrt_host *h, const struct host_letter *letter, uint64_t owner) {
    struct host_letters *l = h->letters;
    l->held = evrt_grow(l->held, l->held_count, &l->held_cap, sizeof *l->held);
    l->held[l->held_count++] = (struct held){*letter, owner};
}

const struct host_letter *host_letters_held(const struct evrt_host *h, uint32_t sub, uint64_t seq) {
    for (size_t i = 0; i < h->letters->held_count; i++)
        if (is_one(&h->letters->held[i].letter, sub, seq)) return &h->letters->held[i].letter;
    return NULL;
}

static void release(struct host_letters *l, size_t i) {
    if (l->first != NULL) {
        l->late = evrt_realloc(l->late, (l->late_count + 1) * sizeof *l->late);
        l->late[l->late_count++] = l->held[i].letter;
    }
    l->held[i] = l->held[--l->held_count];
}

void host_letters_release(struct evrt_host *h, uint32_t sub, uint64_t seq) {
    struct host_letters *l = h->letters;
    for (size_t i = 0; i < l->held_count; i++) {
        if (!is_one(&l->held[i].letter, sub, seq)) continue;
        release(l, i);
        return;
    }
}

void host_letters_release_all(struct evrt_host *h, uint64_t owner,
                              bool (*keep)(struct evrt_host *h, uint64_t owner,
                                           const struct host_letter *letter)) {
    struct host_letters *l = h->letters;
    for (size_t i = l->held_count; i-- > 0;)
        if (l->held[i].owner == owner && !keep(h, owner, &l->held[i].letter)) release(l, i);
}

bool host_letters_drop(struct evrt_host *h, const struct host_letter *letter) {
    struct evrt_sub *s = evrt_bus_by_id(h->bus, letter->sub);
    if (s == NULL) return false;
    evrt_bus_letter_left(h->bus, s, letter->seq, false);
    host_ended(h, 0);
    return true;
}

/* ---- Their age and number ---- */

uint64_t host_letters_count(const struct evrt_host *h) {
    uint64_t count = 0;
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++)
        count += evrt_bus_get(h->bus, i)->dead;
    return count;
}

static uint64_t excess(const struct evrt_host *h) {
    uint64_t count = host_letters_count(h), most = h->config->dead_letters.max;
    return count > most ? count - most : 0;
}

static void tell(struct evrt_host *h, uint64_t count, const char *reason) {
    if (count == 0) return;
    h->letters_dropped += count;
    evrt_log_event(h->log, DEAD_GONE, EVRT_F_U64("count", count), EVRT_F_CSTR("reason", reason));
}

/* Oldest first; behind one that is not old is none that is, whatever the clock showed then. Those from the future say
 * nothing, as it was set: they are not asked for. */
static void trim(void *arg, const struct host_letters_chosen *c) {
    struct evrt_host *h = arg;
    struct host_letters *l = h->letters;
    int64_t before = host_aged_before(h, h->config->dead_letters.ttl);
    uint64_t over = excess(h), old = 0, many = 0;
    l->trimming = false;
    l->looked_ns = evrt_mono_ns();
    l->oldest_ms = 0;
    if (c->rc < 0 || h->phase >= HOST_CLOSING) return;
    for (size_t i = 0; i < c->count; i++) {
        bool is_old = c->letters[i].at_ms < before, is_over = old + many < over;
        if (!is_old && !is_over) {
            l->oldest_ms = c->letters[i].at_ms;
            break;
        }
        if (!host_letters_drop(h, &c->letters[i])) continue;
        *(is_old ? &old : &many) += 1;
    }
    tell(h, old, "dead_letters.ttl");
    tell(h, many, "dead_letters.max");
    if (h->meters != NULL) evrt_metrics_limit(h->meters->metrics, EVRT_LIMIT_DEAD_LETTERS, many);
    if (c->count != 0 && old + many == c->count)
        l->looked_ns = 0; /* of what comes behind them nothing is known */
    if (old + many == PAGE) host_keep_soon(h);
}

void host_letters_keep(struct evrt_host *h) {
    struct host_letters *l = h->letters;
    int64_t again_ns = l->looked_ns + (int64_t)LOOK_AGAIN_MS * 1000000;
    bool old = l->looked_ns == 0 ||
               (l->oldest_ms != 0 ? l->oldest_ms < host_aged_before(h, h->config->dead_letters.ttl)
                                  : evrt_mono_ns() > again_ns);
    if (l->trimming || host_letters_count(h) == 0 || (!old && excess(h) == 0)) return;
    l->trimming = true;
    const struct evrt_state_letters which = {.reason = -1,
                                             .to_ms = excess(h) == 0 ? evrt_wall_ms() + 1 : 0,
                                             .until = UINT64_MAX,
                                             .limit = PAGE,
                                             .budget_ms = BUDGET_MS,
                                             .ascending = true};
    host_letters_choose(h, &which, 0, trim, h);
}

/* Dead letters inside of the host: chosen from state.db, and then given up or given once more. What is chosen
 * is nobody else's until it is let go; one choice is made at a time, after everything that was changed by those
 * before it is in state.db. So a letter is counted as it leaves once, whoever asks for what meanwhile.
 *
 *     host_letters_choose ─▶ barrier ─▶ state thread: rows ─▶ loop: less those that are held ─▶ chosen()
 *
 * The loop's thread. */
#ifndef EVRT_HOST_LETTERS_H
#define EVRT_HOST_LETTERS_H

#include "bus/bus.h"
#include "host/host.h"
#include "state/state.h"

struct host_letters;

struct host_letter {
    uint32_t sub;
    uint64_t seq, n;
    uint32_t attempt; /* of the last one */
    int64_t at_ms, first_failed_ms;
};

struct host_letters_chosen {
    int rc; /* a negative errno: state.db cannot be read, or not now */
    const struct host_letter *letters;
    size_t count;
    unsigned held; /* would be wanted, and are someone else's */
    struct evrt_state_letters_end end;
};
typedef void (*host_letters_fn)(void *arg, const struct host_letters_chosen *c);

struct host_letters *host_letters_create(void);
void host_letters_destroy(struct host_letters *l);

/* `which` is copied, its type too. With seq != 0 only the one of which->sub and that. `chosen` is called once,
 * never before this returns; it holds or drops letters at once. */
void host_letters_choose(struct evrt_host *h, const struct evrt_state_letters *which, uint64_t seq,
                         host_letters_fn chosen, void *arg);
/* For `owner` (not 0); chosen() is the time for that. */
void host_letters_hold(struct evrt_host *h, const struct host_letter *letter, uint64_t owner);
/* The one held, or NULL. Valid until the next hold or release. */
const struct host_letter *host_letters_held(const struct evrt_host *h, uint32_t sub, uint64_t seq);
/* Not held any more; it may have left, or be another one. */
void host_letters_release(struct evrt_host *h, uint32_t sub, uint64_t seq);
/* Those of an owner for which `keep` is false. */
void host_letters_release_all(struct evrt_host *h, uint64_t owner,
                              bool (*keep)(struct evrt_host *h, uint64_t owner,
                                           const struct host_letter *letter));
/* Gives it up: discarded, and counted. Settled at the end of the turn, or before when there are many. false: its handler is forgotten. */
bool host_letters_drop(struct evrt_host *h, const struct host_letter *letter);
/* How many there are. */
uint64_t host_letters_count(const struct evrt_host *h);
/* dead_letters.ttl and .max. */
void host_letters_keep(struct evrt_host *h);

#endif

/* Why a handler is given an event. One table, which host, bus and workers share. */
#ifndef EVRT_CORE_PURPOSE_H
#define EVRT_CORE_PURPOSE_H

/* name, number in frames, what it is. All but HANDLE are beside the subscription's window: they do not
 * move its cursor and are in none of its counts. */
#define EVRT_PURPOSES(X)                                \
    X(HANDLE, 0, "it was published, or is tried again") \
    X(REPLAY, 1, "a replay gives it once more")         \
    X(REPROCESS, 2, "a dead letter is given once more") \
    X(NOTICE, 3, "it became a dead letter: on_dead_letter")

enum evrt_purpose {
#define X(name, number, help) EVRT_PURPOSE_##name = number,
    EVRT_PURPOSES(X)
#undef X
};

#endif

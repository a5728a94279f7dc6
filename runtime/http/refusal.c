/* See refusal.h. */
#include "http/refusal.h"

#include <errno.h>

static const struct {
    struct evrt_refusal_answer answer;
    int error;
} refusals[] = {
#define X(id, status, code, pause, rc, help) {{status, pause, code, help}, rc},
    EVRT_REFUSALS(X)
#undef X
};

const struct evrt_refusal_answer *evrt_refusal_answer(enum evrt_refusal why) {
    return &refusals[why].answer;
}

enum evrt_refusal evrt_refusal_of(int rc) {
    if (rc == -ECANCELED) return EVRT_REFUSE_SHUTTING_DOWN;
    if (rc == -EEXIST) return EVRT_REFUSE_REFUSED;
    for (int i = 0; rc < 0 && i < EVRT_REFUSAL_COUNT; i++)
        if (refusals[i].error == -rc) return (enum evrt_refusal)i;
    return EVRT_REFUSE_INTERNAL;
}

/* One place log lines go to: stdout, stderr or a file. Owned by the log's writer and used on its thread,
 * but for open and close. */
#ifndef EVRT_TELEMETRY_LOG_OUTPUT_H
#define EVRT_TELEMETRY_LOG_OUTPUT_H

#include <stdbool.h>

#include "evrt.h"

struct evrt_log_output {
    char *path; /* as given: "stdout", "stderr" or a file's path */
    int fd;
    bool file;    /* ours to reopen and close */
    bool regular; /* never makes us wait */
    bool stalled; /* it took nothing for so long that lines were given up */
    bool torn;    /* the last write ended inside a line */
    int error;    /* of the last write that failed, negative errno */
};

EVRT_MUST_CHECK int evrt_log_output_open(struct evrt_log_output *o, const char *path,
                                         struct evrt_error *err);
void evrt_log_output_close(struct evrt_log_output *o);
/* Opens a file anew. On failure the one that is open stays. */
EVRT_MUST_CHECK int evrt_log_output_reopen(struct evrt_log_output *o);
bool evrt_log_output_is_terminal(const struct evrt_log_output *o);
/* Whether it took nothing for so long that lines were given up, and would take some now. */
bool evrt_log_output_takes_again(const struct evrt_log_output *o);

/* Writes whole lines. While the output takes nothing, `wait` is asked (every 20 ms) whether to go on
 * waiting. Returns how many lines were lost, and sets o->error then. */
uint64_t evrt_log_output_write(struct evrt_log_output *o, const char *p, size_t n,
                               bool (*wait)(void *arg), void *arg);

#endif

/* See log_events.h. */
#include "telemetry/log_events.h"

#define LEVEL_DEBUG EVRT_LOG_DEBUG
#define LEVEL_INFO EVRT_LOG_INFO
#define LEVEL_WARN EVRT_LOG_WARN
#define LEVEL_ERROR EVRT_LOG_ERROR

static const struct evrt_log_message messages[] = {
#define X(id, level, text, fields, meaning) {#id, LEVEL_##level, text, fields, meaning},
    EVRT_LOG_MESSAGES(X)
#undef X
};

const struct evrt_log_message *evrt_log_message(unsigned id) {
    return id < EVRT_MSG_COUNT ? &messages[id] : NULL;
}

/* Cron schedules: five or six fields, in a time zone. Any thread.
 *
 *     [second] minute hour day-of-month month day-of-week       @hourly @daily @weekly @monthly @yearly
 *
 * A field is *, a value, a range a-b, one of these with a step /n, or a list of them; months and days of the
 * week have names, too, and Sunday is 0 and 7. Where both days are restricted, either suffices. */
#ifndef EVRT_CORE_CRON_H
#define EVRT_CORE_CRON_H

#include <stdbool.h>

#include "core/zone.h"

struct evrt_cron {
    uint64_t seconds, minutes;
    uint32_t hours, days, months, weekdays; /* bits */
    bool any_day, any_weekday;
    bool any_hour; /* it goes by time that passes, where clocks are set */
};

/* -EINVAL: field, byte (from 1) and what was expected. */
EVRT_MUST_CHECK int evrt_cron_parse(struct evrt_slice text, struct evrt_cron *out,
                                    struct evrt_error *err);
/* The first time after `after`, in seconds since the epoch; INT64_MAX: there is none (February 30).
 *
 * When clocks go forward, what falls into the hour that does not exist happens once, at the moment of the
 * change; when they go back, what falls into the hour that comes twice happens the first time only. A
 * schedule for every hour has it both ways as time passes: none is left out, and none comes twice. */
int64_t evrt_cron_next(const struct evrt_cron *c, const struct evrt_zone *z, int64_t after);

#endif

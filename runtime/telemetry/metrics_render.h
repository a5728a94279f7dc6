/* The registry as text: Prometheus' text format 0.0.4 and OpenMetrics 1.0.
 *
 *     loop:       shot = evrt_metrics_shoot(m)     copies every figure, at one moment
 *     any thread: evrt_metrics_shot_process(shot), evrt_metrics_render(shot, ...)
 *                                                  makes the text of it; the loop goes on meanwhile
 *     loop:       evrt_metrics_shot_end(shot)      what was dropped meanwhile is freed */
#ifndef EVRT_TELEMETRY_METRICS_RENDER_H
#define EVRT_TELEMETRY_METRICS_RENDER_H

#include "telemetry/metrics.h"

struct evrt_metrics_shot;

struct evrt_metrics_shot *evrt_metrics_shoot(struct evrt_metrics *m);
/* Adds the process_* figures as they are now: reads /proc, so not on the loop. */
void evrt_metrics_shot_process(struct evrt_metrics_shot *shot);
void evrt_metrics_render(const struct evrt_metrics_shot *shot, bool openmetrics,
                         struct evrt_buf *out);
void evrt_metrics_shot_end(struct evrt_metrics_shot *shot);

#define EVRT_METRICS_TEXT "text/plain; version=0.0.4; charset=utf-8"
#define EVRT_METRICS_OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* A double as both formats have it: the shortest digits that are it, +Inf, -Inf, NaN. */
void evrt_metrics_put_double(struct evrt_buf *out, double v);

#endif

/* Ends of deliveries beside the window: told to the job that made them. What they change is that job's to say;
 * the bus counts none of them. The loop's thread. */
#include "host/jobs.h"
#include "host/node.h"

void host_aside_ended(struct host_worker *w, struct evrt_sub *s, const struct evrt_delivery *d,
                      const struct evrt_frame_failed *f) {
    static const struct evrt_frame_failed none;
    if (d->purpose == EVRT_PURPOSE_NOTICE) {
        host_notice_ended(w->host, s, d, f);
        return;
    }
    const struct evrt_frame_failed *why = f == NULL ? &none : f;
    host_jobs_ended(w->host, &(struct host_job_end){
                                 .sub = s,
                                 .delivery = d,
                                 .done = f == NULL,
                                 .error_type = why->error_type,
                                 .message = why->message,
                                 .traceback = why->traceback,
                                 .declined = why->retry_ms == EVRT_RETRY_NEVER,
                                 .generation = w->generation->number,
                                 .script = host_script_of(w->generation, s),
                             });
}

struct evrt_slice host_purpose(const struct evrt_delivery *d) {
    static const char *const names[] = {[EVRT_PURPOSE_REPLAY] = "replay",
                                        [EVRT_PURPOSE_REPROCESS] = "reprocess",
                                        [EVRT_PURPOSE_NOTICE] = "notice"};
    bool aside = evrt_sub_is_aside(d->position) && d->purpose != EVRT_PURPOSE_HANDLE;
    return aside ? evrt_slice_of(names[d->purpose]) : (struct evrt_slice){NULL, 0};
}

/* The admin listener's route handlers that the table in admin.c names, by file. */
#ifndef EVRT_HTTP_ADMIN_ROUTES_H
#define EVRT_HTTP_ADMIN_ROUTES_H

#include <stdbool.h>

#include "evrt.h"

struct evrt_http_request;

/* For routes that take no parameters: evrt_request_query(r, evrt_no_parameters, NULL). */
int evrt_no_parameters(void *arg, struct evrt_http_request *r, struct evrt_slice name,
                       struct evrt_slice value);

/* admin_handlers.c */
void evrt_delete_handler(struct evrt_http_request *r);
void evrt_post_pause(struct evrt_http_request *r);
void evrt_post_resume(struct evrt_http_request *r);

/* admin_events.c */
void evrt_get_events(struct evrt_http_request *r);
void evrt_get_event(struct evrt_http_request *r);
void evrt_get_why(struct evrt_http_request *r);
void evrt_get_tail(struct evrt_http_request *r);

/* admin_retries.c */
void evrt_get_retries(struct evrt_http_request *r);
void evrt_post_retry_run(struct evrt_http_request *r);
void evrt_delete_retry(struct evrt_http_request *r);

/* admin_letters.c */
void evrt_get_letters(struct evrt_http_request *r);
void evrt_get_letter(struct evrt_http_request *r);
void evrt_delete_letter(struct evrt_http_request *r);
void evrt_delete_letters(struct evrt_http_request *r);
void evrt_post_letter_reprocess(struct evrt_http_request *r);
void evrt_post_letters_reprocess(struct evrt_http_request *r);

/* admin_jobs.c */
void evrt_get_jobs(struct evrt_http_request *r);
void evrt_get_job(struct evrt_http_request *r);
void evrt_delete_job(struct evrt_http_request *r);
/* Answers for the job of that number, for routes of one kind. */
void evrt_admin_job(struct evrt_http_request *r, struct evrt_slice name, bool cancel);
/* admin_metrics.c */
void evrt_get_metrics(struct evrt_http_request *r);

/* admin_log.c */
void evrt_get_log_level(struct evrt_http_request *r);
void evrt_put_log_level(struct evrt_http_request *r);

/* admin_replays.c */
void evrt_post_replay(struct evrt_http_request *r);
void evrt_get_replays(struct evrt_http_request *r);
void evrt_get_replay(struct evrt_http_request *r);
void evrt_delete_replay(struct evrt_http_request *r);

/* admin_scheduled.c */
void evrt_get_scheduled(struct evrt_http_request *r);
void evrt_delete_scheduled(struct evrt_http_request *r);

/* admin_kv.c */
void evrt_get_kv(struct evrt_http_request *r);
void evrt_put_kv(struct evrt_http_request *r);
void evrt_delete_kv(struct evrt_http_request *r);
uint64_t evrt_kv_body(struct evrt_http_request *r);

/* admin_store.c */
void evrt_post_cleanup(struct evrt_http_request *r);
void evrt_post_backup(struct evrt_http_request *r);

#endif

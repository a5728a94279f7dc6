/* Reprocessing of dead letters inside of the host: a kind of job (host/jobs.h). */
#ifndef EVRT_HOST_REPROCESS_H
#define EVRT_HOST_REPROCESS_H

extern const struct host_job_kind host_reprocess_kind;

#endif

/* gzip, for what is sent in one piece. Any thread. */
#ifndef EVRT_TELEMETRY_GZIP_H
#define EVRT_TELEMETRY_GZIP_H

#include "core/buf.h"

/* Appends `in`, compressed quickly rather than well. */
void evrt_gzip(struct evrt_slice in, struct evrt_buf *out);

#endif

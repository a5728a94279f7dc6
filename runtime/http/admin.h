/* The routes of the admin listener: health, and what the node knows. */
#ifndef EVRT_HTTP_ADMIN_H
#define EVRT_HTTP_ADMIN_H

#include "http/route.h"

/* The first is that of metrics. */
extern const struct evrt_route evrt_admin_routes[];
extern const size_t evrt_admin_route_count;

#endif

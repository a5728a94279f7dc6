/* The routes of the ingest listener: events come in. */
#ifndef EVRT_HTTP_INGEST_H
#define EVRT_HTTP_INGEST_H

#include "http/route.h"

enum {
    EVRT_INGEST_ROUTES = 2,
};
extern const struct evrt_route evrt_ingest_routes[EVRT_INGEST_ROUTES];

#endif

/* The routes of the admin listener: health, and what the node knows. */
#ifndef EVRT_HTTP_ADMIN_H
#define EVRT_HTTP_ADMIN_H

#include "http/route.h"

enum {
    EVRT_ADMIN_ROUTES = 20,
};
extern const struct evrt_route evrt_admin_routes[EVRT_ADMIN_ROUTES];

#endif

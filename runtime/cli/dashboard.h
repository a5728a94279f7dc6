/* The dashboard of a node for people: what evrt stats prints and evrt top shows anew and anew. */
#ifndef EVRT_CLI_DASHBOARD_H
#define EVRT_CLI_DASHBOARD_H

#include <stdbool.h>

#include "core/buf.h"

struct evrt_dashboard_view {
    bool colour;
    unsigned handlers, types; /* rows at most, the busiest first; 0: all */
};

/* Appends it, from the JSON of GET /api/v1/dashboard. */
void evrt_dashboard_show(struct evrt_slice json, const struct evrt_dashboard_view *view,
                         struct evrt_buf *out);

#endif

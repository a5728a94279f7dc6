/* What a client would rather have: the weights in Accept and Accept-Encoding (RFC 9110, 12). Pure. */
#ifndef EVRT_HTTP_ACCEPT_H
#define EVRT_HTTP_ACCEPT_H

#include <stdbool.h>

#include "core/buf.h"

/* The weight, in thousandths, that the header gives to a media type ("text/plain") whose parameter version is
 * `version`, or to a coding ("gzip", version NULL). The most specific range counts; -1: the header says
 * nothing of it. An absent header {NULL,0} says nothing. */
int evrt_accept_weight(struct evrt_slice header, const char *what, const char *version);

#endif

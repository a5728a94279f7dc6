/* A folder that a command needs while it runs. One thread. */
#ifndef EVRT_CLI_PLACE_H
#define EVRT_CLI_PLACE_H

#include "core/buf.h"

#define EVRT_PLACE_SIZE 4096

/* Makes one in the folder `base`; its whole path is in dir then. */
EVRT_MUST_CHECK int evrt_place_make(const char *base, char dir[EVRT_PLACE_SIZE],
                                    struct evrt_error *err);
/* A file there, with this text. `name` may begin with a folder that exists. */
EVRT_MUST_CHECK int evrt_place_write(const char *dir, const char *name, struct evrt_slice text,
                                     struct evrt_error *err);
/* With all that is in it. */
void evrt_place_remove(const char *dir);

#endif

/* Text in lines of bounded width, for help, comments and manuals. Any thread. */
#ifndef EVRT_CORE_WRAP_H
#define EVRT_CORE_WRAP_H

#include "core/buf.h"

/* Appends the words of `text`, each line after `prefix` (its trailing blanks left out on empty lines)
 * and, where the words allow, at most `width` bytes long. '\n' in text ends a line. */
void evrt_wrap(struct evrt_buf *out, const char *prefix, size_t width, const char *text);

#endif

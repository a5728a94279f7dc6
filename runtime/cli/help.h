/* Help, the manual page and shell completion: three readings of the same tables. */
#ifndef EVRT_CLI_HELP_H
#define EVRT_CLI_HELP_H

#include "core/buf.h"

struct evrt_command;
struct evrt_cli_option;

/* "-d, --data JSON|@FILE|-"; "--url URL". Appends. */
void evrt_help_option(const struct evrt_cli_option *o, struct evrt_buf *out);

void evrt_help_man(struct evrt_buf *out);
/* -ENOENT: no such shell. */
EVRT_MUST_CHECK int evrt_help_completion(const char *shell, struct evrt_buf *out);

#endif

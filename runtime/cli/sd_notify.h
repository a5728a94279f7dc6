/* systemd's readiness protocol, by hand: datagrams to the socket named in the environment. One thread. */
#ifndef EVRT_CLI_SD_NOTIFY_H
#define EVRT_CLI_SD_NOTIFY_H

#include <stdint.h>

/* Sends "READY=1" and the like to $NOTIFY_SOCKET. 0 also when nobody asked to be told; a negative errno
 * when the socket is there and does not take it. */
int evrt_sd_notify(const char *state);

/* How often WATCHDOG=1 is to be sent, in milliseconds: half of $WATCHDOG_USEC. 0: not asked for, or
 * asked of another process. */
uint64_t evrt_sd_watchdog_ms(void);

#endif

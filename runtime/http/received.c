/* See listen.h. Alone in a file: the kernel's header, which has the count of bytes, and the C library's,
 * which others include, define the same names. */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "http/listen.h"

int evrt_received(int fd, struct evrt_received *out) {
    struct tcp_info info;
    socklen_t size = sizeof info;
    memset(&info, 0, sizeof info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0) return -errno;
    *out = (struct evrt_received){info.tcpi_bytes_received, info.tcpi_last_data_recv};
    return 0;
}

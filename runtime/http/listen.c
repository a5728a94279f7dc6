/* See listen.h. The listeners are made here and given to libmicrohttpd, so that a failure has a reason
 * and port 0 an answer. */
#include "http/listen.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/error.h"

union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
};

static socklen_t to_sockaddr(const struct evrt_address *a, union any_address *out) {
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET6, a->host, &out->v6.sin6_addr) == 1) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(a->port);
        return sizeof out->v6;
    }
    if (inet_pton(AF_INET, a->host, &out->v4.sin_addr) != 1) return 0;
    out->v4.sin_family = AF_INET;
    out->v4.sin_port = htons(a->port);
    return sizeof out->v4;
}

char *evrt_peer_format(const struct sockaddr *address, char buf[EVRT_PEER_SIZE]) {
    const union any_address *a = (const void *)address;
    char host[INET6_ADDRSTRLEN] = "?";
    if (a->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof host);
        snprintf(buf, EVRT_PEER_SIZE, "[%s]:%u", host, ntohs(a->v6.sin6_port));
    } else {
        inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof host);
        snprintf(buf, EVRT_PEER_SIZE, "%s:%u", host, ntohs(a->v4.sin_port));
    }
    return buf;
}

/* ---- Who has the port: the inode of the listening socket, then whose descriptor it is ---- */

static unsigned long inode_in(const char *table, uint16_t port) {
    FILE *file = fopen(table, "re");
    if (file == NULL) return 0;
    char line[512];
    unsigned long found = 0;
    while (found == 0 && fgets(line, sizeof line, file) != NULL) {
        unsigned local, state;
        unsigned long inode;
        if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %lu",
                   &local, &state, &inode) == 3 &&
            local == port && state == 0x0a)
            found = inode;
    }
    fclose(file);
    return found;
}

static bool has_descriptor(const char *pid, const char *socket_name) {
    char path[300], target[64];
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    DIR *fds = opendir(path);
    if (fds == NULL) return false;
    bool found = false;
    for (struct dirent *d; !found && (d = readdir(fds)) != NULL;) {
        ssize_t n = readlinkat(dirfd(fds), d->d_name, target, sizeof target - 1);
        if (n > 0) {
            target[n] = '\0';
            found = strcmp(target, socket_name) == 0;
        }
    }
    closedir(fds);
    return found;
}

static void command_of(const char *pid, char *out, size_t size) {
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    FILE *file = fopen(path, "re");
    out[0] = '\0';
    if (file == NULL) return;
    if (fgets(out, (int)size, file) != NULL) out[strcspn(out, "\n")] = '\0';
    fclose(file);
}

/* " (by nginx, pid 812)", or "" when it cannot be told. */
static void describe_owner(uint16_t port, char *out, size_t size) {
    char socket_name[40], command[64];
    unsigned long inode = inode_in("/proc/net/tcp", port);
    if (inode == 0) inode = inode_in("/proc/net/tcp6", port);
    out[0] = '\0';
    DIR *proc = inode == 0 ? NULL : opendir("/proc");
    if (proc == NULL) return;
    snprintf(socket_name, sizeof socket_name, "socket:[%lu]", inode);
    for (struct dirent *d; out[0] == '\0' && (d = readdir(proc)) != NULL;) {
        if (d->d_name[0] < '1' || d->d_name[0] > '9' || !has_descriptor(d->d_name, socket_name))
            continue;
        command_of(d->d_name, command, sizeof command);
        snprintf(out, size, " (by %s, pid %.10s)", command, d->d_name);
    }
    closedir(proc);
}

static int refused(int rc, const struct evrt_address *a, const char *what, struct evrt_error *err) {
    char owner[128] = "";
    const char *open = strchr(a->host, ':') == NULL ? "" : "[", *close = *open ? "]" : "";
    if (rc == -EADDRINUSE) describe_owner(a->port, owner, sizeof owner);
    return evrt_error_set(err, rc, "cannot %s %s%s%s:%u: %s%s", what, open, a->host, close, a->port,
                          rc == -EADDRINUSE ? "the port is taken" : strerror(-rc), owner);
}

int evrt_listen(const struct evrt_address *address, struct evrt_error *err) {
    union any_address at;
    socklen_t size = to_sockaddr(address, &at);
    if (size == 0)
        return evrt_error_set(err, -EINVAL, "%s: not an IPv4 or IPv6 address", address->host);
    int one = 1;
    int fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return refused(-errno, address, "open a socket for", err);
    const char *what = "listen on";
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        (at.any.sa_family != AF_INET6 ||
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) == 0) &&
        bind(fd, &at.any, size) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int rc = -errno;
    close(fd);
    return refused(rc, address, what, err);
}

uint16_t evrt_listen_port(int fd) {
    union any_address at;
    socklen_t size = sizeof at;
    if (getsockname(fd, &at.any, &size) < 0) return 0;
    return ntohs(at.any.sa_family == AF_INET6 ? at.v6.sin6_port : at.v4.sin_port);
}

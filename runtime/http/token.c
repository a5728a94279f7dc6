/* See token.h. */
#include "http/token.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "http/headers.h"

static int take_line(const char *path, struct evrt_slice text, struct evrt_buf *out,
                     struct evrt_error *err) {
    size_t n = 0;
    while (n < text.n && text.p[n] != '\n' && text.p[n] != '\r')
        n++;
    if (n == 0)
        return evrt_error_set(err, -EINVAL, "%s: the token file is empty; write a token into it",
                              path);
    for (size_t i = 0; i < n; i++)
        if (text.p[i] <= 0x20 || text.p[i] >= 0x7f)
            return evrt_error_set(err, -EINVAL,
                                  "%s: byte %zu: a token is printable ASCII without spaces", path,
                                  i + 1);
    evrt_buf_put(out, text.p, n);
    return 0;
}

int evrt_token_load(const char *path, struct evrt_buf *out, bool *exposed, struct evrt_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return evrt_error_set(err, -errno, "%s: token file: %s", path, strerror(errno));
    char text[EVRT_TOKEN_MAX + 1];
    struct stat st;
    int rc = fstat(fd, &st) < 0 ? -errno : 0;
    ssize_t n = rc < 0 ? 0 : read(fd, text, sizeof text);
    if (n < 0) rc = -errno;
    close(fd);
    if (rc < 0) return evrt_error_set(err, rc, "%s: token file: %s", path, strerror(-rc));
    if (n > EVRT_TOKEN_MAX)
        return evrt_error_set(err, -EINVAL, "%s: a token has at most %d bytes", path,
                              EVRT_TOKEN_MAX);
    *exposed = (st.st_mode & (S_IRGRP | S_IROTH)) != 0;
    return take_line(path, (struct evrt_slice){text, (size_t)n}, out, err);
}

bool evrt_token_equal(struct evrt_slice token, struct evrt_slice given) {
    if (token.n == 0) return false;
    volatile unsigned differ = token.n != given.n; /* no early end is the point */
    for (size_t i = 0; i < given.n; i++)
        differ =
            differ | (unsigned)((unsigned char)given.p[i] ^ (unsigned char)token.p[i % token.n]);
    return differ == 0;
}

struct evrt_slice evrt_token_bearer(struct evrt_slice authorization) {
    struct evrt_slice none = {NULL, 0};
    if (authorization.n < 8 || !evrt_caseless_eq((struct evrt_slice){authorization.p, 6}, "bearer"))
        return none;
    size_t at = 6;
    while (at < authorization.n && authorization.p[at] == ' ')
        at++;
    if (at == 6 || at == authorization.n) return none;
    return (struct evrt_slice){authorization.p + at, authorization.n - at};
}

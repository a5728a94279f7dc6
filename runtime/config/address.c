/* Addresses to listen on. Names are not looked up: a start must not depend on DNS. See config.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "config/config.h"
#include "core/error.h"

static int refuse(struct evrt_slice s, struct evrt_error *err, const char *why) {
    return evrt_error_set(err, -EINVAL,
                          "%.*s is no address: %s (expected 127.0.0.1:8080, [::1]:8080 or :8080)",
                          (int)(s.n > 80 ? 80 : s.n), s.p ? s.p : "", why);
}

static bool parse_port(struct evrt_slice s, uint16_t *port) {
    unsigned v = 0;
    if (s.n == 0 || s.n > 5) return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        v = v * 10 + (unsigned)(s.p[i] - '0');
    }
    *port = (uint16_t)v;
    return v <= UINT16_MAX;
}

int evrt_address_parse(struct evrt_slice s, struct evrt_address *out, struct evrt_error *err) {
    struct in6_addr any;
    const char *colon = s.n == 0 ? NULL : memrchr(s.p, ':', s.n);
    if (colon == NULL) return refuse(s, err, "no port");
    struct evrt_slice host = {s.p, (size_t)(colon - s.p)};
    bool v6 = host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (v6) host.p++, host.n -= 2;
    if (!parse_port((struct evrt_slice){colon + 1, s.n - (size_t)(colon + 1 - s.p)}, &out->port))
        return refuse(s, err, "the port is no number from 0 to 65535");
    if (host.n == 0 && !v6) host = EVRT_STR("0.0.0.0");
    if (evrt_slice_eq(host, EVRT_STR("localhost"))) host = EVRT_STR("127.0.0.1");
    if (host.n >= sizeof out->host || memchr(host.p, '\0', host.n) != NULL)
        return refuse(s, err, "the host is no address");
    snprintf(out->host, sizeof out->host, "%.*s", (int)host.n, host.p);
    if (inet_pton(v6 ? AF_INET6 : AF_INET, out->host, &any) != 1)
        return refuse(s, err, "the host is no IP address in numbers, nor localhost");
    return 0;
}

bool evrt_address_is_loopback(const struct evrt_address *a) {
    struct in6_addr v6;
    struct in_addr v4;
    if (inet_pton(AF_INET, a->host, &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, a->host, &v6) != 1) return false;
    return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

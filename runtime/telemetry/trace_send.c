/* See trace_send.h. The collector is not trusted: no redirects, HTTP alone, its answer is read up to a limit, and
 * everything takes a bounded time. */
#include "telemetry/trace_send.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/error.h"
#include "libcurl/libcurl.h"
#include "telemetry/trace_options.h"

enum {
    ANSWER_MAX = 64 << 10,
    LOOK_MS = 500,
    RETRY_AFTER_MAX_S = 300,
    PIECE = 512 << 10, /* what libcurl sends at once: most requests whole */
};

struct evrt_trace_sender {
    struct evrt_curl curl;
    const struct evrt_trace_options *options;
    CURLM *multi;
    CURL *easy;           /* kept, and its connection with it */
    curl_socket_t socket; /* that connection's */
    struct curl_slist *headers;
    bool zips;
    struct evrt_buf answer;
    int64_t retry_after_ms;
    char why[CURL_ERROR_SIZE];
};

/* ---- What comes back ---- */

static size_t on_body(char *p, size_t size, size_t n, void *arg) {
    struct evrt_trace_sender *s = arg;
    if (s->answer.n + size * n > ANSWER_MAX) return 0;
    evrt_buf_put(&s->answer, p, size * n);
    return size * n;
}

/* Seconds, or a date. */
static void take_retry_after(struct evrt_trace_sender *s, const char *value) {
    char *end;
    long long seconds = strtoll(value, &end, 10);
    while (*end == ' ' || *end == '\r' || *end == '\n')
        end++;
    if (*end != '\0') {
        time_t then = s->curl.getdate(value, NULL);
        if (then == -1) return;
        seconds = (long long)then - (long long)time(NULL);
    }
    if (seconds < 0) seconds = 0;
    if (seconds > RETRY_AFTER_MAX_S) seconds = RETRY_AFTER_MAX_S;
    s->retry_after_ms = seconds * 1000;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg) {
    static const char name[] = "retry-after:";
    struct evrt_trace_sender *s = arg;
    size_t all = size * n, at = sizeof name - 1;
    char value[128];
    if (all > at && all - at < sizeof value && strncasecmp(p, name, at) == 0) {
        while (at < all && p[at] == ' ')
            at++;
        memcpy(value, p + at, all - at);
        value[all - at] = '\0';
        take_retry_after(s, value);
    }
    return all;
}

/* ---- The connection ---- */

static int on_socket(void *arg, curl_socket_t fd, curlsocktype purpose) {
    struct evrt_trace_sender *s = arg;
    (void)purpose;
    s->socket = fd;
    return CURL_SOCKOPT_OK;
}

static int on_close(void *arg, curl_socket_t fd) {
    struct evrt_trace_sender *s = arg;
    if (s->socket == fd) s->socket = CURL_SOCKET_BAD;
    return close(fd);
}

/* ---- Made once ---- */

static bool is_local(const char *url) {
    static const char *const hosts[] = {"localhost", "127.", "[::1]"};
    const char *host = strstr(url, "://");
    if (host == NULL) return false;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        if (strncmp(host + 3, hosts[i], strlen(hosts[i])) == 0) return true;
    return false;
}

static void make_headers(struct evrt_trace_sender *s) {
    const struct evrt_buf *own = &s->options->headers;
    const struct evrt_curl *c = &s->curl;
    s->headers = c->slist_append(NULL, "Content-Type: application/x-protobuf");
    if (s->zips) s->headers = c->slist_append(s->headers, "Content-Encoding: gzip");
    s->headers = c->slist_append(s->headers, "Expect:"); /* no round trip before the body */
    for (size_t at = 0; at < own->n; at += strlen(own->p + at) + 1)
        s->headers = c->slist_append(s->headers, own->p + at);
}

static void set_file(struct evrt_trace_sender *s, CURLoption option, const struct evrt_buf *path) {
    if (path->n != 0) s->curl.easy_setopt(s->easy, option, path->p);
}

static void set_up(struct evrt_trace_sender *s) {
    const struct evrt_curl *c = &s->curl;
    const struct evrt_trace_options *o = s->options;
    c->easy_setopt(s->easy, CURLOPT_URL, o->url.p);
    c->easy_setopt(s->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    c->easy_setopt(s->easy, CURLOPT_FOLLOWLOCATION, 0L);
    c->easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L);
    c->easy_setopt(s->easy, CURLOPT_POST, 1L);
    c->easy_setopt(s->easy, CURLOPT_TIMEOUT_MS, (long)o->timeout_ms);
    c->easy_setopt(s->easy, CURLOPT_USERAGENT, "OTel-OTLP-Exporter-evrt/" EVRT_VERSION);
    c->easy_setopt(s->easy, CURLOPT_HTTPHEADER, s->headers);
    c->easy_setopt(s->easy, CURLOPT_ERRORBUFFER, s->why);
    c->easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_body);
    c->easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
    c->easy_setopt(s->easy, CURLOPT_HEADERFUNCTION, on_header);
    c->easy_setopt(s->easy, CURLOPT_HEADERDATA, s);
    c->easy_setopt(s->easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)PIECE);
    c->easy_setopt(s->easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
    c->easy_setopt(s->easy, CURLOPT_SOCKOPTDATA, s);
    c->easy_setopt(s->easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    c->easy_setopt(s->easy, CURLOPT_CLOSESOCKETDATA, s);
    if (is_local(o->url.p)) c->easy_setopt(s->easy, CURLOPT_PROXY, "");
    set_file(s, CURLOPT_CAINFO, &o->ca);
    set_file(s, CURLOPT_SSLCERT, &o->certificate);
    set_file(s, CURLOPT_SSLKEY, &o->key);
}

int evrt_trace_sender_create(struct evrt_trace_sender **out,
                             const struct evrt_trace_options *options, struct evrt_error *err) {
    struct evrt_trace_sender *s = evrt_zalloc(sizeof *s);
    s->options = options;
    s->socket = CURL_SOCKET_BAD;
    s->zips = options->compression == EVRT_TRACE_GZIP ||
              (options->compression == EVRT_TRACE_AUTO && !is_local(options->url.p));
    int rc = evrt_curl_open(&s->curl, err);
    if (rc == 0) {
        s->multi = s->curl.multi_init();
        s->easy = s->curl.easy_init();
        if (s->multi == NULL || s->easy == NULL)
            rc = evrt_error_set(err, -ENOMEM, "libcurl does not start");
    }
    if (rc < 0) {
        evrt_trace_sender_destroy(s);
        return rc;
    }
    make_headers(s);
    set_up(s);
    *out = s;
    return 0;
}

void evrt_trace_sender_destroy(struct evrt_trace_sender *s) {
    if (s == NULL) return;
    if (s->easy != NULL) s->curl.easy_cleanup(s->easy);
    if (s->multi != NULL) s->curl.multi_cleanup(s->multi);
    if (s->headers != NULL) s->curl.slist_free_all(s->headers);
    evrt_buf_finish(&s->answer);
    free(s);
}

bool evrt_trace_sender_zips(const struct evrt_trace_sender *s) {
    return s->zips;
}

void evrt_trace_sender_wake(struct evrt_trace_sender *s) {
    s->curl.multi_wakeup(s->multi);
}

/* ---- One request ---- */

/* libcurl sends a large body apart from its head, which would wake the collector twice: what is kept from the last
 * request holds the head back until the body is there, too. */
static void hold_back(struct evrt_trace_sender *s, int on) {
    if (s->socket != CURL_SOCKET_BAD)
        (void)setsockopt(s->socket, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
}

static CURLMcode begin(struct evrt_trace_sender *s, int *running) {
    s->curl.multi_add_handle(s->multi, s->easy);
    hold_back(s, 1);
    CURLMcode rc = s->curl.multi_perform(s->multi, running);
    hold_back(s, 0);
    return rc;
}

/* The result, or CURLE_ABORTED_BY_CALLBACK when it was stopped. */
static CURLcode drive(struct evrt_trace_sender *s, bool (*stop)(void *arg), void *arg) {
    const struct evrt_curl *c = &s->curl;
    CURLcode rc = CURLE_ABORTED_BY_CALLBACK;
    int running = 1, left;
    CURLMcode ok = begin(s, &running);
    while (ok == CURLM_OK && running > 0 && !stop(arg)) {
        c->multi_poll(s->multi, NULL, 0, LOOK_MS, NULL);
        ok = c->multi_perform(s->multi, &running);
    }
    for (CURLMsg *m; (m = c->multi_info_read(s->multi, &left)) != NULL;)
        if (m->msg == CURLMSG_DONE) rc = m->data.result;
    c->multi_remove_handle(s->multi, s->easy);
    return rc;
}

static bool is_hopeless(CURLcode rc) {
    return rc == CURLE_URL_MALFORMAT || rc == CURLE_UNSUPPORTED_PROTOCOL ||
           rc == CURLE_SSL_CERTPROBLEM || rc == CURLE_SSL_CACERT_BADFILE;
}

static enum evrt_trace_verdict judge(struct evrt_trace_sender *s, CURLcode rc, long status,
                                     struct evrt_error *err) {
    if (status >= 200 && status < 300 && (rc == CURLE_OK || rc == CURLE_WRITE_ERROR))
        return EVRT_TRACE_SENT;
    if (rc != CURLE_OK && rc != CURLE_WRITE_ERROR) {
        evrt_error_set(err, -EIO, "%s", s->why[0] != '\0' ? s->why : s->curl.easy_strerror(rc));
        return is_hopeless(rc) ? EVRT_TRACE_REFUSED : EVRT_TRACE_AGAIN;
    }
    evrt_error_set(err, -EIO, "the collector answers %ld", status);
    bool again = status == 429 || status == 502 || status == 503 || status == 504;
    return again ? EVRT_TRACE_AGAIN : EVRT_TRACE_REFUSED;
}

struct evrt_trace_answer evrt_trace_send(struct evrt_trace_sender *s, struct evrt_slice body,
                                         bool (*stop)(void *arg), void *arg,
                                         struct evrt_error *err) {
    const struct evrt_curl *c = &s->curl;
    long status = 0;
    evrt_buf_clear(&s->answer);
    s->why[0] = '\0';
    s->retry_after_ms = -1;
    c->easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    c->easy_setopt(s->easy, CURLOPT_POSTFIELDS, body.p);
    CURLcode rc = drive(s, stop, arg);
    c->easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
    return (struct evrt_trace_answer){
        .verdict = judge(s, rc, status, err),
        .retry_after_ms = s->retry_after_ms,
        .body = evrt_buf_slice(&s->answer),
    };
}

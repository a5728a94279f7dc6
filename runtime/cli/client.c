/* See client.h. libcurl is opened by name when the first request is sent, so that nothing else of evrt
 * needs it. Only HTTP, no redirects, no proxy: a command speaks to the node named and to nobody else. */
#include "cli/client.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/cli.h"
#include "libcurl/libcurl.h"
#include "json/json.h"

#define ANSWER_MAX (64u << 20)
#define CONNECT_TIMEOUT_MS 5000L

void evrt_client_query(struct evrt_buf *out, struct evrt_slice text) {
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     (c != '\0' && strchr("-._~*:", c) != NULL);
        if (plain)
            evrt_buf_putc(out, (char)c);
        else
            evrt_buf_printf(out, "%%%02X", c);
    }
}

/* libcurl's callback: takes a piece of the answer's body. */
static size_t on_body(char *p, size_t size, size_t n, void *arg) {
    struct evrt_buf *out = arg;
    if (out->n + size * n > ANSWER_MAX) return 0;
    evrt_buf_put(out, p, size * n);
    return size * n;
}

static struct curl_slist *headers_of(const struct evrt_curl *c, const struct evrt_node *node,
                                     const struct evrt_request *r) {
    struct curl_slist *list = NULL;
    for (size_t at = 0; r->headers != NULL && at < r->headers->n;) {
        list = c->slist_append(list, r->headers->p + at);
        at += strlen(r->headers->p + at) + 1;
    }
    list = c->slist_append(list, "Expect:"); /* no round trip before the body */
    if (node->token != NULL) {
        struct evrt_buf line;
        evrt_buf_init(&line);
        evrt_buf_printf(&line, "Authorization: Bearer %s", node->token);
        list = c->slist_append(list, evrt_buf_cstr(&line));
        explicit_bzero(line.p, line.n);
        evrt_buf_finish(&line);
    }
    return list;
}

static void set_up(const struct evrt_curl *c, CURL *easy, const struct evrt_request *r,
                   const char *url, struct evrt_buf *out, char *why) {
    c->easy_setopt(easy, CURLOPT_URL, url);
    c->easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    c->easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    c->easy_setopt(easy, CURLOPT_PROXY, "");
    c->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    c->easy_setopt(easy, CURLOPT_USERAGENT, "evrt/" EVRT_VERSION);
    c->easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    c->easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    c->easy_setopt(easy, CURLOPT_ERRORBUFFER, why);
    c->easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    c->easy_setopt(easy, CURLOPT_WRITEDATA, out);
    if (!r->post) return;
    c->easy_setopt(easy, CURLOPT_POST, 1L);
    if (r->method != NULL) c->easy_setopt(easy, CURLOPT_CUSTOMREQUEST, r->method);
    c->easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.n);
    c->easy_setopt(easy, CURLOPT_POSTFIELDS, r->body.p != NULL ? r->body.p : "");
}

/* What the node says in {"error":{"code","message"}}, or the start of whatever it says. What it finds wrong with a
 * question, rather than with an event, is what the command line says. */
static int refused(long status, struct evrt_slice body, bool token) {
    struct evrt_json_info info;
    struct evrt_buf code, message;
    evrt_buf_init(&code);
    evrt_buf_init(&message);
    if (evrt_json_check(body, &info, NULL) == 0 && info.type == EVRT_JSON_OBJECT) {
        struct evrt_slice c = evrt_json_at(body, EVRT_STR("error.code"));
        struct evrt_slice m = evrt_json_at(body, EVRT_STR("error.message"));
        if (c.n > 0 && c.p[0] == '"') evrt_json_unquote(c, &code);
        if (m.n > 0 && m.p[0] == '"') evrt_json_unquote(m, &message);
    }
    if (message.n == 0) evrt_buf_put(&message, body.p, body.n > 200 ? 200 : body.n);
    const char *hint = status != 401 && status != 403 ? ""
                       : token ? "\nThe token of EVRT_TOKEN or token_file is not the node's."
                               : "\nSet EVRT_TOKEN, or token_file in the configuration.";
    bool usage = evrt_slice_eq(evrt_buf_slice(&code), EVRT_STR("bad_parameter")) ||
                 evrt_slice_eq(evrt_buf_slice(&code), EVRT_STR("bad_request"));
    int rc = evrt_cli_fail(usage ? EVRT_EXIT_USAGE : EVRT_EXIT_FAILED, "%.*s (%.*s%sHTTP %ld)%s",
                           (int)message.n, message.p, (int)code.n, code.n ? code.p : "",
                           code.n ? ", " : "", status, hint);
    evrt_buf_finish(&code);
    evrt_buf_finish(&message);
    return rc;
}

static int failed(const struct evrt_curl *c, CURLcode rc, const char *url, const char *why) {
    bool misused = rc == CURLE_URL_MALFORMAT || rc == CURLE_UNSUPPORTED_PROTOCOL;
    const char *reason = why[0] != '\0' ? why : c->easy_strerror(rc);
    if (misused) return evrt_cli_fail(EVRT_EXIT_USAGE, "%s: %s", url, reason);
    return evrt_cli_fail(EVRT_EXIT_UNREACHABLE, "no answer from %s: %s%s", url, reason,
                         rc == CURLE_COULDNT_CONNECT
                             ? "\nIs a node running there? --url or -c says which one is meant."
                             : "");
}

static int perform(const struct evrt_curl *c, CURL *easy, const struct evrt_node *node,
                   const struct evrt_request *r, struct evrt_buf *out) {
    char why[CURL_ERROR_SIZE] = "";
    long status = 0;
    struct evrt_buf url;
    evrt_buf_init(&url);
    evrt_buf_printf(&url, "%s%s", node->url, r->path);
    struct curl_slist *headers = headers_of(c, node, r);
    set_up(c, easy, r, evrt_buf_cstr(&url), out, why);
    c->easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    CURLcode rc = c->easy_perform(easy);
    c->easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    bool good = (status >= 200 && status < 300) || (status != 0 && status == r->refusal);
    int code = rc != CURLE_OK ? failed(c, rc, node->url, why)
               : good         ? EVRT_EXIT_OK
                              : refused(status, evrt_buf_slice(out), node->token);
    if (r->status != NULL) *r->status = status;
    c->slist_free_all(headers);
    evrt_buf_finish(&url);
    return code;
}

static bool begin(struct evrt_curl *c, CURL **easy) {
    *easy = NULL;
    struct evrt_error err;
    if (evrt_curl_open(c, &err) < 0) {
        evrt_cli_fail(EVRT_EXIT_FAILED, "%s", err.message);
        return false;
    }
    *easy = c->easy_init();
    if (*easy == NULL) evrt_cli_fail(EVRT_EXIT_FAILED, "libcurl does not start");
    return *easy != NULL;
}

int evrt_client_send(const struct evrt_node *node, const struct evrt_request *request,
                     struct evrt_buf *out) {
    struct evrt_curl c;
    CURL *easy;
    if (!begin(&c, &easy)) return EVRT_EXIT_FAILED;
    int code = perform(&c, easy, node, request, out);
    c.easy_cleanup(easy);
    return code; /* the library stays open: it must not be unloaded once used */
}

/* ---- Answers that go on ---- */

struct stream {
    const struct evrt_curl *curl;
    CURL *easy;
    int (*line)(void *arg, struct evrt_slice line);
    void *arg;
    bool stopped;         /* by `line` */
    struct evrt_buf body; /* of a refusal; else what is not a whole line yet */
};

static long status_of(const struct stream *s) {
    long status = 0;
    s->curl->easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static size_t on_piece(char *p, size_t size, size_t n, void *arg) {
    struct stream *s = arg;
    long status = status_of(s);
    if (s->body.n + size * n > ANSWER_MAX) return 0;
    evrt_buf_put(&s->body, p, size * n);
    if (status < 200 || status >= 300) return size * n;
    size_t at = 0;
    for (const char *end; !s->stopped && at < s->body.n &&
                          (end = memchr(s->body.p + at, '\n', s->body.n - at)) != NULL;) {
        struct evrt_slice line = {s->body.p + at, (size_t)(end - (s->body.p + at))};
        s->stopped = s->line(s->arg, line) < 0;
        at += line.n + 1;
    }
    evrt_buf_consume(&s->body, at);
    return s->stopped ? 0 : size * n;
}

/* A descriptor that shows Ctrl-C and SIGTERM, which end nothing by themselves from here on. */
static int watch_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Until the answer ends or a signal comes. */
static CURLcode drive(struct stream *s, CURLM *multi, bool *interrupted) {
    const struct evrt_curl *c = s->curl;
    struct curl_waitfd signals = {.fd = watch_signals(), .events = CURL_WAIT_POLLIN};
    CURLcode rc = CURLE_OK;
    int running = 1;
    c->multi_add_handle(multi, s->easy);
    while (c->multi_perform(multi, &running) == CURLM_OK && running > 0 && !*interrupted) {
        c->multi_poll(multi, &signals, signals.fd >= 0, 1000, NULL);
        *interrupted = signals.revents != 0;
    }
    int left;
    for (CURLMsg *m; (m = c->multi_info_read(multi, &left)) != NULL;)
        if (m->msg == CURLMSG_DONE) rc = m->data.result;
    c->multi_remove_handle(multi, s->easy);
    if (signals.fd >= 0) close(signals.fd);
    return rc;
}

int evrt_client_stream(const struct evrt_node *node, const struct evrt_request *request,
                       int (*line)(void *arg, struct evrt_slice line), void *arg,
                       bool *interrupted) {
    struct evrt_curl c;
    struct stream s = {.curl = &c, .line = line, .arg = arg};
    char why[CURL_ERROR_SIZE] = "";
    struct evrt_buf url;
    *interrupted = false;
    if (!begin(&c, &s.easy)) return EVRT_EXIT_FAILED;
    evrt_buf_init(&url);
    evrt_buf_printf(&url, "%s%s", node->url, request->path);
    struct curl_slist *headers = headers_of(&c, node, request);
    set_up(&c, s.easy, request, evrt_buf_cstr(&url), &s.body, why);
    c.easy_setopt(s.easy, CURLOPT_HTTPHEADER, headers);
    c.easy_setopt(s.easy, CURLOPT_WRITEFUNCTION, on_piece);
    c.easy_setopt(s.easy, CURLOPT_WRITEDATA, &s);
    CURLM *multi = c.multi_init();
    CURLcode rc = multi == NULL ? CURLE_OUT_OF_MEMORY : drive(&s, multi, interrupted);
    long status = status_of(&s);
    int code = *interrupted || s.stopped ? EVRT_EXIT_OK
               : rc != CURLE_OK          ? failed(&c, rc, node->url, why)
               : status < 200 || status >= 300
                   ? refused(status, evrt_buf_slice(&s.body), node->token)
                   : EVRT_EXIT_OK;
    if (multi != NULL) c.multi_cleanup(multi);
    c.easy_cleanup(s.easy);
    c.slist_free_all(headers);
    evrt_buf_finish(&s.body);
    evrt_buf_finish(&url);
    return code;
}

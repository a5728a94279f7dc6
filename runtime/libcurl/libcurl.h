/* libcurl, opened by name when it is first needed, so that a process that never sends anything neither maps it
 * nor needs it to be there. The table below is every function that evrt calls.
 *
 *     struct evrt_curl c;
 *     if (evrt_curl_open(&c, &err) < 0) ...
 *     CURL *easy = c.easy_init();
 *
 * Any thread; the struct is the caller's, and its functions are libcurl's own. Never closed: what libcurl and
 * its TLS library leave behind must not be unmapped. */
#ifndef EVRT_LIBCURL_LIBCURL_H
#define EVRT_LIBCURL_LIBCURL_H

#include <curl/curl.h>

#include "evrt.h"

/* name, result, parameters. */
#define EVRT_CURL_FUNCTIONS(X)                                                      \
    X(easy_init, CURL *, (void))                                                    \
    X(easy_setopt, CURLcode, (CURL *, CURLoption, ...))                             \
    X(easy_perform, CURLcode, (CURL *))                                             \
    X(easy_getinfo, CURLcode, (CURL *, CURLINFO, ...))                              \
    X(easy_cleanup, void, (CURL *))                                                 \
    X(easy_strerror, const char *, (CURLcode))                                      \
    X(multi_init, CURLM *, (void))                                                  \
    X(multi_add_handle, CURLMcode, (CURLM *, CURL *))                               \
    X(multi_perform, CURLMcode, (CURLM *, int *))                                   \
    X(multi_poll, CURLMcode, (CURLM *, struct curl_waitfd *, unsigned, int, int *)) \
    X(multi_wakeup, CURLMcode, (CURLM *))                                           \
    X(multi_info_read, CURLMsg *, (CURLM *, int *))                                 \
    X(multi_remove_handle, CURLMcode, (CURLM *, CURL *))                            \
    X(multi_cleanup, CURLMcode, (CURLM *))                                          \
    X(getdate, time_t, (const char *, const time_t *))                              \
    X(slist_append, struct curl_slist *, (struct curl_slist *, const char *))       \
    X(slist_free_all, void, (struct curl_slist *))

struct evrt_curl {
    void *library;
#define X(name, result, parameters) result(*name) parameters;
    EVRT_CURL_FUNCTIONS(X)
#undef X
};

/* -ENOENT with what to install. */
EVRT_MUST_CHECK int evrt_curl_open(struct evrt_curl *c, struct evrt_error *err);

#endif

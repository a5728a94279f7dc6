/* Fuzz target: bytes as a JSON document, against yajl. Whatever the scanner accepts yajl must accept;
 * what yajl accepts may be refused only for the reasons that yajl does not know. Members of an accepted
 * object must be found again, and doubles must survive being written. */
#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <yajl/yajl_parse.h>

#include "core/utf8.h"
#include "json/json.h"
#include "json/number.h"
#include "json/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool yajl_accepts(const uint8_t *data, size_t size) {
    static const yajl_callbacks none;
    yajl_handle h = yajl_alloc(&none, NULL, NULL);
    bool ok =
        yajl_parse(h, data, size) == yajl_status_ok && yajl_complete_parse(h) == yajl_status_ok;
    yajl_free(h);
    return ok;
}

static bool only_stricter(const char *message) {
    static const char
        *const
            reasons[] =
                {
                    "nested too deep",     "lone surrogate",  "bytes that are not UTF-8",
                    "number out of",       "byte-order mark", "name ",
                    "expected the end of", /* yajl forgives a token cut short behind the document */
                };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (strncmp(message, reasons[i], strlen(reasons[i])) == 0) return true;
    /* yajl takes form feed and vertical tab for white space */
    return strstr(message, "found byte 0x0c") != NULL || strstr(message, "found byte 0x0b") != NULL;
}

static int look_up(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct evrt_slice text = *(struct evrt_slice *)arg;
    struct evrt_json_info info;
    (void)err;
    assert(m->value.p >= text.p && m->value.p + m->value.n <= text.p + text.n);
    assert(evrt_json_check(m->value, &info, NULL) == 0 && info.type == m->info.type);
    assert(evrt_json_skip(m->value.p, text.p + text.n) == m->value.p + m->value.n);
    if (m->key.p != NULL && memchr(m->key.p, '.', m->key.n) == NULL)
        assert(evrt_json_at(text, m->key).p == m->value.p);
    if (info.type == EVRT_JSON_STRING) {
        struct evrt_buf out;
        evrt_buf_init(&out);
        evrt_json_unquote(m->value, &out);
        assert(evrt_utf8_check(out.p, out.n) == out.n);
        evrt_buf_finish(&out);
    }
    return 0;
}

static void write_double(const uint8_t *data) {
    double v;
    char text[EVRT_JSON_NUMBER_SIZE];
    struct evrt_json_number back;
    memcpy(&v, data, sizeof v);
    if (!isfinite(v)) return;
    struct evrt_slice s = {text, evrt_json_number_write(text, v)};
    assert(s.n <= sizeof text && evrt_json_check(s, NULL, NULL) == 0);
    evrt_json_number_read(s, &back);
    assert(back.kind == EVRT_JSON_DOUBLE && memcmp(&back.d, &v, sizeof v) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct evrt_slice text = {(const char *)data, size};
    struct evrt_error err = {0};
    int code = evrt_json_check(text, NULL, &err);
    if (code == 0) assert(evrt_json_members(text, look_up, &text, NULL, NULL) == 0);
    (void)evrt_json_at(text, EVRT_STR("a.b")); /* reads nothing outside, whatever the text */
    bool yajl = yajl_accepts(data, size);
    assert(code != 0 || yajl);
    assert(code == 0 || !yajl || only_stricter(err.message));
    if (size >= sizeof(double)) write_double(data);
    return 0;
}

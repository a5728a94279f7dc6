/* The reference file, written from the table. See config.h. */
#include <stdio.h>

#include "config/config.h"
#include "config/options.h"
#include "core/wrap.h"

#define WIDTH 100

static void put_comment(struct evrt_buf *out, size_t indent, const char *text) {
    char prefix[16];
    snprintf(prefix, sizeof prefix, "%*s# ", (int)indent, "");
    evrt_wrap(out, prefix, WIDTH, text);
}

static void put_option(struct evrt_buf *out, const struct evrt_option *o, size_t indent) {
    const char *leaf = strrchr(o->key, '.') != NULL ? strrchr(o->key, '.') + 1 : o->key;
    bool quote = o->def[0] == '\0' || strchr(o->def, ':') != NULL;
    struct evrt_buf comment;
    evrt_buf_init(&comment);
    evrt_buf_printf(&comment, "%s (", o->help);
    evrt_option_expects(o, &comment);
    evrt_buf_putc(&comment, ')');
    put_comment(out, indent, evrt_buf_cstr(&comment));
    evrt_buf_finish(&comment);
    evrt_buf_printf(out, "%*s%s: %s%s%s\n", (int)indent, "", leaf, quote ? "\"" : "", o->def,
                    quote ? "\"" : "");
}

/* Bytes of the sections, with their last dot, that the two keys share. */
static size_t shared(const char *a, const char *b) {
    size_t dot = 0;
    for (size_t i = 0; a[i] != '\0' && a[i] == b[i]; i++)
        if (a[i] == '.') dot = i + 1;
    return dot;
}

void evrt_config_reference(struct evrt_buf *out) {
    const char *last = "";
    put_comment(out, 0,
                "evrt's configuration: every key with its default; leave out what you do not "
                "change. Relative paths are relative to this file. Any key can be set for one run "
                "by --set key.sub=value, or by EVRT_SET_KEY__SUB=value in the environment.");
    for (size_t i = 0; i < EVRT_OPTION_COUNT; i++) {
        const struct evrt_option *o = &evrt_options[i];
        size_t at = shared(last, o->key), indent = 0;
        for (size_t k = 0; k < at; k++)
            indent += o->key[k] == '.' ? 2 : 0;
        for (const char *dot; (dot = strchr(o->key + at, '.')) != NULL; indent += 2) {
            evrt_buf_printf(out, "%s%*s%.*s:\n", indent == 0 ? "\n" : "", (int)indent, "",
                            (int)(dot - (o->key + at)), o->key + at);
            at = (size_t)(dot + 1 - o->key);
        }
        if (indent == 0) evrt_buf_putc(out, '\n');
        put_option(out, o, indent);
        last = o->key;
    }
}

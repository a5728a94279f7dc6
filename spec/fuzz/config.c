/* Fuzz target: bytes as a configuration file; the same bytes, up to the first newline, as an override.
 * Whatever is accepted must be within the table's bounds; whatever is refused must say why on one line. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "config/config.h"
#include "config/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void each(void *arg, const struct evrt_error *err) {
    assert(err->code < 0 && err->message[0] != '\0');
    assert(strpbrk(err->message, "\n\r\033") == NULL);
    ++*(unsigned *)arg;
}

static void check(const struct evrt_config *c) {
    for (size_t i = 0; i < EVRT_OPTION_COUNT; i++) {
        const struct evrt_option *o = &evrt_options[i];
        const void *at = (const char *)c + o->offset;
        uint64_t v = 0;
        if (o->type == EVRT_OPTION_PATHS)
            assert(((const struct evrt_strings *)at)->n > 0);
        else if (o->type == EVRT_OPTION_BOOL || o->type == EVRT_OPTION_APPLIES)
            continue;
        else if (o->type != EVRT_OPTION_NUMBER && o->type != EVRT_OPTION_SIZE &&
                 o->type != EVRT_OPTION_DURATION)
            assert(*(char *const *)at != NULL);
        else if ((v = *(const uint64_t *)at) != 0 || o->choices == NULL)
            assert(v >= o->min && v <= o->max);
    }
}

static void load(const struct evrt_config_source *source, unsigned *errors) {
    struct evrt_config c;
    struct evrt_error err;
    if (evrt_config_load_from(&c, source, &err) == 0) {
        assert(*errors == 0);
        check(&c);
        evrt_config_finish(&c);
    } else {
        assert(*errors > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    unsigned errors = 0;
    const char *text = (const char *)data;
    struct evrt_config_source file = {
        .file = "fuzz.yaml",
        .text = {text != NULL ? text : "", size},
        .trust_files = true,
        .each = each,
        .arg = &errors,
    };
    load(&file, &errors);
    size_t line = 0;
    while (line < size && text[line] != '\n')
        line++;
    char *override = evrt_strndup(text != NULL ? text : "", line);
    const char *overrides[] = {override, NULL};
    struct evrt_config_source set = {
        .overrides = overrides, .trust_files = true, .each = each, .arg = &errors};
    errors = 0;
    load(&set, &errors);
    free(override);
    return 0;
}

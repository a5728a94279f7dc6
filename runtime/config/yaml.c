/* The configuration file's YAML, event by event, straight into the options; nothing is kept of it.
 * The only user of yaml.h. See load.h.
 *
 * Less than YAML is accepted: one document, a mapping of text keys, no anchors, aliases or tags. What is
 * left cannot grow when it is read, and means what it looks like. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <yaml.h>

#include "config/load.h"
#include "core/pattern.h"

#define SECTIONS_MAX 32 /* sections are known by the table, so more cannot be opened */

#define DEPTH_MAX 16 /* of what is skipped because no option takes it */

struct yaml {
    struct evrt_load *l;
    struct evrt_slice text;
    const struct evrt_place *at; /* the override that the text is of; NULL: it is the file */
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
    bool over;          /* nothing more can be read: told already */
    size_t sections;
    struct {
        char path[EVRT_OPTION_KEY_MAX];
        int line;
    } section[SECTIONS_MAX]; /* those seen, to refuse a second one */
};

static struct evrt_place place(const struct yaml *y, size_t line) {
    return y->at != NULL ? *y->at : (struct evrt_place){.line = (int)line};
}

static struct evrt_place here(const struct yaml *y) {
    return place(y, y->event.start_mark.line + 1);
}

static struct evrt_slice scalar(const struct yaml *y) {
    return (struct evrt_slice){(const char *)y->event.data.scalar.value,
                               y->event.data.scalar.length};
}

/* ---- Syntax errors ---- */

static size_t line_of(struct evrt_slice text, size_t offset) {
    size_t line = 1;
    for (size_t i = 0; i < offset && i < text.n; i++)
        line += text.p[i] == '\n';
    return line;
}

/* Whether the 0-based line is indented with a tab: libyaml's own words do not say so. */
static bool has_tab(struct evrt_slice text, size_t line) {
    const char *p = text.p, *end = text.p + text.n;
    while (line > 0 && p < end)
        line -= *p++ == '\n';
    while (p < end && *p == ' ')
        p++;
    return p < end && *p == '\t';
}

static void fail_syntax(struct yaml *y) {
    const yaml_parser_t *p = &y->parser;
    struct evrt_place at = place(y, p->problem_mark.line + 1);
    const char *problem = p->problem != NULL ? p->problem : "cannot be read";
    if (p->error == YAML_READER_ERROR) {
        at = place(y, line_of(y->text, p->problem_offset));
        evrt_load_fail(y->l, &at, "not YAML: %s", problem);
    } else if (has_tab(y->text, p->problem_mark.line)) {
        evrt_load_fail(y->l, &at, "not YAML: a tab in the indentation; use spaces");
    } else {
        evrt_load_fail(y->l, &at, "not YAML: %s%s%s at column %zu",
                       p->context != NULL ? p->context : "", p->context != NULL ? ", " : "",
                       problem, p->problem_mark.column + 1);
    }
}

static const char *extra(const yaml_event_t *e) {
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (e->type) {
    case YAML_ALIAS_EVENT: return "an alias (*name)";
    case YAML_SCALAR_EVENT: anchor = e->data.scalar.anchor, tag = e->data.scalar.tag; break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = e->data.sequence_start.anchor, tag = e->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = e->data.mapping_start.anchor, tag = e->data.mapping_start.tag;
        break;
    default: break;
    }
    return anchor != NULL ? "an anchor (&name)" : tag != NULL ? "a tag (!name)" : NULL;
}

/* Steps to the next event. false: the end of reading, told. */
static bool next(struct yaml *y) {
    if (y->over) return false;
    yaml_event_delete(&y->event);
    y->event = (yaml_event_t){0};
    if (!yaml_parser_parse(&y->parser, &y->event)) {
        fail_syntax(y);
        y->over = true;
        return false;
    }
    const char *what = extra(&y->event);
    if (what != NULL) {
        struct evrt_place at = here(y);
        evrt_load_fail(y->l, &at, "%s is not used in a configuration: write the value itself",
                       what);
        y->over = true;
    }
    return !y->over;
}

/* Steps over the rest of the node that the current event begins. */
static bool skip(struct yaml *y) {
    size_t depth = 0;
    while (true) {
        yaml_event_type_t t = y->event.type;
        if (t == YAML_MAPPING_START_EVENT || t == YAML_SEQUENCE_START_EVENT) depth++;
        if (t == YAML_MAPPING_END_EVENT || t == YAML_SEQUENCE_END_EVENT) depth--;
        if (depth == 0) return true;
        if (depth > DEPTH_MAX) {
            struct evrt_place at = here(y);
            evrt_load_fail(y->l, &at, "nested too deep");
            y->over = true;
        }
        if (!next(y)) return false;
    }
}

/* ---- Values ---- */

static bool is_word(struct evrt_slice s, const char *const *words) {
    for (; *words != NULL; words++)
        if (strlen(*words) == s.n && strncasecmp(*words, s.p, s.n) == 0) return true;
    return false;
}

static bool is_plain(const struct yaml *y) {
    return y->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_null(const struct yaml *y) {
    static const char *const words[] = {"", "~", "null", NULL};
    return is_plain(y) && is_word(scalar(y), words);
}

/* What the scalar is to YAML and may not be for this option; NULL when it may. */
static const char *wrong_kind(const struct yaml *y, const struct evrt_option *o) {
    static const char *const bools[] = {"true", "false", "yes", "no", "on", "off", NULL};
    if (is_null(y)) return "nothing";
    if (is_plain(y)) {
        bool is_bool = o->type == EVRT_OPTION_STRING && is_word(scalar(y), bools);
        return is_bool ? "true or false (put it in quotes to mean the word)" : NULL;
    }
    bool bare = o->type == EVRT_OPTION_BOOL || o->type == EVRT_OPTION_NUMBER;
    return bare ? "a text (leave the quotes out)" : NULL;
}

static const char *node_name(const struct yaml *y) {
    switch (y->event.type) {
    case YAML_MAPPING_START_EVENT: return "a section";
    case YAML_SEQUENCE_START_EVENT: return "a list";
    default: return is_null(y) ? "nothing" : "a value";
    }
}

/* The entries of a list, after its start. */
static bool entries(struct yaml *y, const struct evrt_option *o, const struct evrt_place *at) {
    size_t count = 0;
    evrt_value_finish(y->l->c, o);
    while (next(y) && y->event.type != YAML_SEQUENCE_END_EVENT) {
        struct evrt_place entry_at = here(y);
        bool ok = y->event.type == YAML_SCALAR_EVENT && !is_null(y);
        if (ok)
            evrt_value_add(y->l, o, scalar(y), &entry_at);
        else
            evrt_value_refuse(y->l, o, &entry_at, node_name(y));
        if (!skip(y)) return false;
        count++;
    }
    if (!y->over && count == 0) evrt_value_refuse(y->l, o, at, "an empty list");
    return !y->over;
}

/* ---- apply: [{events: PATTERNS, policies: NAMES}] ---- */

/* A text or a list of texts; the current event begins it. `what` names them to a person. */
static bool texts(struct yaml *y, const struct evrt_option *o, struct evrt_strings *list,
                  const char *what) {
    bool many = y->event.type == YAML_SEQUENCE_START_EVENT;
    while (!many || (next(y) && y->event.type != YAML_SEQUENCE_END_EVENT)) {
        struct evrt_place at = here(y);
        bool text = y->event.type == YAML_SCALAR_EVENT && !is_null(y);
        if (text && memchr(scalar(y).p, '\0', scalar(y).n) == NULL)
            evrt_strings_add(list, scalar(y));
        else
            evrt_load_fail(y->l, &at, "%s: %s: expected a text or a list of texts; got %s", o->key,
                           what, text ? "a NUL in it" : node_name(y));
        if (!skip(y)) return false;
        if (!many) break;
    }
    return !y->over;
}

static void check_apply(struct yaml *y, const struct evrt_option *o, const struct evrt_apply *a,
                        const struct evrt_place *at) {
    char quoted[EVRT_LOAD_QUOTE];
    if (a->events.n == 0 || a->policies.n == 0)
        evrt_load_fail(y->l, at, "%s: an entry needs events and policies; %s", o->key,
                       a->events.n == 0 ? "events is missing or empty"
                                        : "policies is missing or empty");
    for (size_t i = 0; i < a->events.n; i++) {
        struct evrt_slice pattern = evrt_slice_of(a->events.v[i]);
        if (pattern.n == 0 || evrt_pattern_check(pattern) != pattern.n)
            evrt_load_fail(y->l, at,
                           "%s: %s is no pattern of event types: segments between single dots, "
                           "* for one segment, ** for any number",
                           o->key, evrt_load_quote(pattern, quoted));
    }
}

/* One entry: its mapping, whose start is the current event. */
static bool apply_entry(struct yaml *y, const struct evrt_option *o, struct evrt_apply *a) {
    struct evrt_place at = here(y);
    unsigned before = y->l->errors;
    *a = (struct evrt_apply){.line = at.line};
    while (next(y) && y->event.type != YAML_MAPPING_END_EVENT) {
        struct evrt_place key_at = here(y);
        struct evrt_slice key = {NULL, 0};
        char quoted[EVRT_LOAD_QUOTE];
        if (y->event.type == YAML_SCALAR_EVENT) key = scalar(y);
        bool events = evrt_slice_eq(key, EVRT_STR("events"));
        struct evrt_strings *list = events ? &a->events : &a->policies;
        if (!events && !evrt_slice_eq(key, EVRT_STR("policies"))) {
            evrt_load_fail(y->l, &key_at, "%s: unknown key %s; an entry has events and policies",
                           o->key, evrt_load_quote(key, quoted));
            y->over = y->over || y->event.type != YAML_SCALAR_EVENT;
            if (!next(y) || !skip(y)) return false;
            continue;
        }
        if (list->n > 0)
            evrt_load_fail(y->l, &key_at, "%s: %s is given twice", o->key,
                           events ? "events" : "policies");
        if (!next(y) || !texts(y, o, list, events ? "events" : "policies")) return false;
    }
    if (!y->over && y->l->errors == before) check_apply(y, o, a, &at);
    return !y->over;
}

static bool applies(struct yaml *y, const struct evrt_option *o) {
    struct evrt_applies *list = &y->l->c->apply;
    evrt_value_finish(y->l->c, o);
    while (next(y) && y->event.type != YAML_SEQUENCE_END_EVENT) {
        struct evrt_place at = here(y);
        if (y->event.type != YAML_MAPPING_START_EVENT) {
            evrt_value_refuse(y->l, o, &at, node_name(y));
            if (!skip(y)) return false;
            continue;
        }
        list->v = evrt_realloc(list->v, (list->n + 1) * sizeof *list->v);
        if (!apply_entry(y, o, &list->v[list->n++])) return false;
        if (list->n <= o->max) continue;
        evrt_load_fail(y->l, &at, "%s: more than %llu entries", o->key, (unsigned long long)o->max);
        y->over = true;
    }
    return !y->over;
}

/* The value of an option: the current event begins it. */
static bool value(struct yaml *y, const struct evrt_option *o) {
    struct evrt_place at = here(y);
    if (y->event.type == YAML_SCALAR_EVENT) {
        const char *wrong = wrong_kind(y, o);
        if (wrong != NULL)
            evrt_value_refuse(y->l, o, &at, wrong);
        else
            evrt_value_set(y->l, o, scalar(y), &at);
        return true;
    }
    if (y->event.type == YAML_SEQUENCE_START_EVENT && o->type == EVRT_OPTION_PATHS)
        return entries(y, o, &at);
    if (y->event.type == YAML_SEQUENCE_START_EVENT && o->type == EVRT_OPTION_APPLIES)
        return applies(y, o);
    evrt_value_refuse(y->l, o, &at, node_name(y));
    return skip(y);
}

/* ---- Sections ---- */

static bool mapping(struct yaml *y, const char *path);

/* A section's value: its mapping, or nothing at all (every key commented out). */
static bool section(struct yaml *y, const char *path, const struct evrt_place *at) {
    for (size_t i = 0; i < y->sections; i++)
        if (strcmp(y->section[i].path, path) == 0) {
            evrt_load_fail(y->l, at, "section %s is given twice, first on line %d: join them", path,
                           y->section[i].line);
            return skip(y);
        }
    if (y->sections < SECTIONS_MAX) {
        snprintf(y->section[y->sections].path, sizeof y->section[0].path, "%s", path);
        y->section[y->sections++].line = at->line;
    }
    if (y->event.type == YAML_MAPPING_START_EVENT) return mapping(y, path);
    if (y->event.type == YAML_SCALAR_EVENT && is_null(y)) return true;
    evrt_load_fail(y->l, at, "%s is a section: expected its keys, indented below it; got %s", path,
                   node_name(y));
    return skip(y);
}

/* One key and its value; `key` is the path from the root. */
static bool entry(struct yaml *y, struct evrt_slice key, bool dotted, struct evrt_place at) {
    const struct evrt_option *o = dotted ? NULL : evrt_option_find(key);
    bool known = o != NULL || (!dotted && evrt_option_is_section(key));
    char path[EVRT_OPTION_KEY_MAX], quoted[EVRT_LOAD_QUOTE];
    snprintf(path, sizeof path, "%.*s", (int)key.n, key.p);
    if (dotted && evrt_option_find(key) != NULL)
        evrt_load_fail(y->l, &at, "%s: a key has no dot; write each section on its own line",
                       evrt_load_quote(key, quoted));
    else if (!known)
        evrt_load_unknown(y->l, &at, key);
    if (!next(y)) return false;
    if (!known) return skip(y);
    if (o == NULL) return section(y, path, &at);
    struct evrt_place *from = &y->l->from[o - evrt_options];
    if (from->line > 0) {
        evrt_load_fail(y->l, &at, "%s is given twice, first on line %d", path, from->line);
        return skip(y);
    }
    *from = at;
    return value(y, o);
}

/* The keys of the section at `path`, after its start. */
static bool mapping(struct yaml *y, const char *path) {
    struct evrt_buf key;
    evrt_buf_init(&key);
    while (next(y) && y->event.type != YAML_MAPPING_END_EVENT) {
        struct evrt_place at = here(y);
        if (y->event.type != YAML_SCALAR_EVENT) {
            evrt_load_fail(y->l, &at, "expected a key, got %s", node_name(y));
            y->over = true;
            break;
        }
        struct evrt_slice name = scalar(y);
        evrt_buf_clear(&key);
        if (*path != '\0') evrt_buf_printf(&key, "%s.", path);
        evrt_buf_put(&key, name.p, name.n);
        bool dotted = name.n == 0 || memchr(name.p, '.', name.n) != NULL;
        if (!entry(y, evrt_buf_slice(&key), dotted, at)) break;
    }
    evrt_buf_finish(&key);
    return !y->over;
}

/* ---- Documents ---- */

static void document(struct yaml *y) {
    if (!next(y) || !next(y)) return; /* stream start, document start */
    struct evrt_place at = here(y);
    if (y->event.type == YAML_STREAM_END_EVENT) {
        evrt_load_fail(y->l, &at, "the file is empty: write {} to run on the defaults");
        return;
    }
    if (!next(y)) return;
    at = here(y);
    if (y->event.type != YAML_MAPPING_START_EVENT) {
        evrt_load_fail(y->l, &at, "expected sections such as http: and store:; got %s",
                       node_name(y));
        return;
    }
    if (!mapping(y, "") || !next(y) || !next(y)) return; /* document end, stream end */
    at = here(y);
    if (y->event.type != YAML_STREAM_END_EVENT)
        evrt_load_fail(y->l, &at, "a second document begins; one file holds one configuration");
}

static void start(struct yaml *y, struct evrt_load *l, struct evrt_slice text,
                  const struct evrt_place *at) {
    *y = (struct yaml){.l = l, .text = text, .at = at};
    if (!yaml_parser_initialize(&y->parser)) abort(); /* it can only run out of memory */
    yaml_parser_set_encoding(&y->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&y->parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
}

static void finish(struct yaml *y) {
    yaml_event_delete(&y->event);
    yaml_parser_delete(&y->parser);
}

void evrt_yaml_file(struct evrt_load *l, struct evrt_slice text) {
    struct yaml y;
    start(&y, l, text, NULL);
    document(&y);
    finish(&y);
}

void evrt_yaml_list(struct evrt_load *l, const struct evrt_option *o, struct evrt_slice text,
                    const struct evrt_place *at) {
    struct yaml y;
    start(&y, l, text, at);
    bool list = next(&y) && next(&y) && next(&y) && y.event.type == YAML_SEQUENCE_START_EVENT;
    if (!list && !y.over) evrt_value_refuse(l, o, at, node_name(&y));
    bool read = list && (o->type == EVRT_OPTION_APPLIES ? applies(&y, o) : entries(&y, o, at));
    if (read && next(&y) && next(&y) && y.event.type != YAML_STREAM_END_EVENT)
        evrt_value_refuse(l, o, at, "more than one list");
    finish(&y);
}

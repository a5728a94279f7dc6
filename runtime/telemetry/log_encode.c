/* See log_encode.h. Room is made once per field, then bytes are stored through a plain pointer: a call per
 * byte or a printf would cost more than all the rest.
 *
 * No key comes twice: the text of every key as written is compared with those before it, which also finds
 * equal keys that a script spelled with different escapes, because foreign keys are written anew. */
#include "telemetry/log_encode.h"

#include <errno.h>
#include <stdio.h>

#include "core/jsonout.h"
#include "core/jsonplain.h"
#include "telemetry/log_json.h"

/* Where a key stands in the line. */
struct key_place {
    uint32_t at, n;
};

void evrt_log_encoder_init(struct evrt_log_encoder *e, const struct evrt_log_options *options,
                           bool colour) {
    *e = (struct evrt_log_encoder){.console = options->console,
                                   .colour = colour,
                                   .caller = options->caller,
                                   .stacktrace = options->stacktrace,
                                   .second = INT64_MIN};
    evrt_buf_init(&e->line);
    evrt_buf_init(&e->keys);
    evrt_buf_init(&e->scratch);
}

void evrt_log_encoder_finish(struct evrt_log_encoder *e) {
    evrt_buf_finish(&e->line);
    evrt_buf_finish(&e->keys);
    evrt_buf_finish(&e->scratch);
}

/* evrt_buf_room without the call when there is room, as there nearly always is. */
static inline char *room(struct evrt_buf *b, size_t n) {
    return b->cap - b->n >= n ? b->p + b->n : evrt_buf_room(b, n);
}

static inline char *store(char *to, const char *p, size_t n) {
    memcpy(to, p, n);
    return to + n;
}

/* The same where most have no more than sixteen bytes: two words that may overlap, without a call. */
static inline char *store_short(char *to, const char *p, size_t n) {
    if (n >= 8 && n <= 16) {
        uint64_t first = evrt_get_u64(p), last = evrt_get_u64(p + n - 8);
        evrt_set_u64(to, first);
        evrt_set_u64(to + n - 8, last);
    } else if (n >= 4 && n < 8) {
        uint32_t first = evrt_get_u32(p), last = evrt_get_u32(p + n - 4);
        evrt_set_u32(to, first);
        evrt_set_u32(to + n - 4, last);
    } else {
        memcpy(to, p, n);
    }
    return to + n;
}

static inline char *store_number(char *to, uint64_t v) {
    char digits[20], *p = digits + sizeof digits;
    do {
        *--p = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    return store_short(to, p, (size_t)(digits + sizeof digits - p));
}

#define STORE(to, literal) store((to), (literal), sizeof(literal) - 1)

static bool bare(struct evrt_slice s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == ' ' || s.p[i] == '=' || !evrt_json_plain_byte(s.p[i])) return false;
    return s.n > 0;
}

/* A string value: quoted, on the console bare when it can be told from what stands beside it. */
static void put_str(struct evrt_log_encoder *e, struct evrt_slice s) {
    if (s.n == 0) {
        evrt_buf_put(&e->line, "\"\"", 2);
        return;
    }
    bool plain = s.n <= EVRT_LOG_VALUE_MAX && evrt_json_is_plain(s.p, s.n);
    if (!plain) {
        evrt_log_json_quote(&e->line, s, EVRT_LOG_VALUE_MAX);
        return;
    }
    if (e->console && bare(s)) {
        evrt_buf_put(&e->line, s.p, s.n);
        return;
    }
    char *to = room(&e->line, s.n + 2);
    *to++ = '"';
    to = store(to, s.p, s.n);
    *to++ = '"';
    e->line.n += s.n + 2;
}

/* "0.023s": seconds with three to six decimals. */
enum { DURATION_MAX = 32 };
static char *store_duration(char *to, int64_t ns) {
    uint64_t us = (ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns) / 1000;
    if (ns < 0) *to++ = '-';
    to = store_number(to, us / 1000000);
    int width = us % 1000 != 0 ? 6 : 3;
    uint64_t part = width == 6 ? us % 1000000 : us / 1000 % 1000;
    to[0] = '.';
    for (int i = width; i > 0; i--, part /= 10)
        to[i] = (char)('0' + part % 10);
    to[width + 1] = 's';
    return to + width + 2;
}

static void put_double(struct evrt_buf *out, double v) {
    struct evrt_jsonout o = evrt_jsonout_start(out);
    evrt_jsonout_double(&o, v);
}

/* Text that claims to be JSON. When it is not, or is too long to keep whole, it is shown as a string. */
static void put_json(struct evrt_log_encoder *e, struct evrt_slice s) {
    size_t from = e->line.n;
    struct evrt_log_json r = {s.p, s.p + s.n, &e->scratch, 0};
    if (s.n > 0 && evrt_log_json_value(&r, &e->line, EVRT_LOG_VALUE_MAX) == 0 && r.p == r.end &&
        e->line.n - from <= EVRT_LOG_VALUE_MAX + 64)
        return;
    e->line.n = from;
    put_str(e, s);
}

static void put_value(struct evrt_log_encoder *e, const struct evrt_log_field *f) {
    struct evrt_buf *out = &e->line;
    bool quote = !e->console;
    switch (f->kind) {
    case EVRT_LF_STR: put_str(e, f->v.s); break;
    case EVRT_LF_U64: evrt_buf_put_u64(out, f->v.u); break;
    case EVRT_LF_I64: evrt_buf_put_i64(out, f->v.i); break;
    case EVRT_LF_DOUBLE: put_double(out, f->v.d); break;
    case EVRT_LF_BOOL: evrt_buf_puts(out, f->v.u ? "true" : "false"); break;
    case EVRT_LF_DURATION:
    case EVRT_LF_TIME:
        if (quote) *room(out, 1) = '"', out->n++;
        if (f->kind == EVRT_LF_DURATION) {
            out->n = (size_t)(store_duration(room(out, DURATION_MAX), f->v.i) - out->p);
        } else {
            evrt_rfc3339_format(f->v.i, evrt_buf_room(out, EVRT_RFC3339_SIZE));
            out->n += EVRT_RFC3339_SIZE - 1;
        }
        if (quote) evrt_buf_putc(out, '"');
        break;
    case EVRT_LF_JSON: put_json(e, f->v.s); break;
    case EVRT_LF_MEMBERS: break; /* put_members */
    }
}

static bool reserved(const char *key, size_t n) {
    switch (n) {
    case 3: return memcmp(key, "msg", 3) == 0;
    case 5: return memcmp(key, "level", 5) == 0;
    case 6: return memcmp(key, "caller", 6) == 0;
    case 9: return memcmp(key, "timestamp", 9) == 0;
    default: return false;
    }
}

/* Remembers the key at line[at..), or says that it is there already. */
static bool seen(struct evrt_log_encoder *e, size_t at) {
    const char *line = e->line.p;
    size_t n = e->line.n - at, middle = at + n / 2;
    uint64_t bit =
        1ull << ((n * 7 + (unsigned char)line[middle] * 5 + (unsigned char)line[at + (n > 1)] * 3) &
                 63);
    const struct key_place *keys = (const void *)e->keys.p;
    for (size_t i = 0; (e->key_bits & bit) != 0 && i < e->keys.n / sizeof *keys; i++)
        if (keys[i].n == n && memcmp(line + keys[i].at, line + at, n) == 0) return true;
    e->key_bits |= bit;
    struct key_place place = {(uint32_t)at, (uint32_t)n};
    memcpy(room(&e->keys, sizeof place), &place, sizeof place);
    e->keys.n += sizeof place;
    return false;
}

/* Puts separator and key. False, and the line is as before: the key is there already. */
static bool put_key(struct evrt_log_encoder *e, const char *key, size_t n) {
    struct evrt_buf *out = &e->line;
    size_t before = out->n, at = before + 1;
    char suffix = reserved(key, n) ? '_' : '\0';
    bool plain = n <= EVRT_LOG_VALUE_MAX && evrt_json_is_plain(key, n);
    if (plain && (!e->console || bare((struct evrt_slice){key, n}))) {
        char *to = room(out, n + 8);
        *to++ = e->console ? ' ' : ',';
        if (!e->console) *to++ = '"';
        to = store(to, key, n);
        if (suffix != '\0') *to++ = suffix;
        if (!e->console) *to++ = '"';
        out->n = (size_t)(to - out->p);
    } else {
        evrt_buf_putc(out, e->console ? ' ' : ',');
        evrt_log_json_quote(out, (struct evrt_slice){key, n}, EVRT_LOG_VALUE_MAX);
    }
    if (seen(e, at)) {
        out->n = before;
        return false;
    }
    *room(out, 1) = e->console ? '=' : ':';
    out->n++;
    return true;
}

/* -EINVAL: not the inside of a JSON object; the line may hold a part. */
static int put_members(struct evrt_log_encoder *e, struct evrt_slice s) {
    struct evrt_log_json r = {s.p, s.p + s.n, &e->scratch, 0};
    int rc;
    for (bool first = true; (rc = evrt_log_json_key(&r, first)) > 0; first = false) {
        size_t before = e->line.n;
        bool fresh = put_key(e, e->scratch.p, e->scratch.n);
        size_t from = e->line.n;
        if (evrt_log_json_value(&r, &e->line, EVRT_LOG_VALUE_MAX) < 0) return -EINVAL;
        if (!fresh) {
            e->line.n = before;
        } else if (e->line.n - from > EVRT_LOG_VALUE_MAX + 64) {
            evrt_buf_clear(&e->scratch);
            evrt_buf_put(&e->scratch, e->line.p + from, e->line.n - from);
            e->line.n = from;
            put_str(e, evrt_buf_slice(&e->scratch));
        }
    }
    return rc < 0 || r.p != r.end ? -EINVAL : 0;
}

static bool absent(const struct evrt_log_field *f) {
    return (f->kind == EVRT_LF_STR || f->kind == EVRT_LF_JSON || f->kind == EVRT_LF_MEMBERS) &&
           f->v.s.p == NULL;
}

/* A line whose keys are all the runtime's own, as most are: each is known to be plain and there once, so that it
 * and a plain string are stored in one go. */
static bool all_own(const struct evrt_log_encoder *e, const struct evrt_log_field *fields,
                    size_t count) {
    bool own = !e->console;
    for (size_t i = 0; i < count; i++)
        own = own && fields[i].own_n != 0;
    return own;
}

static void put_own_field(struct evrt_log_encoder *e, const struct evrt_log_field *f) {
    struct evrt_slice s = f->kind == EVRT_LF_STR ? f->v.s : (struct evrt_slice){NULL, 0};
    size_t n = f->own_n;
    char *to = room(&e->line, n + s.n + DURATION_MAX + 8);
    *to++ = ',';
    *to++ = '"';
    to = store_short(to, f->key, n);
    if (reserved(f->key, n)) *to++ = '_';
    *to++ = '"';
    *to++ = ':';
    e->line.n = (size_t)(to - e->line.p);
    if (f->kind == EVRT_LF_U64) {
        to = store_number(to, f->v.u);
    } else if (f->kind == EVRT_LF_DURATION) {
        *to++ = '"';
        to = store_duration(to, f->v.i);
        *to++ = '"';
    } else if (s.n != 0 && s.n <= EVRT_LOG_VALUE_MAX && evrt_json_is_plain(s.p, s.n)) {
        *to++ = '"';
        to = store_short(to, s.p, s.n);
        *to++ = '"';
    } else {
        put_value(e, f);
        return;
    }
    e->line.n = (size_t)(to - e->line.p);
}

static bool is_stacktrace(const char *key, size_t n) {
    return n == 10 && memcmp(key, "stacktrace", 10) == 0;
}

static void put_field(struct evrt_log_encoder *e, const struct evrt_log_field *f) {
    if (absent(f)) return;
    size_t before = e->line.n, keys = e->keys.n, n = strlen(f->key);
    if (f->kind == EVRT_LF_MEMBERS) {
        if (f->v.s.n == 0 || put_members(e, f->v.s) == 0) return;
        e->line.n = before;
        e->keys.n = keys;
        if (put_key(e, "fields", 6)) put_str(e, f->v.s);
    } else if ((e->stacktrace || !is_stacktrace(f->key, n)) && put_key(e, f->key, n)) {
        put_value(e, f);
    }
}

static void put_stamp(struct evrt_log_encoder *e, int64_t ms) {
    int64_t second = ms / 1000;
    if (second != e->second) {
        evrt_rfc3339_format(ms, e->stamp);
        e->second = second;
    }
    unsigned rest = (unsigned)(ms % 1000);
    e->stamp[20] = (char)('0' + rest / 100);
    e->stamp[21] = (char)('0' + rest / 10 % 10);
    e->stamp[22] = (char)('0' + rest % 10);
}

/* Quoted; room for a plain one is there. */
static char *store_str(struct evrt_log_encoder *e, char *to, struct evrt_slice s) {
    if (s.n != 0 && s.n <= EVRT_LOG_VALUE_MAX && evrt_json_is_plain(s.p, s.n)) {
        *to++ = '"';
        to = store(to, s.p, s.n);
        *to++ = '"';
        return to;
    }
    e->line.n = (size_t)(to - e->line.p);
    put_str(e, s);
    return room(&e->line, 64);
}

static void start_json(struct evrt_log_encoder *e, enum evrt_log_level level, const char *caller,
                       struct evrt_slice msg) {
    struct evrt_slice name = evrt_slice_of(evrt_log_level_name(level)), at = evrt_slice_of(caller);
    char *to = room(&e->line, 128 + at.n);
    to = STORE(to, "{\"level\":\"");
    to = store_short(to, name.p, name.n);
    to = STORE(to, "\",\"timestamp\":\"");
    to = store(to, e->stamp, EVRT_RFC3339_SIZE - 1);
    to = STORE(to, "\"");
    if (caller != NULL) {
        to = STORE(to, ",\"caller\":");
        to = store_str(e, to, at);
    }
    to = STORE(to, ",\"msg\":");
    e->line.n = (size_t)(to - e->line.p);
    to = store_str(e, room(&e->line, msg.n + 2), msg);
    e->line.n = (size_t)(to - e->line.p);
}

/* The message as text: what would be escaped in JSON is escaped here too, but it stands without quotes. */
static void put_console_msg(struct evrt_log_encoder *e, struct evrt_slice msg) {
    if (msg.n == 0) return;
    size_t from = e->line.n;
    evrt_log_json_quote(&e->line, msg, EVRT_LOG_VALUE_MAX);
    size_t n = e->line.n - from - 2;
    memmove(e->line.p + from, e->line.p + from + 1, n);
    e->line.n = from + n;
}

static void start_console(struct evrt_log_encoder *e, enum evrt_log_level level, const char *caller,
                          struct evrt_slice msg) {
    static const char *const levels[] = {"DEBUG ", "INFO  ", "WARN  ", "ERROR "};
    static const char *const colours[] = {"\033[35m", "\033[34m", "\033[33m", "\033[31m"};
    struct evrt_buf *out = &e->line;
    evrt_buf_put(out, e->stamp, EVRT_RFC3339_SIZE - 1);
    evrt_buf_putc(out, ' ');
    if (e->colour) evrt_buf_puts(out, colours[level]);
    evrt_buf_puts(out, levels[level]);
    if (e->colour) evrt_buf_puts(out, "\033[0m");
    put_console_msg(e, msg);
    if (caller != NULL) {
        evrt_buf_puts(out, " caller=");
        put_str(e, evrt_slice_of(caller));
    }
}

/* Empties a buffer; memory that one huge line needed is not kept. */
static void recycle(struct evrt_buf *b) {
    if (b->cap > 4 * EVRT_LOG_VALUE_MAX) evrt_buf_finish(b);
    evrt_buf_clear(b);
}

void evrt_log_encode(struct evrt_log_encoder *e, int64_t wall_ms, enum evrt_log_level level,
                     const char *caller, struct evrt_slice msg, const struct evrt_log_field *fields,
                     size_t count) {
    recycle(&e->line);
    recycle(&e->keys);
    e->key_bits = 0;
    recycle(&e->scratch);
    put_stamp(e, wall_ms);
    if (!e->caller) caller = NULL;
    if (e->console)
        start_console(e, level, caller, msg);
    else
        start_json(e, level, caller, msg);
    bool own = all_own(e, fields, count);
    for (size_t i = 0; i < count; i++) {
        const struct evrt_log_field *f = &fields[i];
        if (!own)
            put_field(e, f);
        else if (!absent(f) && (e->stacktrace || !is_stacktrace(f->key, f->own_n)))
            put_own_field(e, f);
    }
    if (!e->console) evrt_buf_putc(&e->line, '}');
    evrt_buf_putc(&e->line, '\n');
}

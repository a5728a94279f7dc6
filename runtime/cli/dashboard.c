/* See dashboard.h. Rows are sorted by what happened in the last minute. */
#include "cli/dashboard.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/table.h"
#include "cli/view.h"
#include "json/json.h"
#include "json/number.h"

/* ---- Numbers ---- */

/* False: null, or not there. */
static bool number_at(struct evrt_slice object, const char *path, double *out) {
    struct evrt_slice text = evrt_json_at(object, evrt_slice_of(path));
    struct evrt_json_number n;
    if (text.n == 0 || text.p[0] == 'n') return false;
    evrt_json_number_read(text, &n);
    *out = n.d;
    return true;
}

static void put_seconds(struct evrt_buf *out, double s) {
    if (s < 0.001)
        evrt_buf_printf(out, "%.0f us", s * 1e6);
    else if (s < 1)
        evrt_buf_printf(out, "%.1f ms", s * 1e3);
    else
        evrt_buf_printf(out, "%.2f s", s);
}

static void put_rate(struct evrt_buf *out, double per_second) {
    evrt_buf_printf(out,
                    per_second < 10     ? "%.2f"
                    : per_second < 1000 ? "%.1f"
                                        : "%.0f",
                    per_second);
}

static void put_share(struct evrt_buf *out, double share) {
    evrt_buf_printf(out, share == 0 ? "0 %%" : share < 0.1 ? "%.2f %%" : "%.1f %%", share * 100);
}

static void put_count(struct evrt_buf *out, double n) {
    evrt_buf_printf(out, "%.0f", n);
}

static void put_uptime(struct evrt_buf *out, double seconds) {
    unsigned long s = (unsigned long)seconds;
    if (s >= 86400) evrt_buf_printf(out, "%lud ", s / 86400);
    if (s >= 3600) evrt_buf_printf(out, "%luh ", s / 3600 % 24);
    if (s >= 60) evrt_buf_printf(out, "%lum ", s / 60 % 60);
    evrt_buf_printf(out, "%lus", s % 60);
}

/* ---- Tables ---- */

struct column {
    const char *header, *path;
    void (*put)(struct evrt_buf *out, double v); /* NULL: text */
};

static const struct column handler_columns[] = {
    {"HANDLER", "handler", NULL},
    {">PENDING", "pending", put_count},
    {">RUNNING", "running", put_count},
    {">RETRYING", "retrying", put_count},
    {">HANDLED/S", "rates.handled.1m", put_rate},
    {">5M", "rates.handled.5m", put_rate},
    {">15M", "rates.handled.15m", put_rate},
    {">FAILED", "error_ratio", put_share},
    {">P50", "p50", put_seconds},
    {">P95", "p95", put_seconds},
    {">P99", "p99", put_seconds},
    {NULL, NULL, NULL},
};

static const struct column type_columns[] = {
    {"EVENT TYPE", "event_type", NULL},
    {">PUBLISHED/S", "rates.published.1m", put_rate},
    {">5M", "rates.published.5m", put_rate},
    {">15M", "rates.published.15m", put_rate},
    {">HANDLED/S", "rates.handled.1m", put_rate},
    {">FAILED", "error_ratio", put_share},
    {">P50", "p50", put_seconds},
    {">P95", "p95", put_seconds},
    {">P99", "p99", put_seconds},
    {NULL, NULL, NULL},
};

struct row {
    struct evrt_slice json;
    double weight;
};

struct rows {
    struct row *v;
    size_t n, cap;
    const char *weight;
};

static int add_row(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct rows *rows = arg;
    (void)err;
    rows->v = evrt_grow(rows->v, rows->n, &rows->cap, sizeof *rows->v);
    struct row row = {.json = m->value};
    number_at(m->value, rows->weight, &row.weight);
    rows->v[rows->n++] = row;
    return 0;
}

/* Busier first; where nothing happens, as they came: by where they stand in the text. */
static int busier(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    if (x->weight != y->weight) return x->weight < y->weight ? 1 : -1;
    return x->json.p < y->json.p ? -1 : 1;
}

static void put_cell(struct evrt_table *table, const struct column *c, struct evrt_slice json,
                     struct evrt_buf *text) {
    double v;
    evrt_buf_clear(text);
    if (c->put == NULL)
        evrt_view_text(evrt_json_at(json, evrt_slice_of(c->path)), text);
    else if (number_at(json, c->path, &v))
        c->put(text, v);
    else
        evrt_buf_putc(text, '-');
    evrt_table_cell(table, evrt_buf_slice(text));
}

static void show_table(struct evrt_slice list, const struct column *columns, const char *weight,
                       unsigned most, bool colour, struct evrt_buf *out) {
    const char *headers[EVRT_VIEW_COLUMNS + 1] = {NULL};
    struct rows rows = {.weight = weight};
    struct evrt_json_info info;
    struct evrt_table table;
    struct evrt_buf text;
    if (list.n == 0 || evrt_json_members(list, add_row, &rows, &info, NULL) < 0 || rows.n == 0) {
        free(rows.v);
        return;
    }
    for (size_t i = 0; columns[i].header != NULL; i++)
        headers[i] = columns[i].header;
    qsort(rows.v, rows.n, sizeof *rows.v, busier);
    evrt_buf_init(&text);
    evrt_table_init(&table, headers);
    for (size_t i = 0; i < rows.n && (most == 0 || i < most); i++)
        for (const struct column *c = columns; c->header != NULL; c++)
            put_cell(&table, c, rows.v[i].json, &text);
    evrt_buf_putc(out, '\n');
    evrt_table_print(&table, out, colour);
    if (most != 0 && rows.n > most) evrt_buf_printf(out, "... and %zu more\n", rows.n - most);
    evrt_table_finish(&table);
    evrt_buf_finish(&text);
    free(rows.v);
}

/* ---- Above the tables ---- */

static void put_figure(struct evrt_slice json, const char *path, const char *text,
                       struct evrt_buf *out) {
    double v = 0;
    number_at(json, path, &v);
    evrt_buf_printf(out, "%.0f %s", v, text);
}

static void show_head(struct evrt_slice json, struct evrt_buf *out) {
    double uptime = 0;
    evrt_buf_puts(out, "up         ");
    number_at(json, "uptime_seconds", &uptime);
    put_uptime(out, uptime);
    evrt_buf_puts(out, "\nevents     ");
    put_figure(json, "events_last_hour", "in the last hour, ", out);
    put_figure(json, "events_today", "today (", out);
    evrt_view_text(evrt_json_at(json, EVRT_STR("time_zone")), out);
    evrt_buf_puts(out, ")\nqueues     ");
    put_figure(json, "retry_queue_size", "to be tried again, ", out);
    put_figure(json, "dead_letter_queue_size", "dead letters\nhandlers   ", out);
    put_figure(json, "active_handlers", "active\n", out);
}

static void show_rates(struct evrt_slice json, bool colour, struct evrt_buf *out) {
    static const char *const headers[] = {"A SECOND", ">1M", ">5M", ">15M", NULL};
    static const char *const names[] = {"published", "handled", "errors"};
    static const char *const windows[] = {"1m", "5m", "15m"};
    struct evrt_table table;
    struct evrt_buf text;
    evrt_buf_init(&text);
    evrt_table_init(&table, headers);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        evrt_table_cell(&table, evrt_slice_of(names[i]));
        for (size_t j = 0; j < sizeof windows / sizeof windows[0]; j++) {
            char path[64];
            snprintf(path, sizeof path, "rates.%s.%s", names[i], windows[j]);
            put_cell(&table, &(struct column){"", path, put_rate}, json, &text);
        }
    }
    evrt_buf_putc(out, '\n');
    evrt_table_print(&table, out, colour);
    evrt_table_finish(&table);
    evrt_buf_finish(&text);
    static const char *const quantiles[] = {"p50", "p95", "p99"};
    evrt_buf_puts(out, "handling ");
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++) {
        double v;
        evrt_buf_printf(out, "%s%s ", i == 0 ? "" : ", ", quantiles[i]);
        if (number_at(json, quantiles[i], &v))
            put_seconds(out, v);
        else
            evrt_buf_putc(out, '-');
    }
    evrt_buf_putc(out, '\n');
}

void evrt_dashboard_show(struct evrt_slice json, const struct evrt_dashboard_view *view,
                         struct evrt_buf *out) {
    show_head(json, out);
    if (evrt_json_at(json, EVRT_STR("rates")).n == 0) {
        evrt_buf_puts(out, "\nRates and times need metrics.enabled.\n");
        return;
    }
    show_rates(json, view->colour, out);
    show_table(evrt_json_at(json, EVRT_STR("handlers")), handler_columns, "rates.handled.1m",
               view->handlers, view->colour, out);
    show_table(evrt_json_at(json, EVRT_STR("types")), type_columns, "rates.published.1m",
               view->types, view->colour, out);
}

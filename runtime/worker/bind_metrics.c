/* evrt.c.metrics: counting for scripts. define() and series() give numbers, which add(), set() and observe()
 * take: those are additions to a cell that flush() sends and clears.
 *
 *     define ──▶ METRIC     series ──▶ METRIC_SERIES     add, set, observe ──▶ cell ──flush──▶ METRIC_COUNTS */
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/metric.h"
#include "worker/bind.h"
#include "worker/counts.h"
#include "worker/process.h"

enum { FRAME_ITEMS = 65536 }; /* of one frame */

struct metric {
    enum evrt_metric_type type;
    uint32_t series;   /* label sets so far */
    uint32_t overflow; /* cell + 1 of those that have no room; 0: none yet */
    uint32_t bound_count;
    double bounds[];
};

struct cell {
    struct metric *metric;
    double added;      /* counters, gauges; a histogram's sum */
    double value;      /* a gauge, set since; added comes on top */
    bool set, listed;  /* listed: something is to be sent */
    uint32_t counts[]; /* by bucket, the last without bound */
};

struct evrt_counts {
    struct metric **metrics;
    struct cell **cells;
    uint32_t metric_count, cell_count;
    uint32_t *dirty; /* cells that are listed */
    uint32_t dirty_count, dirty_cap;
    struct evrt_buf items;
};

static struct evrt_counts *counts_of(struct evrt_worker *w) {
    if (w->counts == NULL) w->counts = evrt_zalloc(sizeof *w->counts);
    return w->counts;
}

void evrt_counts_finish(struct evrt_worker *w) {
    struct evrt_counts *c = w->counts;
    if (c == NULL) return;
    for (uint32_t i = 0; i < c->metric_count; i++)
        free(c->metrics[i]);
    for (uint32_t i = 0; i < c->cell_count; i++)
        free(c->cells[i]);
    free(c->metrics);
    free(c->cells);
    free(c->dirty);
    evrt_buf_finish(&c->items);
    free(c);
    w->counts = NULL;
}

/* ---- Sending ---- */

static void put_item(struct evrt_counts *c, uint32_t series, uint32_t what, double v) {
    struct evrt_frame_metric_count item = {series, what, v};
    evrt_buf_put(&c->items, &item, sizeof item);
}

static void put_cell(struct evrt_counts *c, uint32_t index) {
    struct cell *cell = c->cells[index];
    if (cell->set) put_item(c, index, EVRT_METRIC_SET, cell->value);
    if (cell->added != 0) put_item(c, index, EVRT_METRIC_ADD, cell->added);
    if (cell->metric->type == EVRT_METRIC_TYPE_HISTOGRAM) {
        for (uint32_t i = 0; i <= cell->metric->bound_count; i++) {
            if (cell->counts[i] != 0) put_item(c, index, EVRT_METRIC_BUCKET + i, cell->counts[i]);
            cell->counts[i] = 0;
        }
    }
    cell->added = 0;
    cell->set = cell->listed = false;
}

void evrt_counts_put(struct evrt_worker *w) {
    struct evrt_counts *c = w->counts;
    if (c == NULL || c->dirty_count == 0) return;
    evrt_buf_clear(&c->items);
    for (uint32_t i = 0; i < c->dirty_count; i++)
        put_cell(c, c->dirty[i]);
    c->dirty_count = 0;
    const struct evrt_frame_metric_count *items = (const void *)c->items.p;
    size_t left = c->items.n / sizeof *items;
    for (size_t n; left > 0; items += n, left -= n) {
        n = left < FRAME_ITEMS ? left : FRAME_ITEMS;
        evrt_frame_put_metric_counts(evrt_worker_out(w), items, n);
    }
}

static void list(struct evrt_counts *c, uint32_t index) {
    if (c->cells[index]->listed) return;
    c->cells[index]->listed = true;
    if (c->dirty_count == c->dirty_cap) {
        c->dirty_cap = c->dirty_cap == 0 ? 64 : c->dirty_cap * 2;
        c->dirty = evrt_realloc(c->dirty, c->dirty_cap * sizeof *c->dirty);
    }
    c->dirty[c->dirty_count++] = index;
}

/* ---- Defining ---- */

/* An array of numbers; anything else in it becomes a NaN, which is refused as a bound. */
static uint32_t read_bounds(lua_State *L, int idx, double *bounds) {
    if (!lua_istable(L, idx)) return 0;
    size_t n = lua_objlen(L, idx);
    if (n > EVRT_BUCKETS_MAX) return EVRT_BUCKETS_MAX + 1;
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, idx, (int)i + 1);
        bounds[i] = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : NAN;
        lua_pop(L, 1);
    }
    return (uint32_t)n;
}

/* define(type, name, help, labels, bounds or nil) -> number; nil, message */
static int define(lua_State *L) {
    struct evrt_worker *w = evrt_worker_of(L);
    double bounds[EVRT_BUCKETS_MAX + 1];
    struct evrt_metric_definition d = {.type = (enum evrt_metric_type)luaL_checkinteger(L, 1),
                                       .bounds = bounds};
    struct evrt_error err;
    d.name.p = luaL_checklstring(L, 2, &d.name.n);
    d.help.p = luaL_checklstring(L, 3, &d.help.n);
    d.labels.p = luaL_checklstring(L, 4, &d.labels.n);
    d.bound_count = read_bounds(L, 5, bounds);
    if (evrt_metric_check(&d, &err) < 0) {
        lua_pushnil(L);
        lua_pushstring(L, err.message);
        return 2;
    }
    struct evrt_counts *c = counts_of(w);
    struct metric *m = evrt_zalloc(sizeof *m + d.bound_count * sizeof m->bounds[0]);
    m->type = d.type;
    m->bound_count = d.bound_count;
    memcpy(m->bounds, bounds, d.bound_count * sizeof bounds[0]);
    c->metrics = evrt_realloc(c->metrics, (c->metric_count + 1) * sizeof(struct metric *));
    c->metrics[c->metric_count] = m;
    if (w->hello.max_series != 0)
        evrt_frame_put_metric(evrt_worker_out(w), &(struct evrt_frame_metric){
                                                      .metric = c->metric_count,
                                                      .type = (uint8_t)d.type,
                                                      .name = d.name,
                                                      .help = d.help,
                                                      .labels = d.labels,
                                                      .bounds = {(const char *)bounds,
                                                                 d.bound_count * sizeof bounds[0]},
                                                  });
    lua_pushnumber(L, c->metric_count++);
    return 1;
}

static uint32_t add_cell(struct evrt_worker *w, uint32_t metric, bool overflow,
                         struct evrt_slice values) {
    struct evrt_counts *c = w->counts;
    struct metric *m = c->metrics[metric];
    size_t buckets = m->type == EVRT_METRIC_TYPE_HISTOGRAM ? m->bound_count + 1 : 0;
    struct cell *cell = evrt_zalloc(sizeof *cell + buckets * sizeof cell->counts[0]);
    cell->metric = m;
    if ((c->cell_count & (c->cell_count - 1)) == 0)
        c->cells = evrt_realloc(c->cells, (c->cell_count == 0 ? 1 : c->cell_count * 2) *
                                              sizeof(struct cell *));
    c->cells[c->cell_count] = cell;
    evrt_frame_put_metric_series(evrt_worker_out(w), &(struct evrt_frame_metric_series){
                                                         .series = c->cell_count,
                                                         .metric = metric,
                                                         .overflow = overflow,
                                                         .values = values,
                                                     });
    return c->cell_count++;
}

/* series(metric, values joined by NUL) -> number, whether it has room of its own; -1 when nothing is counted */
static int series(lua_State *L) {
    struct evrt_worker *w = evrt_worker_of(L);
    uint32_t metric = (uint32_t)luaL_checkinteger(L, 1);
    struct evrt_slice values;
    values.p = luaL_checklstring(L, 2, &values.n);
    if (w->counts == NULL || metric >= w->counts->metric_count)
        return luaL_error(L, "no such metric");
    struct metric *m = w->counts->metrics[metric];
    bool room = m->series < w->hello.max_series;
    if (w->hello.max_series == 0) {
        lua_pushinteger(L, -1);
        room = true;
    } else if (room) {
        m->series++;
        lua_pushnumber(L, add_cell(w, metric, false, values));
    } else {
        if (m->overflow == 0)
            m->overflow = add_cell(w, metric, true, (struct evrt_slice){"", 0}) + 1;
        lua_pushnumber(L, m->overflow - 1);
    }
    lua_pushboolean(L, room);
    return 2;
}

/* ---- Counting ---- */

/* The cell whose number stands first, listed; NULL: nothing is counted. */
static struct cell *cell_at(lua_State *L) {
    struct evrt_counts *c = evrt_worker_of(L)->counts;
    lua_Integer index = lua_tointeger(L, 1);
    if (c == NULL || index < 0 || index >= (lua_Integer)c->cell_count) return NULL;
    list(c, (uint32_t)index);
    return c->cells[index];
}

/* add(series, by) */
static int add(lua_State *L) {
    struct cell *cell = cell_at(L);
    if (cell != NULL) cell->added += lua_tonumber(L, 2);
    return 0;
}

/* set(series, value) */
static int set(lua_State *L) {
    struct cell *cell = cell_at(L);
    if (cell == NULL) return 0;
    cell->value = lua_tonumber(L, 2);
    cell->set = true;
    cell->added = 0;
    return 0;
}

/* observe(series, value) */
static int observe(lua_State *L) {
    struct cell *cell = cell_at(L);
    double v = lua_tonumber(L, 2);
    if (cell == NULL || cell->metric->type != EVRT_METRIC_TYPE_HISTOGRAM) return 0;
    uint32_t i = 0;
    while (i < cell->metric->bound_count && v > cell->metric->bounds[i])
        i++;
    cell->counts[i]++;
    cell->added += v;
    return 0;
}

static const luaL_Reg functions[] = {
    {"define", define}, {"series", series},   {"add", add},
    {"set", set},       {"observe", observe}, {NULL, NULL},
};

int evrt_metrics_open(lua_State *L) {
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    return 1;
}

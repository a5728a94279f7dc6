/* evrt.c.stack: look(paths, layers), for the handler of an error: what lua/evrt/worker/errors.lua tells of the
 * stack, gathered in one walk over it. From Lua, each frame is a table of debug.getinfo and ten times the
 * price, and handlers that fail fail often. */
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "worker/bind.h"

enum {
    FIRST = 2,   /* 0: look itself, 1: who called it, to explain an error */
    FRAMES = 50, /* told of a stack */
    PATHS = 1,   /* stack indices of the arguments */
    LAYERS = 2,
};

struct walk {
    lua_State *L;
    lua_Debug frame;
    const char *path; /* of the frame's script; NULL: no script's. Its string is on the stack */
    bool placed;      /* index 3 holds the place */
    bool
        searching; /* for the layer that failed; once found index 4 and 5 hold it and the place then */
    int lines;
    size_t n;
    char text[8192];
};

/* Appends the frame's line, whole or not at all. */
static void add_line(struct walk *w) {
    const lua_Debug *f = &w->frame;
    char *at = w->text + w->n;
    size_t room = sizeof w->text - w->n;
    const char *gap = w->lines == 0 ? "" : "\n";
    int n;
    if (strcmp(f->what, "main") == 0)
        n = snprintf(at, room, "%s%s:%d: in main chunk", gap, w->path, f->currentline);
    else if (f->name != NULL)
        n = snprintf(at, room, "%s%s:%d: in function '%s'", gap, w->path, f->currentline, f->name);
    else
        n = snprintf(at, room, "%s%s:%d: in function <%s:%d>", gap, w->path, f->currentline,
                     w->path, f->linedefined);
    if (n < 0 || (size_t)n >= room) {
        w->lines = FRAMES;
        return;
    }
    w->n += (size_t)n;
    w->lines++;
}

/* The frame's function is on top: is it a layer, or the handler (false), where policies end? */
static void look_for_layer(struct walk *w) {
    lua_rawget(w->L, LAYERS);
    if (!lua_isnil(w->L, -1)) {
        w->searching = false;
        if (lua_toboolean(w->L, -1)) {
            lua_pushvalue(w->L, -1);
            lua_replace(w->L, 4);
            lua_pushvalue(w->L, 3);
            lua_replace(w->L, 5);
        }
    }
    lua_pop(w->L, 1);
}

static void look_at(struct walk *w) {
    lua_State *L = w->L;
    lua_getinfo(L, w->searching ? "Slf" : "Sl", &w->frame);
    if (w->searching) look_for_layer(w);
    lua_pushstring(L, w->frame.source);
    lua_rawget(L, PATHS);
    w->path = lua_tostring(L, -1);
    if (w->path != NULL && w->frame.currentline > 0) {
        if (!w->placed) {
            lua_pushfstring(L, "%s:%d", w->path, w->frame.currentline);
            lua_replace(L, 3);
            w->placed = true;
        }
        if (w->lines < FRAMES) {
            lua_getinfo(L, "n", &w->frame);
            add_line(w);
        }
    }
    lua_pop(L, 1);
}

/* look(paths, layers) -> place, traceback, layer, its place. `paths`: by source; `layers`: by function. Place: of
 * the nearest frame that is a script's; the layer's place: the nearest inside of the layer. */
static int look(lua_State *L) {
    struct walk w __attribute__((uninitialized)); /* the text */
    w.L = L;
    w.placed = false;
    w.searching = true;
    w.lines = 0;
    w.n = 0;
    lua_settop(L, 2);
    lua_settop(L, 5);
    for (int level = FIRST; (w.searching || w.lines < FRAMES) && lua_getstack(L, level, &w.frame);
         level++)
        look_at(&w);
    lua_pushvalue(L, 3);
    lua_pushlstring(L, w.text, w.n);
    lua_pushvalue(L, 4);
    lua_pushvalue(L, 5);
    return 4;
}

int evrt_stack_open(lua_State *L) {
    lua_newtable(L);
    lua_pushcfunction(L, look);
    lua_setfield(L, -2, "look");
    return 1;
}

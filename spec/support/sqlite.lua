-- What a node's state.db holds, read beside the node.
local ffi = require "ffi"
local files = require "spec.support.files"

ffi.cdef [[
    int sqlite3_open_v2(const char *path, void **db, int flags, const char *vfs);
    int sqlite3_prepare_v2(void *db, const char *sql, int n, void **stmt, const char **tail);
    int sqlite3_step(void *stmt);
    const char *sqlite3_column_text(void *stmt, int column);
    int sqlite3_finalize(void *stmt);
    int sqlite3_close(void *db);
    int sqlite3_busy_timeout(void *db, int ms);
]]

local sqlite = {}

local READONLY, ROW, DONE = 1, 100, 101

--- The first column of what a query finds, as texts.
---@return string[]
function sqlite.column(path, sql)
    local lib = ffi.load "sqlite3.so.0"
    local db, stmt, rows = ffi.new "void *[1]", ffi.new "void *[1]", {}
    assert(lib.sqlite3_open_v2(path, db, READONLY, nil) == 0, path)
    lib.sqlite3_busy_timeout(db[0], 10000)
    assert(lib.sqlite3_prepare_v2(db[0], sql, -1, stmt, nil) == 0, sql)
    local code = lib.sqlite3_step(stmt[0])
    while code == ROW do
        rows[#rows + 1] = ffi.string(lib.sqlite3_column_text(stmt[0], 0))
        code = lib.sqlite3_step(stmt[0])
    end
    lib.sqlite3_finalize(stmt[0])
    lib.sqlite3_close(db[0])
    assert(code == DONE, "state.db: " .. code)
    return rows
end

--- Overwrites the first page of a table or index with what is none, where it stands: all of it is in the file already.
function sqlite.spoil(path, name)
    local page = tonumber(sqlite.column(path, ("SELECT rootpage FROM sqlite_schema WHERE name = '%s'"):format(name))[1])
    local size = tonumber(sqlite.column(path, "PRAGMA page_size")[1])
    files.overwrite(path, (page - 1) * size, ("\255"):rep(size))
end

return sqlite

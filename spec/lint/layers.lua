-- The layers: which folder under runtime/ may include which, and who may use which library.
--
-- What a layer may include is what CMakeLists.txt links it with (evrt_layer ... DEPENDS), so that there is
-- one list: an upward include fails here, an upward call fails to link.
local layers = {}

--- Library headers by Lua pattern, and the only layers or files (under runtime/) that may include them.
layers.libraries = {
    { "^lua%.h$", "worker" },
    { "^lauxlib%.h$", "worker" },
    { "^lualib%.h$", "worker" },
    { "^luajit%.h$", "worker" },
    { "^lua%-cjson%.h$", "worker" },
    { "^lua5%.1/", "worker" },
    { "^luajit%-2%.1/", "worker" },
    { "^microhttpd%.h$", "http" },
    { "^sqlite3%.h$", "state" },
    { "^yaml%.h$", "config" },
    { "^yajl/", "no layer; spec/fuzz compares with it" },
    { "^xxhash%.h$", "core/hash.c" },
    { "^curl/", "libcurl" },
    { "^zlib%.h$", "telemetry" },
    { "^uv%.h$", "loop", "worker", "host", "http", "cli", "evrt.c" },
    { "^pthread%.h$", "journal", "state", "telemetry" },
}

--- Reads evrt_layer() calls: { name = { dependency = true, ... }, ... }.
---@param cmake string text of CMakeLists.txt
function layers.parse(cmake)
    local variables, found = {}, {}
    for name, value in cmake:gmatch "\n%s*set%(([%w_]+) ([^)]*)%)" do
        variables[name] = value
    end
    for arguments in cmake:gmatch "\n%s*evrt_layer(%b())" do
        arguments = arguments:sub(2, -2):gsub("%${([%w_]+)}", variables)
        local name = arguments:match "^[%w_]+"
        local depends = (" " .. arguments):match "%sDEPENDS%s+(.*)$" or ""
        found[name] = {}
        for word in depends:gmatch "%S+" do
            if word == "LIBS" or word == "SOURCES" then break end
            found[name][word] = true
        end
    end
    -- The composition root is a file, not a folder.
    found["evrt.c"] = found.node
    return found
end

--- The layer of a file under runtime/: its folder, or the file itself at the top.
function layers.of(path)
    return path:match "^([^/]+)/" or path
end

return layers

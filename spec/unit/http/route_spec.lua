local ffi = require "ffi"
local c = require "spec.support.c"
local audits = require "spec.support.audits"
local lib = c.load("http", { "http/route.h", "http/ingest.h", "http/admin.h" })

describe("http/route", function()
    local tables = {
        ingest = { lib.evrt_ingest_routes, lib.EVRT_INGEST_ROUTES },
        admin = { lib.evrt_admin_routes, tonumber(lib.evrt_admin_route_count) },
    }

    -- Pattern and parameters; or nil, the code and what is allowed.
    local function find(name, method, path)
        local match, allow = ffi.new "struct evrt_route_match", ffi.new "struct evrt_buf"
        local code = lib.evrt_route_find(tables[name][1], tables[name][2], c.slice(method), c.slice(path), match,
            allow)
        local allowed = c.string(allow)
        lib.evrt_buf_finish(allow)
        if code < 0 then return nil, code, allowed end
        return ffi.string(match.route.pattern), c.string(match.params[0]), allowed
    end

    it("finds a route by method and path", function()
        assert.are.same({ "/events", "", "" }, { find("ingest", "POST", "/events") })
        assert.are.same({ "/events", "", "" }, { find("ingest", "OPTIONS", "/events") })
        assert.are.same({ "/api/v1/events/{seq}", "17", "" }, { find("admin", "GET", "/api/v1/events/17") })
        assert.are.same({ "/api/v1/handlers/{name}", "a%20b", "" },
            { find("admin", "DELETE", "/api/v1/handlers/a%20b") })
    end)

    it("leaves nothing of another route's parameters", function()
        local match, allow = ffi.new "struct evrt_route_match", ffi.new "struct evrt_buf"
        for _, path in ipairs { "/api/v1/dead-letters/1-2/reprocess", "/api/v1/dead-letters/reprocess" } do
            assert.equal(0, lib.evrt_route_find(tables.admin[1], tables.admin[2], c.slice "POST", c.slice(path), match,
                allow))
        end
        assert.is_true(match.params[0].p == nil)
        lib.evrt_buf_finish(allow)
    end)

    it("answers HEAD with what GET has", function()
        assert.are.equal("/livez", (find("admin", "HEAD", "/livez")))
    end)

    it("knows no other paths", function()
        for _, path in ipairs { "/", "", "/event", "/events/", "//events", "/events/1", "events", "/EVENTS" } do
            assert.are.same({ nil, -2, "" }, { find("ingest", "POST", path) })
        end
        for _, path in ipairs { "/api/v1/events/", "/api/v1/events/1/2", "/api/v1/", "/api", "/livez/" } do
            assert.are.same({ nil, -2, "" }, { find("admin", "GET", path) })
        end
    end)

    it("says which methods a path has", function()
        assert.are.same({ nil, -95, "POST, OPTIONS" }, { find("ingest", "GET", "/events") })
        assert.are.same({ nil, -95, "GET, HEAD" }, { find("admin", "PUT", "/api/v1/stats") })
        assert.are.same({ nil, -95, "POST, OPTIONS" }, { find("ingest", "post", "/events") })
    end)

    it("knows the parameters of a query", function()
        local function takes(name) return lib.evrt_route_takes("type,source,to", c.slice(name)) end
        assert.is_true(takes "type")
        assert.is_true(takes "to")
        for _, name in ipairs { "", "t", "typ", "types", "type,source", "TO" } do assert.is_false(takes(name)) end
    end)

    it("has help for every route, and a pattern that is found by itself", function()
        for name, routes in pairs(tables) do
            for i = 0, routes[2] - 1 do
                local route = routes[1][i]
                assert.truthy(#ffi.string(route.help) > 20)
                local path = ffi.string(route.pattern):gsub("{%w+}", "1")
                assert.are.equal(ffi.string(route.pattern), (find(name, ffi.string(route.method), path)))
            end
        end
    end)

    -- A new one gets a line in spec/support/audits.lua, by which its line in the log is tested.
    it("knows the audit of every admin route that changes something", function()
        local known, routes = {}, {}
        for _, entry in ipairs(audits.list) do known[entry[1]] = true end
        for i = 0, tables.admin[2] - 1 do
            local route = tables.admin[1][i]
            local name = ffi.string(route.method) .. " " .. ffi.string(route.pattern)
            routes[name] = true
            assert.is_true(known[name] == true or ffi.string(route.method) == "GET", name)
        end
        for name in pairs(known) do assert.is_true(routes[name], name) end
    end)
end)

local ffi = require "ffi"
local c = require "spec.support.c"
local path = c.build_dir() .. "/unit/libevrt_unit_worker.so"
local open = assert(package.loadlib(path, "evrt_json_open"))
local json = open()

describe("worker/bind_json", function()
    describe("an integer of more than 64 bits", function()
        local big = json.decode "-123456789012345678901234567890"

        it("keeps its digits", function()
            assert.equal("-123456789012345678901234567890", tostring(big))
            assert.equal("-123456789012345678901234567890", json.encode(big))
            assert.equal('{"n":[-123456789012345678901234567890]}', json.encode { n = { big } })
        end)

        it("gives the nearest number when asked", function()
            assert.equal(-123456789012345678901234567890, big:number())
        end)

        it("equals itself, and nothing else", function()
            assert.is_true(big == json.decode "-123456789012345678901234567890")
            assert.is_false(big == json.decode "-123456789012345678901234567891")
            assert.is_false(big == -123456789012345678901234567890)
        end)

        it("refuses to calculate, and says how to", function()
            for _, f in ipairs {
                function() return big + 1 end, function() return 2 * big end, function() return -big end,
                function() return big < big end,
            } do
                assert.error_matches(f, "more than 64 bits: use x:number%(%)")
            end
        end)

        it("does not take other values for one", function()
            assert.error_matches(function() big.number(io.stdout) end, "evrt.json.integer expected")
            assert.error_matches(function() big.number(5) end, "evrt.json.integer expected")
            assert.equal("evrt.json.integer", getmetatable(big))
        end)
    end)

    it("raises on misuse", function()
        assert.error_matches(function() json.decode() end, "string expected")
        assert.error_matches(function() json.decode(5) end, "string expected")
        assert.error_matches(function() json.decode {} end, "string expected")
        assert.error_matches(function() json.encode() end, "value expected")
    end)

    it("gives the same marks however often it is opened", function()
        assert.equal(json.array_mt, open().array_mt)
        assert.equal("[]", open().encode(json.decode "[]"))
    end)

    -- In a state of its own: this one has ffi.
    describe("ffi", function()
        pcall(ffi.cdef, [[
            typedef struct lua_State lua_State;
            lua_State *luaL_newstate(void);
            void luaL_openlibs(lua_State *);
            int luaL_loadstring(lua_State *, const char *);
            int lua_pcall(lua_State *, int, int, int);
            const char *lua_tolstring(lua_State *, int, size_t *);
            void lua_pushstring(lua_State *, const char *);
            void lua_close(lua_State *);
        ]])

        local function run(text)
            local L = ffi.C.luaL_newstate()
            ffi.C.luaL_openlibs(L)
            assert(ffi.C.luaL_loadstring(L, "local path = ... " .. text) == 0)
            ffi.C.lua_pushstring(L, path)
            ffi.C.lua_pcall(L, 1, 1, 0)
            local result = ffi.C.lua_tolstring(L, -1, nil)
            local said = result ~= nil and ffi.string(result) or nil
            ffi.C.lua_close(L)
            return said
        end

        it("is started for 64-bit integers, and not handed to scripts", function()
            assert.equal("9007199254740993LL true false nil", run [[
                package.preload.ffi = nil
                local json = assert(package.loadlib(path, "evrt_json_open"))()
                local x = json.decode "9007199254740993"
                local equal = loadstring "return ... == 9007199254740993LL" (x)
                return tostring(x) .. " " .. tostring(equal) .. " " .. tostring(pcall(require, "ffi"))
                    .. " " .. tostring(package.loaded.ffi)
            ]])
        end)

        it("is the one that scripts may require, where they may", function()
            assert.equal("table int64_t true", run [[
                local json = assert(package.loadlib(path, "evrt_json_open"))()
                local ffi = require "ffi"
                local x = json.decode "9007199254740993"
                return type(ffi) .. " " .. tostring(ffi.typeof(x)):match "<(.-)>" .. " "
                    .. tostring(json.encode(ffi.new("int64_t", 5)) == "5")
            ]])
        end)
    end)
end)

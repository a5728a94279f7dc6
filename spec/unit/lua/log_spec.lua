-- Log lines of scripts: level, place, fields.
local worker = require "spec.support.worker"

local function lines(body, hello)
    local w = worker.start({ ["h.lua"] = 'local evrt = require "evrt"\nreturn { name = "H", events = "**", '
        .. "handle = function(event, ctx)\n" .. body .. "\nend }" }, hello)
    w:expect "READY"
    local outcome = w:handle { type = "a" }
    w:stop()
    assert.equal("done", outcome.message or outcome)
    local list = {}
    for i, f in ipairs(w.logs or {}) do
        list[i] = ("%d %s %s {%s}"):format(f.level, f.caller, f.message, f.fields)
        assert.equal(1, f.delivery)
    end
    return list
end

describe("log", function()
    it("has four levels, also in ctx", function()
        local expected = {
            "0 h.lua:3 a {}", "1 h.lua:4 b {}", "2 h.lua:5 c {}", "3 h.lua:6 d {}", "1 h.lua:7 e {}",
        }
        assert.same(expected, lines [[
            evrt.log.debug "a"
            evrt.log.info "b"
            evrt.log.warn "c"
            evrt.log.error "d"
            ctx.log.info "e"]])
    end)

    it("does not send what will not be written", function()
        assert.same({ "2 h.lua:3 c {}" }, lines("evrt.log.info 'b' evrt.log.warn 'c' print 'd'", { log_level = 2 }))
    end)

    it("adds fields", function()
        assert.same({ '1 h.lua:3 m {"s":"x\\"y"}' }, lines [[evrt.log.info("m", { s = 'x"y' })]])
        assert.same({ "1 h.lua:3 m {}" }, lines "evrt.log.info('m', {})")
        assert.same({ '1 h.lua:3 m {"fields":[1,2]}' }, lines "evrt.log.info('m', { 1, 2 })")
    end)

    it("keeps a line whose fields cannot be written", function()
        local list = lines "evrt.log.info('m', { f = print })"
        assert.matches('^1 h.lua:3 m {"fields_error":".*f.*"}$', list[1])
    end)

    it("takes any message, and refuses fields that are no table", function()
        assert.same({ "1 h.lua:3 nil {}", "1 h.lua:3 5 {}" }, lines "evrt.log.info() evrt.log.info(5)")
        assert.equal("h.lua:3: evrt.log.info: fields: a table expected, got number",
            worker.run("evrt.log.info('m', 1)").message)
    end)

    it("is where print goes", function()
        assert.same({ "1 h.lua:3 a\tnil\t1 {}", "1 h.lua:3  {}" }, lines "print('a', nil, 1) print()")
    end)

    it("works while scripts load", function()
        local w = worker.start { ["h.lua"] = "print 'loading'\nreturn {}" }
        w:expect "READY"
        assert.equal("loading", w.logs[1].message)
        assert.equal("h.lua:1", w.logs[1].caller)
        assert.equal(0, w.logs[1].delivery)
        w:stop()
    end)
end)

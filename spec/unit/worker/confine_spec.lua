-- worker/confine*.c, through a worker that is told to confine itself. What a node makes of it, and what
-- scripts can and cannot reach, is in spec/integration/confinement_spec.lua.
local uv = require "luv"
local files = require "spec.support.files"
local worker = require "spec.support.worker"

local function status(key)
    return ([[print((io.open("/proc/self/status"):read("*a"):match("\n%s:%%s*(%%S+)")))]]):format(key)
end

describe("worker/confine", function()
    local dir

    before_each(function()
        dir = assert(uv.fs_mkdtemp "/tmp/evrt-spec-XXXXXX")
        assert(uv.fs_mkdir(dir .. "/store", 448))
        files.write(dir .. "/store/secret", "x")
    end)
    after_each(function() os.execute("rm -rf '" .. dir .. "'") end)

    local function run(body, hello)
        local outcome, printed = worker.run(body, nil, { hello = hello })
        assert.equal("done", outcome.message or outcome)
        return printed
    end

    it("hides the store from this process alone, for good", function()
        assert.same({ "nil" }, run(("print((io.open('%s/store/secret')))"):format(dir),
            { confine = 1, store = dir .. "/store" }))
        assert.equal("x", files.read(dir .. "/store/secret"))
    end)

    it("does without a store that is not there", function()
        assert.same({ "fine" }, run("print 'fine'", { confine = 1, store = dir .. "/none" }))
    end)

    it("gives up new privileges, and filters calls", function()
        assert.same({ "1" }, run(status "NoNewPrivs", { confine = 1, store = dir .. "/store" }))
        assert.same({ "2" }, run(status "Seccomp", { confine = 1, store = dir .. "/store" }))
    end)

    it("does nothing when it is not asked to", function()
        assert.same({ "0" }, run(status "NoNewPrivs"))
        assert.same({ "file" }, run(("print(tostring(io.open('%s/store/secret')):sub(1, 4))"):format(dir)))
    end)

    it("refuses a user that there is not", function()
        local text = worker.check({ ["h.lua"] = "" }, { user = "nobody-by-that-name" })
        assert.equal('workers.user: there is no user "nobody-by-that-name"', text)
    end)
end)

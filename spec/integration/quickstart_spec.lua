-- The quickstart's own configuration and handlers, fed with the event that its script tells people to post.
local evrt = require "spec.support.evrt"
local leak = require "spec.support.leak"
local uv = require "luv"

describe("the quickstart", function()
    leak.guard(before_each, after_each)

    local top = assert(uv.cwd())

    it("handles a webhook, and the event that its handler publishes", function()
        local dir = evrt.folder()
        assert.equal(0, os.execute(("cp -r '%s/examples/quickstart/.' '%s' && rm -rf '%s/data'"):format(top, dir, dir)))
        local node = evrt.start { dir = dir, config = evrt.read(dir .. "/evrt.yaml"),
            args = { "--set", "http.listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0" } }
        local answer = node:post("/events", evrt.read(dir .. "/issue.json"), {
            ["ce-specversion"] = "1.0", ["ce-type"] = "com.github.issues", ["ce-source"] = "/evrt/quickstart",
            ["Content-Type"] = "application/json",
        })
        assert.equal(202, answer.status)
        assert.equal("fsync", answer.json.durability)
        local triaged = node:await_log { msg = "issue triaged", handler = "IssueTriage" }
        assert.same({ 42, "bug", answer.json.seq }, { triaged.issue, triaged.label, triaged.seq })
        local announced = node:await_log { msg = "label announced", handler = "Announcer" }
        assert.same({ "acme/rocket#42", "bug" }, { announced.issue, announced.label })
        node:await_log({ msg = "seen", handler = "AuditTrail" }, nil, 2)
        assert.equal(0, (node:stop()))
    end)

    it("is checked by `evrt check`", function()
        local code, out, err = evrt.run({ "check", "examples/quickstart/evrt.yaml" })
        assert.equal(0, code, out .. err)
    end)
end)

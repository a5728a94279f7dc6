-- The quickstart's own configuration and handlers, fed with the event that its script tells people to post.
local evrt = require "spec.support.evrt"
local leak = require "spec.support.leak"
local ports = require "spec.support.ports"
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

    it("is what its script builds and launches, and the line that it prints works #plain", function()
        local port = ports.two()
        local script = evrt.spawn {
            program = "sh", args = { "examples/quickstart.sh", "--port", tostring(port) },
            env = { EVRT_SET_STORE__PATH = evrt.folder() .. "/data" },
        }
        script:await_log({ msg = "evrt ready" }, 600)
        local line
        for _, text in ipairs(script.err) do line = line or text:match "^%s+(curl %-i .+)$" end
        assert.truthy(line, "no curl line")
        local curl = evrt.spawn { program = "sh", args = { "-c", line } }
        assert.equal(0, curl:wait(60))
        assert.truthy(table.concat(curl.out, "\n"):find("202 Accepted", 1, true))
        assert.equal(42, script:await_log({ msg = "issue triaged", handler = "IssueTriage" }).issue)
        assert.equal(0, (script:stop()))
    end)

    it("is checked by `evrt check`", function()
        local code, out, err = evrt.run({ "check", "examples/quickstart/evrt.yaml" })
        assert.equal(0, code, out .. err)
    end)
end)

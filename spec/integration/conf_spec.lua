-- The configurations of other programs that evrt ships, given to these programs.
local evrt = require "spec.support.evrt"
local leak = require "spec.support.leak"
local rules = require "spec.support.rules"
local tools = require "spec.support.tools"

local function holds(script)
    local code, said = tools.sh(script, { seconds = 300 })
    assert.equal(0, code, said)
end

describe("conf #plain", function()
    leak.guard(before_each, after_each)

    it("has a logrotate file after which evrt writes to a new file", function()
        local dir = evrt.folder()
        assert(os.execute(("mkdir -m 755 %s/log"):format(dir)) == 0)
        local path = dir .. "/log/evrt.log"
        local node = evrt.start { config = { logging = { outputs = { "stdout", path } } }, handlers = {} }
        local text = evrt.read "conf/logrotate"
        local count, signals
        text, count = text:gsub("/var/log/evrt/", dir .. "/log/")
        assert.equal(2, count)
        text, signals = text:gsub("systemctl kill [^\n]+ %-%-signal=SIG(%w+) evrt.service", "kill -%1 " .. node.pid)
        assert.equal(1, signals)
        evrt.write(dir .. "/logrotate", text)
        assert(os.execute(("chmod 644 %s/logrotate"):format(dir)) == 0)
        holds(("logrotate -f -s %s/state %s/logrotate"):format(dir, dir))
        node:await_log { msg = "Log file reopened" }
        assert.equal(0, (node:stop()))
        assert.truthy(evrt.read(path .. ".1"):find('"msg":"evrt ready"', 1, true))
        assert.truthy(evrt.read(path):find('"msg":"Drained"', 1, true))
    end)

    it("has a profile for development and one for production", function()
        -- Where logs go has to be there; on this machine it may not be.
        local outputs = evrt.read "conf/production.yaml":match "outputs: (%b[])"
        local logs, count = outputs:gsub("/var/log/evrt/", evrt.folder() .. "/")
        assert.equal(1, count)
        for profile, args in pairs { dev = {}, production = { "--set", "logging.outputs=" .. logs } } do
            local code, out, err = evrt.run { "check", ("conf/%s.yaml"):format(profile), unpack(args) }
            assert.equal(0, code, out .. err)
        end
        local node = evrt.spawn {
            args = { "run", "conf/dev.yaml", "--set", "store.path=" .. evrt.folder(),
                "--set", "http.listen=127.0.0.1:0",
                "--set", "admin.listen=127.0.0.1:0" },
        }
        node:await("it to be ready, in the console's form", function()
            for _, line in ipairs(node.out) do
                if line:find("INFO  evrt ready", 1, true) then return true end
            end
        end)
        assert.equal(0, (node:stop()))
    end)

    it("has an Alertmanager configuration that Alertmanager takes", function()
        holds "amtool check-config conf/alertmanager/alertmanager.yml"
    end)

    it("has Prometheus rules that say what their tests say", function()
        holds "promtool check config conf/prometheus/prometheus.yml"
        holds "promtool test rules conf/prometheus/*.test.yml"
    end)

    it("has a test of each alert and of each recorded rule", function()
        local all, tests = rules.read "conf/prometheus/evrt.rules.yml", rules.tests "conf/prometheus"
        assert.is_true(#rules.of(all, "alert") >= 18)
        assert.is_true(#rules.of(all, "record") >= 15)
        assert.same({}, rules.untested(all, tests))
        -- One that is new is noticed, as is one of which nothing shows that it ends.
        table.insert(all.groups[1].rules, { alert = "EvrtNew", expr = "up == 2", ["for"] = "1m" })
        table.insert(all.groups[1].rules, { record = "job:new:rate5m", expr = "up" })
        for _, test in ipairs(tests) do
            for _, case in ipairs(test.alert_rule_test or {}) do
                if case.alertname == "EvrtDown" and #case.exp_alerts == 0 then case.alertname = "Another" end
            end
        end
        assert.same({ "EvrtNew", "job:new:rate5m", "EvrtDown" }, rules.untested(all, tests))
    end)

    it("has YAML for log shippers that reads evrt's fields", function()
        for _, file in ipairs { "conf/loki/promtail.yaml", "conf/filebeat/filebeat.yml" } do
            holds(('/usr/bin/python3 -c \'import sys, yaml; yaml.safe_load(open(sys.argv[1]))\' %s'):format(file))
        end
        local sample = evrt.read "conf/filebeat/filebeat.yml":match 'test:%s+%- "([^"]+)"'
        assert.truthy(sample:match "^%d+%-%d+%-%d+T%d+:%d+:%d+%.%d%d%dZ$")
    end)
end)

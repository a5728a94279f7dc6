-- Prometheus' rules that evrt ships, and their tests.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"

local rules = {}

--- A YAML file's contents.
function rules.read(path)
    local node = evrt.spawn { program = "/usr/bin/python3",
        args = { "-c", "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))", path } }
    node:wait()
    assert(node.code == 0, node:said())
    return cjson.decode(table.concat(node.out))
end

--- The tests of all test files in a folder.
function rules.tests(dir)
    local all = {}
    local pipe = assert(io.popen("ls " .. dir .. "/*.test.yml"))
    for path in pipe:lines() do
        for _, test in ipairs(rules.read(path).tests) do all[#all + 1] = test end
    end
    pipe:close()
    return all
end

--- The rules that are alerts ("alert") or recorded ("record"), in order.
function rules.of(file, kind)
    local list = {}
    for _, group in ipairs(file.groups) do
        for _, rule in ipairs(group.rules) do
            if rule[kind] then list[#list + 1] = rule end
        end
    end
    return list
end

local function seconds(time)
    local sum = 0
    for number, unit in tostring(time):gmatch "(%d+)(%a)" do
        sum = sum + number * ({ s = 1, m = 60, h = 3600, d = 86400 })[unit]
    end
    return sum
end

-- Whether one test sees the alert quiet, then firing, then quiet again.
local function alert_is_tested(name, tests)
    for _, test in ipairs(tests) do
        local cases = {}
        for _, case in ipairs(test.alert_rule_test or {}) do
            if case.alertname == name then cases[#cases + 1] = case end
        end
        table.sort(cases, function(a, b) return seconds(a.eval_time) < seconds(b.eval_time) end)
        local seen = ""
        for _, case in ipairs(cases) do seen = seen .. (#case.exp_alerts > 0 and "!" or ".") end
        if seen:find "%.!+%." then return true end
    end
end

-- Whether one test has the value of what is recorded.
local function record_is_tested(name, tests)
    for _, test in ipairs(tests) do
        for _, case in ipairs(test.promql_expr_test or {}) do
            local from, to = case.expr:find(name, 1, true)
            if from and not case.expr:find("^[%w_:]", to + 1) and #case.exp_samples > 0 then return true end
        end
    end
end

--- The names of those that no test is about.
function rules.untested(file, tests)
    local names = {}
    for _, group in ipairs(file.groups) do
        for _, rule in ipairs(group.rules) do
            if rule.alert and not alert_is_tested(rule.alert, tests)
                or rule.record and not record_is_tested(rule.record, tests) then
                names[#names + 1] = rule.alert or rule.record
            end
        end
    end
    return names
end

return rules

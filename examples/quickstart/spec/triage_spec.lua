-- Specs of the handlers: cd examples/quickstart && evrt test
-- They run in a worker, with an empty store in memory; what is published here is handled.
local evrt = require "evrt"

-- Publishes an event and waits for its handlers: handler -> its outcome.
local function handle(event)
    local sent = assert(evrt.publish(event, { wait = "handled" }))
    local outcomes = {}
    for _, one in ipairs(sent.outcomes) do outcomes[one.handler] = one.outcome end
    return outcomes
end

local function issue(number, title, action)
    return {
        type = "com.github.issues",
        data = {
            action = action or "opened", repository = { full_name = "acme/rocket" },
            issue = { number = number, title = title, user = { login = "ada" } },
        },
    }
end

-- The labels that were proposed for an issue: what handlers published is in the store.
local function proposed(number)
    return (evrt.fold("triage", "acme/rocket#" .. number, function(labels, event)
        labels[#labels + 1] = event.data.label
        return labels
    end, { initial = {} }))
end

describe("IssueTriage", function()
    it("proposes a label for an issue that was opened", function()
        assert.same({ AuditTrail = "success", IssueTriage = "success" }, handle(issue(1, "It crashes")))
        assert.same({ "bug" }, proposed(1))
    end)

    it("leaves others alone", function()
        handle(issue(2, "It crashes", "closed"))
        assert.same({}, proposed(2))
    end)
end)

describe("Announcer", function()
    it("rejects a proposal without a label", function()
        assert.equal("dead", handle({ type = "triage.label-proposed", data = {} }).Announcer)
    end)
end)

describe("labels", function()
    local labels = require "_labels"

    it("go by the first word that is known", function()
        assert.equal("question", labels.propose "How do I land?")
        assert.equal("needs-triage", labels.propose "Landing")
    end)
end)

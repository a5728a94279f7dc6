-- Looks at every GitHub issue that is opened and proposes a label for it, as an event of its own. Other
-- handlers take it from there (see notify.lua), at their own pace and with their own failures.
local evrt = require "evrt"
local labels = require "_labels"

return {
    name = "IssueTriage",
    events = { "com.github.issues" },
    handle = function(event, ctx)
        local data = event.data
        if data.action ~= "opened" then
            return
        end
        local issue = data.issue
        local label = labels.propose(issue.title)
        ctx.log.info("issue triaged", { issue = issue.number, title = issue.title, label = label })
        -- Waits, without holding up other deliveries, until the new event is durable.
        evrt.publish {
            type = "triage.label-proposed",
            subject = ("%s#%d"):format(data.repository.full_name, issue.number),
            data = { issue = issue.number, author = issue.user.login, label = label },
        }
    end,
}

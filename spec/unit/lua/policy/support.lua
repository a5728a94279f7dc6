-- One handler with policies, in a worker of its own that is answered as the host does.
local worker = require "spec.support.worker"

local support = {}

--- `policies`: the text between the braces of a handler's list. `body`: of handle.
function support.text(policies, body)
    return ([[local evrt = require "evrt"
return { name = "H", events = "**", policies = { %s }, handle = function(event, ctx)
%s
end }]]):format(policies, body or "")
end

--- options: store, files, hello.
function support.start(policies, body, options)
    options = options or {}
    local files = { ["h.lua"] = support.text(policies, body) }
    for path, text in pairs(options.files or {}) do files[path] = text end
    local w = worker.start(files, options.hello)
    local ready = require "cjson".decode(w:expect("READY").text)
    return w:share_with(options.store or worker.store()), ready.handlers[1]
end

--- Why the policies are refused.
function support.refused(policies)
    return worker.check { ["h.lua"] = support.text(policies) } or "nothing"
end

return support

-- The handler of the conformance suite: appends what it was given to a file beside the configuration, as
--
--     header: lengths of the four parts, a JSON array, a newline; then the parts and a newline
--     attributes (JSON), event.raw, event.data in a notation of its own, evrt.json.encode(event.data)
--
-- The notation shows event.data without evrt.json's encoder: one value a line, '[' and '{' with a count.
local evrt = require "evrt"

local function show(value, out)
    local kind = type(value)
    if value == evrt.json.null then
        out[#out + 1] = "null"
    elseif kind == "table" and evrt.json.is_array(value) then
        out[#out + 1] = "[" .. #value
        for _, element in ipairs(value) do show(element, out) end
    elseif kind == "table" then
        local names = {}
        for name in pairs(value) do names[#names + 1] = name end
        out[#out + 1] = "{" .. #names
        for _, name in ipairs(names) do
            show(name, out)
            show(value[name], out)
        end
    elseif kind == "string" then
        out[#out + 1] = '"' .. (value:gsub("[%z\1-\31\\]", function(c) return ("\\%02x"):format(c:byte()) end))
    elseif kind == "number" then
        out[#out + 1] = ("#%.17g"):format(value)
    else
        out[#out + 1] = tostring(value)
    end
    return out
end

return {
    name = "Recorder",
    events = "**",
    handle = function(event)
        local data = event.data
        local parts = {
            assert(evrt.json.encode {
                id = event.id, type = event.type, source = event.source, time = event.time, subject = event.subject,
                datacontenttype = event.datacontenttype, dataschema = event.dataschema,
                extensions = event.extensions, seq = event.seq, has_data = event.raw ~= nil,
            }),
            event.raw or "",
            data ~= nil and table.concat(show(data, {}), "\n") or "",
            data ~= nil and event.datacontenttype ~= "application/octet-stream"
                and assert(evrt.json.encode(data)) or "",
        }
        local lengths = {}
        for i, part in ipairs(parts) do lengths[i] = #part end
        local file = assert(io.open(os.getenv "EVRT_RECORD", "ab"))
        file:write("[", table.concat(lengths, ","), "]\n", table.concat(parts), "\n")
        file:close()
    end,
}

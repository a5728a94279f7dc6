-- OTLP's trace requests, decoded for specs: a plain reader of protobuf's wire format and the standard's field
-- numbers, which share nothing with the code that writes them.
local protobuf = {}

local function varint(s, at)
    local value, scale = 0, 1
    while true do
        local b = assert(s:byte(at), "cut varint")
        value = value + (b % 128) * scale
        scale, at = scale * 128, at + 1
        if b < 128 then return value, at end
    end
end

local function fixed(s, at, n)
    local value = 0
    for i = n - 1, 0, -1 do value = value * 256 + s:byte(at + i) end
    return value, at + n
end

--- Fields of a message: { [number] = { values } }.
function protobuf.fields(s)
    local found, at = {}, 1
    while at <= #s do
        local key, value
        key, at = varint(s, at)
        local number, wire = math.floor(key / 8), key % 8
        if wire == 0 then
            value, at = varint(s, at)
        elseif wire == 1 then
            value = s:sub(at, at + 7)
            at = at + 8
        elseif wire == 2 then
            local n
            n, at = varint(s, at)
            assert(at + n - 1 <= #s, "cut field")
            value, at = s:sub(at, at + n - 1), at + n
        elseif wire == 5 then
            value, at = fixed(s, at, 4)
        else
            error("wire type " .. wire)
        end
        found[number] = found[number] or {}
        table.insert(found[number], value)
    end
    return found
end

local function one(fields, number) return fields[number] and fields[number][1] end

local function hex(s) return s and (s:gsub(".", function(b) return ("%02x"):format(b:byte()) end)) end

local function attributes(list)
    local found = {}
    for _, bytes in ipairs(list or {}) do
        local pair = protobuf.fields(bytes)
        local value = protobuf.fields(one(pair, 2))
        local name = one(pair, 1)
        assert(found[name] == nil, "an attribute twice: " .. name)
        if value[1] then
            found[name] = value[1][1]
        elseif value[2] then
            found[name] = value[2][1] ~= 0
        elseif value[3] then
            found[name] = value[3][1]
        else
            found[name] = value[4] and "double"
        end
    end
    return found
end

local function time(bytes) return (fixed(bytes, 1, 8)) end

local function span(bytes)
    local f = protobuf.fields(bytes)
    local s = {
        trace_id = hex(one(f, 1)), span_id = hex(one(f, 2)), state = one(f, 3), parent = hex(one(f, 4)),
        name = one(f, 5),
        kind = one(f, 6), start = time(one(f, 7)), ["end"] = time(one(f, 8)), attributes = attributes(f[9]),
        dropped = one(f, 10), flags = one(f, 16), status = 0, events = {}, links = {},
    }
    for _, event in ipairs(f[11] or {}) do
        local e = protobuf.fields(event)
        table.insert(s.events, { name = one(e, 2), attributes = attributes(e[3]) })
    end
    for _, link in ipairs(f[13] or {}) do table.insert(s.links, hex(one(protobuf.fields(link), 2))) end
    if f[15] then
        local status = protobuf.fields(f[15][1])
        s.status, s.message = one(status, 3) or 0, one(status, 2)
    end
    return s
end

--- { resource = attributes, scope = name, spans = { ... } } of an ExportTraceServiceRequest.
function protobuf.traces(bytes)
    local of_resource = protobuf.fields(one(protobuf.fields(bytes), 1))
    local of_scope = protobuf.fields(one(of_resource, 2))
    local all = {
        resource = attributes(protobuf.fields(one(of_resource, 1))[1]),
        scope = one(protobuf.fields(one(of_scope, 1)), 1),
        spans = {},
    }
    for i, bytes_of_one in ipairs(of_scope[2] or {}) do all.spans[i] = span(bytes_of_one) end
    return all
end

return protobuf

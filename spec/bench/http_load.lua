-- The load of spec/bench/http, for wrk: wrk ... -s http_load.lua URL -- single|batch. POSTs structured
-- CloudEvents of 300 bytes, one or 100 a request, and prints what came of it as a JSON object.
local SIZE, BATCH = 300, 100
-- luacheck: globals wrk init done

local function event()
    local head = '{"specversion":"1.0","type":"comment.created","source":"/app/comments","subject":"post/17",'
        .. '"datacontenttype":"application/json","data":{"user_id":4711,"text":"'
    local tail = '","n":3.25}}'
    return head .. ("x"):rep(SIZE - #head - #tail) .. tail
end

function init(args)
    wrk.method = "POST"
    wrk.body = event()
    wrk.headers["Content-Type"] = "application/cloudevents+json"
    if args[1] == "batch" then
        wrk.body = "[" .. (event() .. ","):rep(BATCH - 1) .. event() .. "]"
        wrk.headers["Content-Type"] = "application/cloudevents-batch+json"
    end
end

function done(summary, latency)
    local errors = summary.errors
    io.write(('result {"requests":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"errors":%d}\n'):format(
        summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end

-- A first handler: answers "hello.*" events with a line in the log. Try it:
--
--     evrt publish hello.world -d '{"name":"Ada"}'
return {
    name = "HelloHandler",
    events = { "hello.*" },
    handle = function(event, ctx)
        local data = event.data
        ctx.log.info("hello", { name = type(data) == "table" and data.name or "world" })
    end,
}

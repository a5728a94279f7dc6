-- A ledger: balances, what became of each transfer, and a receipt for each, all of which take effect with the
-- completion of a delivery or not at all.
local function account(number) return ("account:%04d"):format(number) end

return {
    {
        name = "Ledger",
        events = { "accounts.opened", "transfer.requested" },
        handle = function(event, ctx)
            local data = event.data
            if event.type == "accounts.opened" then
                for number = 1, data.count do ctx.kv.set(account(number), data.balance) end
                return
            end
            local from, to = account(data.from), account(data.to)
            -- What a compare-and-set saw still holds when this is done, or the delivery is made again.
            local left, right
            repeat
                left = ctx.kv.get(from)
                local moves = left >= data.amount and from ~= to
            until not moves or ctx.kv.cas(from, left, left - data.amount)
            local moved = left >= data.amount and from ~= to
            if moved then
                repeat right = ctx.kv.get(to) until ctx.kv.cas(to, right, right + data.amount)
            end
            ctx.kv.incr("transfer:" .. data.id)
            ctx.publish { type = "receipt.issued", data = { id = data.id, moved = moved } }
        end,
    },
    {
        name = "Receipts",
        events = "receipt.issued",
        handle = function(event, ctx)
            ctx.kv.incr("receipt:" .. event.data.id)
        end,
    },
}

-- A loop without an end. Once LuaJIT has compiled it, nothing inside of the process can stop it.
return {
  name = "EndlessLoop",
  events = { "bad.loop" },
  handle = function()
    local n = 0
    while true do
      n = n + 1
    end
  end,
}

-- Keeps everything, and more of it.
return {
  name = "MemoryHog",
  events = { "bad.memory" },
  handle = function()
    local kept = {}
    while true do
      kept[#kept + 1] = ("x"):rep(1000) .. #kept
    end
  end,
}

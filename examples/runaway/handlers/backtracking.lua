-- A pattern that backtracks for longer than anyone waits: one call of a C function, deaf to everything.
return {
  name = "Backtracking",
  events = { "bad.pattern" },
  handle = function()
    local text, pattern = ("a"):rep(40), ("a-"):rep(30) .. "b"
    return text:find(pattern)
  end,
}

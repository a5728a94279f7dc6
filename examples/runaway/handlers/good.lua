-- The one that behaves: it gets every event that the others get, and must handle all of them.
return {
  name = "Good",
  events = { "**" },
  handle = function(event)
    assert(event.data.n)
  end,
}

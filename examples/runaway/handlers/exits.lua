-- Ends the process that it runs in.
return {
  name = "Exits",
  events = { "bad.exit" },
  handle = function()
    os.exit(3)
  end,
}

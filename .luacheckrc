-- luacheck's settings: LuaJIT (evrt's Lua), busted in specs.
std = "luajit"
max_line_length = 120
codes = true
exclude_files = { "build", "spec/conformance/node_modules" }
files["spec"] = { std = "+busted" }
files["examples/quickstart/spec"] = { std = "+busted" }

-- Every request asks for something that nobody asked for before.
-- Arguments (after --): PREFIX.
local prefix, at = "", 0

function init(args) prefix = args[1] end

function request()
  at = at + 1
  return wrk.format("GET", prefix .. at)
end

dofile((debug.getinfo(1, "S").source:sub(2):match("^.*/") or "") .. "done.lua")

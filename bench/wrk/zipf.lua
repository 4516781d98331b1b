-- Reads of many keys, drawn as Zipf (exponent 1) would. Drawn beforehand: a request under load is
-- one look into a table.
-- Arguments (after --): PREFIX, KEYS. The n-th key is PREFIX..n, from 0.
local requests, draws, at = {}, {}, 0
local DRAWS = 65536

function init(args)
  local prefix, keys = args[1], tonumber(args[2])
  for n = 0, keys - 1 do requests[n] = wrk.format("GET", prefix .. n) end
  local sums, sum = {}, 0
  for rank = 1, keys do
    sum = sum + 1 / rank
    sums[rank] = sum
  end
  math.randomseed(7)
  for i = 0, DRAWS - 1 do
    local wanted, low, high = math.random() * sum, 1, keys
    while low < high do
      local middle = math.floor((low + high) / 2)
      if sums[middle] <= wanted then low = middle + 1 else high = middle end
    end
    draws[i] = low - 1
  end
end

function request()
  at = (at + 1) % DRAWS
  return requests[draws[at]]
end

dofile((debug.getinfo(1, "S").source:sub(2):match("^.*/") or "") .. "done.lua")

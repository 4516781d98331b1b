-- After common.lua, in front of the scripts that look at the stream.

-- XINFO as a table; nil if there is no stream.
local function sight(stream)
  local info = redis.pcall('XINFO', 'STREAM', stream)
  if info.err then
    return nil
  end
  local seen = {}
  for at = 1, #info, 2 do
    seen[info[at]] = info[at + 1]
  end
  return seen
end

-- Servers before version 7 do not count: then some may be missing.
local function incomplete(seen)
  return not seen['entries-added'] or seen['entries-added'] > seen['length']
    or seen['max-deleted-entry-id'] ~= '0-0'
end

-- Is this very entry there?
local function holds(stream, id)
  local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
  local before_it
  if tonumber(sequence) > 0 then
    before_it = ms .. '-' .. string.format('%.0f', tonumber(sequence) - 1)
  else
    before_it = string.format('%.0f', tonumber(ms) - 1) .. '-18446744073709551615'
  end
  local found = redis.call('XREAD', 'COUNT', 1, 'STREAMS', stream, before_it)
  return found and found[1] and found[1][2][1][1] == id
end

-- Has the stream been lost since it was opened with a fence, as far as who asks can tell that has
-- applied so much, knows one life and has crossed the fence of another ('': none)? See look.lua.
local function fence_is_due(stream, seen, life, applied, known, crossed)
  if not seen or not life then
    return true
  end
  local opened, at = string.match(life, '^(%S+) (%d+%-%d+)$')
  return opened ~= epoch()
    or before(seen['last-generated-id'], applied)
    or (known ~= '' and life ~= known and life ~= crossed and not before(applied, at))
    or (not incomplete(seen) and not holds(stream, at))
end

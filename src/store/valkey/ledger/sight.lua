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
    or (not incomplete(seen) and #redis.call('XRANGE', stream, at, at) == 0)
end

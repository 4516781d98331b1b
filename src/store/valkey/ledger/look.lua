-- Looks at the stream: on every new connection, and about once a second after that, since a stream
-- that was flushed or evicted breaks no connection. Opens a new life with a fence if need be; says
-- how far this instance is; and invalidates what was announced by those who never said how it ended.
--
-- A fence is due if
--   the stream is missing, or nobody has opened it,
--   the server is not the one that it was opened on,
--   it ends before what this process has read (it was rolled back),
--   it is another one than this process knew, and its fence is not above all this process knew
--   before it (clocks differ), or
--   the fence that opened it is not in it although nothing was trimmed (it was lost, and somebody
--   appended to it by hand).
--
-- KEYS  the stream, the namespaces, the instances, the intents
-- ARGV  life that this process knows or '', its applied position, the next one, lead of a fence
--       (ms), most entries, instance, silence after which an instance is forgotten (ms),
--       the life whose fence it has read, and found above all it knew, or ''
-- Returns the life, the last ID of the stream, whether entries are missing from it (1 or 0), the
-- first ID in it or '', the highest ID deleted by hand or '', and for each instance: its name,
-- its applied position, its silence (ms).

local stream, namespaces, instances, intents = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local known, applied, least, lead, longest, instance, patience, crossed = unpack(ARGV)

local seen, life = sight(stream), redis.call('HGET', namespaces, '')
if fence_is_due(stream, seen, life, applied, known, crossed) then
  life = fence(stream, namespaces, least, tonumber(lead), longest, instance)
  seen = sight(stream)
end

-- At most this many at once: the next look comes soon.
local ORPHANS = 500

-- An intent is a list of texts: the cause, the instance, its ticket, names.
local function read(intent)
  local good, parts = pcall(cjson.decode, intent)
  if not good or type(parts) ~= 'table' then
    return nil
  end
  for at = 1, #parts do
    if type(parts[at]) ~= 'string' then
      return nil
    end
  end
  return parts
end

-- Its deadline has passed: whoever announced it is gone, or what was to settle has.
local function close(intent)
  local parts = read(intent)
  if not parts or #parts < 4 then
    return
  end
  local fields, bumped = {}, {}
  for at = 4, #parts do
    table.insert(fields, 'n')
    table.insert(fields, parts[at])
    local namespace = string.match(parts[at], '^namespace:(.+)$')
    if namespace then
      table.insert(bumped, namespace)
    end
  end
  for _, field in ipairs({ 'w', instance, 'c', parts[1] }) do
    table.insert(fields, field)
  end
  invalidate(stream, namespaces, least, longest, fields, bumped)
end

local now = clock()
local due = redis.call(
  'ZRANGE', intents, '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, ORPHANS
)
for _, intent in ipairs(due) do
  -- One that cannot be closed must not keep the ledger from everybody.
  pcall(close, intent)
  redis.call('ZREM', intents, intent)
end
if #due > 0 then
  seen = sight(stream)
end

redis.call('HSET', instances, instance, applied .. ' ' .. string.format('%.0f', now))
local others, all = {}, redis.call('HGETALL', instances)
for at = 1, #all, 2 do
  local position, beat = string.match(all[at + 1], '^(%d+%-%d+) (%d+)$')
  local silence = beat and math.max(0, now - tonumber(beat))
  if not silence or silence > tonumber(patience) then
    redis.call('HDEL', instances, all[at])
  else
    table.insert(others, all[at])
    table.insert(others, position)
    table.insert(others, silence)
  end
end

local first = seen['first-entry'] and seen['first-entry'][1] or ''
return {
  life, seen['last-generated-id'], incomplete(seen) and 1 or 0, first,
  seen['max-deleted-entry-id'] or '', others,
}

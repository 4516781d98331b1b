-- Appends one invalidation, and notes the versions of the namespaces in it.
--
-- KEYS  the stream, the namespaces
-- ARGV  lowest ID allowed, lead of a fence (ms), most entries, oldest age (ms), writer,
--       number of fields and values, these, then the namespaces
-- Returns the ID.

local stream, namespaces = KEYS[1], KEYS[2]
local least, lead, longest, oldest, writer = unpack(ARGV, 1, 5)
local last = 6 + tonumber(ARGV[6])

-- A stream that begins with anything but a fence would look as if it had never been lost.
if redis.call('EXISTS', stream) == 0 or redis.call('HEXISTS', namespaces, '') == 0 then
  fence(stream, namespaces, least, tonumber(lead), longest, writer)
end

local id = append(stream, least, longest, { unpack(ARGV, 7, last) })

for at = last + 1, #ARGV do
  local version = redis.call('HGET', namespaces, ARGV[at])
  if not version or not string.match(version, '^%d+-%d+$') or before(version, id) then
    redis.call('HSET', namespaces, ARGV[at], id)
  end
end

local horizon = clock() - tonumber(oldest)
if horizon > 0 then
  redis.call('XTRIM', stream, 'MINID', '~', string.format('%.0f', horizon))
end

return id

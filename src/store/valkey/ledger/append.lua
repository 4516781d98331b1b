-- Appends one invalidation, notes the versions of the namespaces in it, and takes back the announced
-- write that ends with it.
--
-- KEYS  the stream, the namespaces, the intents
-- ARGV  lowest ID allowed, lead of a fence (ms), most entries, oldest age (ms), writer, the intent or
--       '', number of fields and values, these, then the namespaces
-- Returns the ID.

local stream, namespaces, intents = KEYS[1], KEYS[2], KEYS[3]
local least, lead, longest, oldest, writer, intent = unpack(ARGV, 1, 6)
local last = 7 + tonumber(ARGV[7])

-- A stream that begins with anything but a fence would look as if it had never been lost.
if redis.call('EXISTS', stream) == 0 or redis.call('HEXISTS', namespaces, '') == 0 then
  fence(stream, namespaces, least, tonumber(lead), longest, writer)
end

local fields, bumped = { unpack(ARGV, 8, last) }, { unpack(ARGV, last + 1) }
local id = invalidate(stream, namespaces, least, longest, fields, bumped)
if intent ~= '' then
  redis.call('ZREM', intents, intent)
end

local horizon = clock() - tonumber(oldest)
if horizon > 0 then
  redis.call('XTRIM', stream, 'MINID', '~', string.format('%.0f', horizon))
end

return id

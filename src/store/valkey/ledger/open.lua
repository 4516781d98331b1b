-- Before anything is appended on a new connection, or after a pause: opens a new life with a fence if
-- need be, as look.lua does, which may come later. What is appended to a stream that was lost stands where the
-- stream ends, and that may be below what others have read before: they would say that they know it.
--
-- KEYS  the stream, the namespaces
-- ARGV  position that this process has applied, the next one, lead of a fence (ms), most entries,
--       instance
-- Returns the life.

local stream, namespaces = KEYS[1], KEYS[2]
local applied, least, lead, longest, instance = unpack(ARGV)

local life = redis.call('HGET', namespaces, '')
if fence_is_due(stream, sight(stream), life, applied, '', '') then
  life = fence(stream, namespaces, least, tonumber(lead), longest, instance)
end
return life

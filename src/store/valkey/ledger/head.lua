-- Says where the stream ends, to who must know everything that was ever acknowledged. Changes
-- nothing: a fence that is due is the tail's to append.
--
-- KEYS  the stream, the namespaces
-- ARGV  the position that this process had applied when it asked
-- Returns the life and the last ID of the stream; nothing if that end means nothing, because a
-- fence is due (see look.lua), or because this server only follows another one.

local stream, namespaces = KEYS[1], KEYS[2]
local seen, life = sight(stream), redis.call('HGET', namespaces, '')
if not is_primary() or fence_is_due(stream, seen, life, ARGV[1], '', '') then
  return false
end
return { life, seen['last-generated-id'] }

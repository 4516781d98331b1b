-- Does for records that somebody appended by hand what append.lua does for its own: notes the
-- versions of the namespaces in them, and trims the stream.
--
-- KEYS  the stream, the namespaces
-- ARGV  most entries, oldest age (ms), then namespaces, each followed by its version

local stream, namespaces = KEYS[1], KEYS[2]
local longest, oldest = ARGV[1], ARGV[2]

for at = 3, #ARGV, 2 do
  local version = redis.call('HGET', namespaces, ARGV[at])
  if not version or not string.match(version, '^%d+-%d+$') or before(version, ARGV[at + 1]) then
    redis.call('HSET', namespaces, ARGV[at], ARGV[at + 1])
  end
end

redis.call('XTRIM', stream, 'MAXLEN', '~', longest)
local horizon = clock() - tonumber(oldest)
if horizon > 0 then
  redis.call('XTRIM', stream, 'MINID', '~', string.format('%.0f', horizon))
end
return 0

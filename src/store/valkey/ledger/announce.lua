-- Announces a write, or puts off the deadline of one that was announced.
--
-- KEYS  the intents
-- ARGV  the intent, how long from now its deadline is (ms)
-- Returns the deadline, by the server's clock (ms).

local time = redis.call('TIME')
local deadline = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], string.format('%.0f', deadline), ARGV[1])
return string.format('%.0f', deadline)

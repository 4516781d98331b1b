-- Says how far an instance is, for somebody who waits for it.
--
-- KEYS  the instances
-- ARGV  instance, its applied position

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. string.format('%.0f', clock()))
return 1

-- Drops versions of namespaces that tell nobody anything any more: a page of them per call.
--
-- A version goes if it is older than records are kept, and if everything in the stream is younger.
-- Without it, its namespace has the version of an ancestor, or none, and so the keys it had before
-- the bump. Nothing that lies under these keys comes back to life:
--   what has its lifetime from the configuration has left: no lifetime, windows included, is longer
--   than records are kept;
--   what the origin gave a longer one was filled before the bump, and whoever does not have the
--   version cannot vouch for that time: it began to read the stream when the record of the bump was
--   trimmed already (`Doubt::Forgotten`), or has dropped the version and everything before it.
-- A process that had the version keeps it, and its keys: until the next bump it shares nothing in
-- this namespace with those that came later. That is all.
--
-- KEYS  the stream, the namespaces
-- ARGV  cursor, about how many to look at, how long records are kept (ms)
-- Returns the next cursor.

local stream, namespaces = KEYS[1], KEYS[2]
local cursor, count, oldest = unpack(ARGV)

local page = redis.call('HSCAN', namespaces, cursor, 'COUNT', count)
local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
local horizon = clock() - tonumber(oldest)
-- A stream without a first entry says nothing about the time before it.
for at = 1, first and #page[2] or 0, 2 do
  local version = page[2][at + 1]
  -- What is under the empty name is no version.
  local age = string.match(version, '^(%d+)%-%d+$')
  if age and tonumber(age) < horizon and before(version, first[1]) then
    redis.call('HDEL', namespaces, page[2][at])
  end
end
return page[1]

-- In front of the scripts that know what a life of the stream is.

-- The server's clock, in milliseconds.
local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function millis(id)
  return tonumber(string.match(id, '^(%d+)'))
end

-- Does entry `a` come before entry `b`?
local function before(a, b)
  local am, as = string.match(a, '^(%d+)-(%d+)$')
  local bm, bs = string.match(b, '^(%d+)-(%d+)$')
  am, as, bm, bs = tonumber(am), tonumber(as), tonumber(bm), tonumber(bs)
  return am < bm or (am == bm and as < bs)
end

-- Appends an entry whose ID is at least `least`, whatever the clocks say and whatever became of the
-- stream.
local function append(stream, least, longest, fields)
  if millis(least) >= clock() then
    local id = redis.pcall('XADD', stream, 'MAXLEN', '~', longest, least, unpack(fields))
    if type(id) == 'string' then
      return id
    end
    -- The stream is beyond `least` already: then its own next ID is too.
  end
  return redis.call('XADD', stream, 'MAXLEN', '~', longest, '*', unpack(fields))
end

-- Which server this is, and since which promotion. A restart changes the first, a failover the
-- second; a server that was demoted and promoted again has its first one back.
local function epoch()
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or '-'
  local replication = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or '-'
  return run .. ':' .. replication
end

-- Does this server take writes from anybody but the one that it follows?
local function is_primary()
  return string.match(redis.call('INFO', 'replication'), 'role:(%w+)') == 'master'
end

-- Opens an epoch. The fence stands `lead` milliseconds ahead of the clock, so that it is above what
-- a server with a faster clock issued, and what processes took from it, before this one took over.
local function fence(stream, namespaces, least, lead, longest, writer)
  local ahead = string.format('%.0f-0', clock() + lead)
  if before(ahead, least) then
    ahead = least
  end
  local now = epoch()
  local id = append(stream, ahead, longest, { 'k', 'fence', 'e', now, 'w', writer, 'c', 'fence' })
  local life = now .. ' ' .. id
  -- No namespace has an empty name.
  redis.call('HSET', namespaces, '', life)
  return life
end

-- Appends an invalidation, and notes it as the version of these namespaces. Returns its ID.
local function invalidate(stream, namespaces, least, longest, fields, bumped)
  local id = append(stream, least, longest, fields)
  for _, namespace in ipairs(bumped) do
    local version = redis.call('HGET', namespaces, namespace)
    if not version or not string.match(version, '^%d+-%d+$') or before(version, id) then
      redis.call('HSET', namespaces, namespace, id)
    end
  end
  return id
end

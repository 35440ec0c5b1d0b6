-- The requests of a bridge, each atomic. KEYS: the stream, and a hash of the bridges.
local key, bridges = KEYS[1], KEYS[2]

-- Returns the id of the last record that was ever added ('' if there is none), and the record's fields if it still exists.
local function tail()
  if redis.call('EXISTS', key) == 0 then return '', {} end
  local info, id = redis.call('XINFO', 'STREAM', key), ''
  for at = 1, #info, 2 do
    if info[at] == 'last-generated-id' then id = info[at + 1] end
  end
  if id == '0-0' then return '', {} end
  local last = redis.call('XRANGE', key, id, id)
  return id, last[1] and last[1][2] or {}
end

-- tail BRIDGE HOLE KEPT_MS: notes the bridge, and returns the last record and the holes of the others.
if ARGV[1] == 'tail' then
  local time = redis.call('TIME')
  local now, others = time[1] * 1000 + math.floor(time[2] / 1000), {}
  redis.call('HSET', bridges, ARGV[2], string.format('%.0f', now) .. ' ' .. ARGV[3])
  redis.call('PEXPIRE', bridges, ARGV[4])
  local known = redis.call('HGETALL', bridges)
  for at = 1, #known, 2 do
    local since, hole = string.match(known[at + 1], '^(%d+) (.*)$')
    if not since or now - since > tonumber(ARGV[4]) then
      redis.call('HDEL', bridges, known[at])
    elseif known[at] ~= ARGV[2] then
      others[#others + 1] = hole
    end
  end
  local id, fields = tail()
  return {id, fields, others}
end

-- last: returns the last record.
if ARGV[1] == 'last' then
  local id, fields = tail()
  return {id, fields}
end

-- append EXPECTED STREAM {ID COUNT FIELD...}: adds the records if the last one is the expected one.
local id, fields = tail()
if id ~= ARGV[2] then return {id, fields} end
local at = 4
while at < #ARGV do
  local count = tonumber(ARGV[at + 1])
  redis.call('XADD', key, ARGV[at], 's', ARGV[3], unpack(ARGV, at + 2, at + 1 + count))
  at = at + 2 + count
end
return true

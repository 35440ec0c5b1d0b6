-- ARGV: FROM COUNT BYTES. Returns entries of KEYS[1] from FROM on: at most COUNT, and at most one beyond BYTES bytes, so
-- that the response is bounded whatever the entries contain.
local entries, bytes, last = {}, 0, nil
local count, most = tonumber(ARGV[2]), tonumber(ARGV[3])
while true do
  local some = redis.call('XRANGE', KEYS[1], last or ARGV[1], '+', 'COUNT', 33)
  local known = last
  for _, entry in ipairs(some) do
    if entry[1] ~= known then
      if #entries >= count or bytes >= most then return entries end
      entries[#entries + 1], last = entry, entry[1]
      for _, part in ipairs(entry[2]) do bytes = bytes + #part end
    end
  end
  if last == known or #some < 33 then return entries end
end

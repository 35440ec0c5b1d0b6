-- ARGV: FROM COUNT BYTES. Returns entries of KEYS[1] from FROM on, in parts, each an array in MessagePack, which takes half
-- the time of a reply with their fields. They are at most COUNT, and at most one beyond BYTES bytes, so that the response is
-- bounded whatever the entries contain.
local parts, bytes, from, known = {}, 0, ARGV[1], 0
local left, most = tonumber(ARGV[2]), tonumber(ARGV[3])
while left > 0 and bytes < most do
  local wanted = math.min(left, 33)
  local some = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', known + wanted)
  -- After the first call, it starts with an entry that is known: ranges without it need Redis 6.2.
  if known == 1 then table.remove(some, 1) end
  local count, part = #some, cmsgpack.pack(some)
  if bytes + #part > most then
    local kept = {}
    for _, entry in ipairs(some) do
      if bytes >= most then break end
      kept[#kept + 1] = entry
      for _, text in ipairs(entry[2]) do bytes = bytes + #text end
    end
    parts[#parts + 1] = cmsgpack.pack(kept)
    return parts
  end
  parts[#parts + 1], bytes = part, bytes + #part
  if count < wanted then break end
  left, from, known = left - count, some[count][1], 1
end
return parts

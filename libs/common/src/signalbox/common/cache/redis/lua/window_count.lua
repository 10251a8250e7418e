-- Count one event in every window, unless one is full. KEYS: hashes of counts by second. ARGV: seconds, then a limit a key.
-- Returns 0, or the number of the first window that is full, and then nothing is counted.
local now = tonumber(redis.call('TIME')[1])
local span = tonumber(ARGV[1])
for place, key in ipairs(KEYS) do
  local counts, total = redis.call('HGETALL', key), 0
  for at = 1, #counts, 2 do
    -- A second that has begun to leave counts whole: never more than the limit in any span.
    if tonumber(counts[at]) < now - span then
      redis.call('HDEL', key, counts[at])
    else
      total = total + tonumber(counts[at + 1])
    end
  end
  if total >= tonumber(ARGV[place + 1]) then
    return place
  end
end
for _, key in ipairs(KEYS) do
  redis.call('HINCRBY', key, now, 1)
  redis.call('EXPIRE', key, span + 1)
end
return 0

-- Correct a reservation to what was used, and free its parallel units.
-- KEYS: record. ARGV: per limit the actual amount, or '' to leave it; a single '*' gives everything back.
-- Returns 1, or 0 when there is no such reservation (anymore): settled before, released, or expired.
local packed = redis.call('GETDEL', KEYS[1])
if not packed then
  return 0
end

-- Only while the bucket is still counted: what has left the window must not change what came after it.
local function correct(key, bucket, change)
  local field = bucket % BUCKETS
  local state = redis.call('HMGET', key, 'b', field, 't')
  local last, count = tonumber(state[1]), tonumber(state[2] or 0)
  if not last or bucket > last or bucket <= last - BUCKETS then
    return
  end
  change = math.max(change, -count)
  redis.call('HSET', key, field, count + change, 't', state[3] + change)
end

for i, taken in ipairs(cmsgpack.unpack(packed)) do
  local kind, key, place, amount = unpack(taken)
  local actual = ARGV[1] == '*' and 0 or tonumber(ARGV[i])
  if kind == 'p' then
    if redis.call('ZREM', key, place) == 1 then
      redis.call('ZINCRBY', key, amount, 't')
    end
  elseif actual and actual ~= amount then
    correct(key, place, actual - amount)
  end
end
return 1

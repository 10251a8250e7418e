-- What reserve, settle and used share.
--
-- A window limit is a hash: fields "0" to "60" count the units of one bucket each (a bucket is 1/60 of the
-- window; its number modulo 61 is its field), "b" is the number of the newest bucket and "t" the sum of all.
-- Sixty whole buckets before the current one are counted, so that the last 61 always cover a whole window: units
-- come back between 60/60 and 61/60 of the window after they were taken, never earlier.
--
-- A parallel limit is a sorted set: "<amount>:<token>:<index>" scored by the microsecond at which it expires, and
-- the member "t" scored by minus the sum. One key each, so that nothing is half evicted.
local BUCKETS = 61

local function microseconds()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Bring a window up to date; returns the number of the current bucket, the sum, and the units in that bucket
-- (nil when nothing was taken in it yet).
local function advance_window(key, width, now)
  local bucket = math.floor(now / width)
  local state = redis.call('HMGET', key, 'b', 't', bucket % BUCKETS)
  local last, total = tonumber(state[1]), tonumber(state[2])
  if not last then
    return bucket, 0, nil
  end
  if bucket == last then
    return bucket, total, tonumber(state[3])
  end
  if bucket < last and last - bucket < BUCKETS then
    -- The clock was set back a little: time stands still until it catches up.
    return last, total, tonumber(redis.call('HGET', key, last % BUCKETS))
  end
  if bucket < last or bucket - last >= BUCKETS then
    redis.call('DEL', key)
    return bucket, 0, nil
  end
  local fields = {}
  for i = last + 1, bucket do
    fields[#fields + 1] = i % BUCKETS
  end
  for _, count in ipairs(redis.call('HMGET', key, unpack(fields))) do
    total = total - tonumber(count or 0)
  end
  redis.call('HDEL', key, unpack(fields))
  redis.call('HSET', key, 'b', bucket, 't', total)
  return bucket, total, nil
end

-- Let expired units of a parallel limit go; returns the sum of the others.
local function advance_parallel(key, now)
  local expired = redis.call('ZRANGEBYSCORE', key, '(0', now)
  if #expired > 0 then
    local freed = 0
    for _, member in ipairs(expired) do
      freed = freed + tonumber(string.match(member, '^%d+'))
      redis.call('ZREM', key, member)
    end
    redis.call('ZINCRBY', key, freed, 't')
  end
  return -tonumber(redis.call('ZSCORE', key, 't') or 0)
end

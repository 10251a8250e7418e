-- Take an amount from each of several limits, or from none.
-- KEYS: record, one per limit. ARGV: token, most ms to name for a parallel limit, then for each limit:
-- kind ("w" or "p"), limit, amount, bucket width in us ("w") or ttl in ms ("p").
-- Returns {} when granted, else {index from 0 of the first that did not fit, ms until it would or -1 for never}.
--
-- The record lists what was taken: per limit {kind, key, bucket or member, amount}.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {}
end
local now = microseconds()

-- Microseconds until a window has room for `missing` more units.
local function window_wait(key, width, bucket, missing)
  local fields = {}
  for i = bucket - BUCKETS + 1, bucket do
    fields[#fields + 1] = i % BUCKETS
  end
  for i, count in ipairs(redis.call('HMGET', key, unpack(fields))) do
    missing = missing - tonumber(count or 0)
    if missing <= 0 then
      return (bucket + i) * width - now
    end
  end
  return width
end

-- Microseconds until enough units of a parallel limit have expired.
local function parallel_wait(key, missing)
  local members = redis.call('ZRANGEBYSCORE', key, '(0', '+inf', 'WITHSCORES')
  for i = 1, #members, 2 do
    missing = missing - tonumber(string.match(members[i], '^%d+'))
    if missing <= 0 then
      return tonumber(members[i + 1]) - now
    end
  end
  return 0
end

local function refuse(index, kind, key, limit, missing, amount, width, bucket)
  if amount > limit then
    return {index, -1}
  end
  local wait = kind == 'w' and window_wait(key, width, bucket, missing)
    or math.min(parallel_wait(key, missing), ARGV[2] * 1000)
  return {index, math.max(1, math.ceil(wait / 1000))}
end

local limits = #KEYS - 1
local sums, buckets, counts, taken = {}, {}, {}, {}
for i = 1, limits do
  local key, at = KEYS[i + 1], i * 4 - 1
  local kind, limit, amount, span = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  if kind == 'w' then
    buckets[key], sums[key], counts[key] = advance_window(key, span, now)
  else
    sums[key] = advance_parallel(key, now)
  end
  taken[key] = (taken[key] or 0) + amount
  local missing = sums[key] + taken[key] - limit
  if missing > 0 then
    return refuse(i - 1, kind, key, limit, missing, amount, span, buckets[key])
  end
end

local record, keep = {}, 0
for i = 1, limits do
  local key, at = KEYS[i + 1], i * 4 - 1
  local kind, amount, span = ARGV[at], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local ttl, place
  sums[key] = sums[key] + amount
  if kind == 'w' then
    place = buckets[key]
    ttl = math.ceil(span * BUCKETS / 1000)
    redis.call('HSET', key, place % BUCKETS, (counts[key] or 0) + amount, 't', sums[key], 'b', place)
    if not counts[key] then
      -- The first units of a bucket; later ones leave the window together with these.
      redis.call('PEXPIRE', key, ttl)
    end
    counts[key] = (counts[key] or 0) + amount
  else
    place = ARGV[at + 2] .. ':' .. ARGV[1] .. ':' .. i
    ttl = span
    redis.call('ZADD', key, now + ttl * 1000, place, -sums[key], 't')
    if redis.call('PTTL', key) < ttl then
      redis.call('PEXPIRE', key, ttl)
    end
  end
  record[i] = {kind, key, place, amount}
  keep = math.max(keep, ttl)
end
redis.call('SET', KEYS[1], cmsgpack.pack(record), 'PX', keep)
return {}

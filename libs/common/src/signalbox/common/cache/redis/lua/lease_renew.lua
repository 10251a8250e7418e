-- KEYS: lease. ARGV: holder, ttl in ms.
-- Returns 0 when it is not held, 1 when it was prolonged, 2 when moreover the holder is asked to stop.
local lease = redis.call('GET', KEYS[1])
if not lease or string.sub(lease, 2) ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return string.sub(lease, 1, 1) == '1' and 2 or 1

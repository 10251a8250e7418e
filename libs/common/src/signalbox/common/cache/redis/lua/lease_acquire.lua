-- Take a lease and read a value.
-- KEYS: lease, value to read (optional). ARGV: holder, ttl in ms.
-- A lease is "0<holder>", or "1<holder>" once the holder has been asked to stop.
-- Returns {1 when taken else 0, the holder, the value}.
local lease = redis.call('GET', KEYS[1])
local holder = lease and string.sub(lease, 2) or ARGV[1]
local taken = holder == ARGV[1]
if taken then
  redis.call('SET', KEYS[1], lease or ('0' .. holder), 'PX', ARGV[2])
end
return {taken and 1 or 0, holder, KEYS[2] and redis.call('GET', KEYS[2]) or false}

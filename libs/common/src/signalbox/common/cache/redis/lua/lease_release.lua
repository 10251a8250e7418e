-- Give a lease back, write a value if it was still held, and wake who waits.
-- KEYS: lease, value to write (optional). ARGV: holder, value, its ttl in ms.
-- Returns 1 when it was held, else 0. The lease's key is also the channel of the message.
local lease = redis.call('GET', KEYS[1])
if not lease or string.sub(lease, 2) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
if KEYS[2] then
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
end
redis.call('PUBLISH', KEYS[1], '')
return 1

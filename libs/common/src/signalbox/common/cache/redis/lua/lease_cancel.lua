-- KEYS: lease. Returns 1 when somebody holds it and has been asked to stop, else 0.
local lease = redis.call('GET', KEYS[1])
if not lease then
  return 0
end
redis.call('SET', KEYS[1], '1' .. string.sub(lease, 2), 'KEEPTTL')
return 1

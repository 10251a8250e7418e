-- KEYS: log. Returns {id of the first event, id of the last}, or an empty list when there is no log.
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if not first then
  return {}
end
return {first[1], redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1]}

-- Append events to a stream whose ids are "<number>-0", and wake who reads.
-- KEYS: log. ARGV: number of the first event, ttl in ms, events.
-- Numbers up to the last one kept are left as they are. The log's key is also the channel of the message.
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local last = newest and tonumber(string.match(newest[1], '^%d+')) or 0
local first = tonumber(ARGV[1])
for i = 3, #ARGV do
  local number = first + i - 3
  if number > last then
    redis.call('XADD', KEYS[1], string.format('%d-0', number), 'e', ARGV[i])
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', KEYS[1], '')
return 1

-- Tell a budget what was spent before it was first counted.
-- KEYS: budget. ARGV: the number of calls that are in its sum, what was spent by others, end of its window in ms.
-- Returns 1, or 0 when other calls are in its sum by now, so that what was spent by others has to be looked up again.
local fields = redis.call('HKEYS', KEYS[1])
local calls = {}
for _, field in ipairs(fields) do
  if string.sub(field, 1, 2) == 'c:' then
    calls[#calls + 1] = field
  elseif field == 'k' then
    return 1
  end
end
if #calls ~= tonumber(ARGV[1]) then
  return 0
end
for _, field in ipairs(calls) do
  redis.call('HDEL', KEYS[1], field)
end
local sum = math.min(9007199254740991, tonumber(redis.call('HGET', KEYS[1], 's') or 0) + tonumber(ARGV[2]))
redis.call('HSET', KEYS[1], 's', string.format('%.0f', sum), 'k', '1')
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(ARGV[3]) + 86400000))
return 1

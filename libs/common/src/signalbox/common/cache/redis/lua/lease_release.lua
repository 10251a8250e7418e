-- Give a lease back, or the place in its line; write a value if it was still held; hand it to who has waited longest.
-- KEYS: lease, its line, value to write (optional). ARGV: holder, process, value, its ttl in ms.
-- Returns 1 when it was held, else 0. The lease's key is also the channel of the message.
local entry = line_entry(KEYS[2], ARGV[2])
if entry and entry[4] == ARGV[1] then
  line_put(KEYS[2], ARGV[2], 0, line_now(), math.max(entry[3] - 1, 0), '')
end
local lease = redis.call('GET', KEYS[1])
if not lease or string.sub(lease, 2) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
if KEYS[3] then
  redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
end
if not line_hand_over(KEYS[1], KEYS[2]) then
  redis.call('PUBLISH', KEYS[1], '')
end
return 1

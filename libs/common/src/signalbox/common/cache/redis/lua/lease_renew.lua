-- KEYS: lease, its line. ARGV: holder, ttl in ms, process ('' for none), how many wait in it.
-- Returns 0 when it is not held, 1 when it was prolonged, 2 when moreover the holder is asked to stop.
local lease = redis.call('GET', KEYS[1])
if not lease or string.sub(lease, 2) ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if ARGV[3] ~= '' and tonumber(ARGV[4]) > 0 then
  line_put(KEYS[2], ARGV[3], 0, line_now(), tonumber(ARGV[4]), '')
end
return string.sub(lease, 1, 1) == '1' and 2 or 1

-- Close calls of a process that is gone, whose rows are in the ledger now.
-- KEYS: what is known of this life (hash), the processes (hash), the calls of the one that is gone (hash).
-- ARGV: its name, how many ms of silence mean that it is gone, 1 when these are all, then for each call its id and the
-- state in which it was when its row was made.
-- Slots of open calls are freed. Their budgets keep what was reserved, as the rows say that they may have used it; a
-- record of it stays for a day, so that a process that was only frozen can correct it.
-- Returns 1, or 0 when the process has been heard of again, and nothing was done.
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local heard = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or nil)
if heard and now_ms - heard < tonumber(ARGV[2]) then
  return 0
end
for i = 4, #ARGV, 2 do
  local id, state = ARGV[i], ARGV[i + 1]
  local packed = redis.call('HGET', KEYS[3], id)
  local record = packed and cmsgpack.unpack(packed)
  if record and record[1] == state then
    if state == 's' then
      redis.call('HDEL', KEYS[3], id)
    elseif state == 'o' then
      local taken, kept = record[4], {}
      for at = 1, #taken, 5 do
        local kind, key = taken[at], taken[at + 1]
        if kind == 'p' then
          if redis.call('DECR', key) <= 0 then
            redis.call('DEL', key)
          end
        elseif kind == 'h' or kind == 's' then
          if redis.call('EXISTS', key) == 1 then
            redis.call('HINCRBY', key, 'o', string.format('%.0f', -taken[at + 2]))
          end
          for each = at, at + 4 do
            kept[#kept + 1] = taken[each]
          end
        end
      end
      redis.call('HSET', KEYS[3], id, cmsgpack.pack({'r', record[2], record[3], kept}))
    end
  end
end
if ARGV[3] == '1' then
  redis.call('HDEL', KEYS[2], ARGV[1])
  redis.call('PEXPIRE', KEYS[3], 86400000)
end
return 1

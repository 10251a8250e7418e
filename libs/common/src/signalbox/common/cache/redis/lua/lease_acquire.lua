-- Take a lease and read a value.
-- KEYS: lease, its line, value to read (optional).
-- ARGV: holder, ttl in ms, process ('' to stay out of the line), how many wait behind the holder in its process,
-- how many may wait in all (0: any number), 1 to stand in line when the lease is taken.
-- A lease is "0<holder>", or "1<holder>" once the holder has been asked to stop.
-- Returns {1 when taken, 2 when the line is full, else 0; the holder; the value}.
local holder, process, behind = ARGV[1], ARGV[3], tonumber(ARGV[4])
local lease = redis.call('GET', KEYS[1]) or line_hand_over(KEYS[1], KEYS[2])
local current = lease and string.sub(lease, 2) or holder
local state = current == holder and 1 or 0
if state == 1 then
  redis.call('SET', KEYS[1], lease or ('0' .. holder), 'PX', ARGV[2])
end
if process ~= '' then
  local entry = line_entry(KEYS[2], process)
  if state == 1 then
    if entry or behind > 0 then
      line_put(KEYS[2], process, 0, line_now(), behind, '')
    end
  elseif ARGV[6] == '1' then
    local now, limit = line_now(), tonumber(ARGV[5])
    local _, others = line_read(KEYS[2], process)
    if limit > 0 and others + behind + 1 > limit then
      state = 2
    else
      local since = entry and entry[4] == holder and entry[1] or now
      line_put(KEYS[2], process, since, now, behind + 1, holder)
    end
  end
end
return {state, current, KEYS[3] and redis.call('GET', KEYS[3]) or false}

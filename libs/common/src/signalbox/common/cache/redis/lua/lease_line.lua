-- Who stands in line for a lease. A line is a hash: for each process "<since> <seen> <waiting> <holder>", times in ms;
-- the holder is who takes the lease next for the process, or empty while only others wait behind its own turn.
-- A process that has not been heard of for LINE_STALE_MS is dropped, so that one that died does not hold the rest up.
local LINE_STALE_MS = 3500
local HANDED_MS = 1000

local function line_now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function line_entry(line, process)
  local entry = redis.call('HGET', line, process)
  if not entry then
    return nil
  end
  local since, seen, waiting, holder = string.match(entry, '^(%d+) (%d+) (%d+) (.*)$')
  return {tonumber(since), tonumber(seen), tonumber(waiting), holder}
end

local function line_put(line, process, since, now, waiting, holder)
  if waiting == 0 and holder == '' then
    redis.call('HDEL', line, process)
  else
    redis.call('HSET', line, process, string.format('%.0f %.0f %.0f %s', since, now, waiting, holder))
    redis.call('PEXPIRE', line, LINE_STALE_MS)
  end
end

-- The holder that has waited longest, and how many wait in other processes than `process`.
local function line_read(line, process)
  local all = redis.call('HGETALL', line)
  if #all == 0 then
    return nil, 0
  end
  local now, first, holder, others = line_now(), nil, nil, 0
  for i = 1, #all, 2 do
    local since, seen, waiting, who = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (.*)$')
    if now - tonumber(seen) > LINE_STALE_MS then
      redis.call('HDEL', line, all[i])
    else
      if all[i] ~= process then
        others = others + tonumber(waiting)
      end
      if who ~= '' and (first == nil or tonumber(since) < first) then
        first, holder = tonumber(since), who
      end
    end
  end
  return holder, others
end

-- Hand a free lease to who has waited longest; returns the lease as it then is, or false.
local function line_hand_over(lease, line)
  local holder = line_read(line, '')
  if not holder then
    return false
  end
  redis.call('SET', lease, '0' .. holder, 'PX', HANDED_MS)
  redis.call('PUBLISH', lease, '')
  return '0' .. holder
end

-- All that one process has to say of its calls at one moment: reservations, settlements and what else, in order.
--
-- KEYS: what is known of this life of the counters (hash), the open calls of this process (hash), when each process
-- was heard of (hash).
-- ARGV: the life that the process knows, the number of demand sets, the sets, the operations.
-- A set: its number of demands, then for each: kind, key, limit, and
--   "r" (requests) and "t" (tokens): width of a bucket in microseconds;
--   "p" (calls at a time): nothing;
--   "h", "s" (hard, soft budget): start and end of its window in ms, name of its rule.
-- An operation: its letter, the id of the call, and
--   "A" (reserve) and "U" (assume): number of the set from 1, tokens, money, record;
--   "X" (extend): number of the set, tokens, money, number of the extension from 1;
--   "E" (an extension's calls at a time end): number of the extension;
--   "S" (settle): tokens, money, record, number of extensions, tokens of each;
--   "G" (give back): nothing;
--   "K" (in the ledger): the ids of many calls, whose number stands for the id;
--   "B" (the process, which is the id, lives): how many ms of silence mean that another one does not;
--   "D" (the process ends): nothing.
-- Returns 0 when the life is another one, and nothing was done. Else the time in ms, then for each "A" and "X":
-- 1 (granted), or {code, index from 0, ms, rooms}: 2 refused (ms: -1 never, -2 unknown), 3 the windows are not those of
-- now (ms: the time), 4 the budget has to be told what was spent before, 5 budgets are closed; or {6, number of soft
-- budgets that are exceeded, their indices, rooms}: granted. Rooms, for "A" that is granted or refused: what each window
-- of the set has left. For each "B": {1 when budgets are open else 0, names of silent processes}.
--
-- A window is a hash: fields "0" to "60" count the units of one bucket each (a bucket is 1/60 of the window; its
-- number modulo 61 is its field), "b" is the number of the newest bucket and "t" the sum. Sixty whole buckets before
-- the current one are counted, so that the last 61 always cover a whole window: units come back between 60/60 and
-- 61/60 of the window after they were taken, never earlier. Calls at a time are a number. A budget is a hash: "s" its
-- sum, "o" what of it open calls have reserved, "k" 1 when it knows what was spent before, else a field "c:<call>" for each call in the sum.
-- What an operation changes is kept in Lua and written once, so a counter costs two commands for a whole batch.
local BUCKETS = 61
local EXTENSIONS = 4096
local EXACT = 9007199254740991
local GRACE_MS = 86400000

local life = redis.call('HMGET', KEYS[1], 'life', 'open')
if life[1] ~= ARGV[1] then
  return 0
end
local budgets_open = life[2] == '1'
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local now_ms = math.floor(now / 1000)

local states, order, known, records, changed = {}, {}, {}, {}, {}

local function whole(number)
  return string.format('%.0f', number)
end

local function keep(key, state)
  states[key] = state
  order[#order + 1] = key
  return state
end

local function window(key, width)
  local state = states[key]
  if state then
    return state
  end
  local bucket = math.floor(now / width)
  local found = redis.call('HMGET', key, 'b', 't', bucket % BUCKETS)
  local last = tonumber(found[1])
  state = {kind = 'w', width = width, bucket = bucket, total = 0, counts = {}, changed = {}}
  if last and bucket < last and last - bucket < BUCKETS then
    -- The clock was set back a little: time stands still until it catches up.
    state.bucket, state.total = last, tonumber(found[2])
    state.counts[last % BUCKETS] = tonumber(redis.call('HGET', key, last % BUCKETS) or 0)
  elseif last and bucket >= last and bucket - last < BUCKETS then
    state.total = tonumber(found[2])
    if bucket == last then
      state.counts[bucket % BUCKETS] = tonumber(found[3] or 0)
    else
      local fields = {}
      for i = last + 1, bucket do
        fields[#fields + 1] = i % BUCKETS
      end
      for _, count in ipairs(redis.call('HMGET', key, unpack(fields))) do
        state.total = state.total - tonumber(count or 0)
      end
      state.gone = fields
    end
  elseif last then
    state.reset = true
  end
  return keep(key, state)
end

local function count_of(key, state, field)
  local count = state.counts[field]
  if not count then
    count = state.reset and 0 or tonumber(redis.call('HGET', key, field) or 0)
    state.counts[field] = count
  end
  return count
end

-- Change the units of a bucket: only while it is still counted, what has left must not change what came after it.
local function change_window(key, width, bucket, change)
  local state = window(key, width)
  if bucket > state.bucket or bucket <= state.bucket - BUCKETS or (state.reset and bucket ~= state.bucket) then
    return
  end
  local field = bucket % BUCKETS
  local count = count_of(key, state, field)
  change = math.max(change, -count)
  state.counts[field], state.changed[field] = count + change, true
  state.total = state.total + change
  state.dirty = true
end

local function take_window(key, width, amount)
  local state = window(key, width)
  local field = state.bucket % BUCKETS
  if (state.counts[field] or 0) == 0 then
    state.counts[field], state.first = 0, true
  end
  state.counts[field], state.changed[field] = state.counts[field] + amount, true
  state.total = state.total + amount
  state.dirty = true
  return state.bucket
end

-- All counts of a window that are not read yet, in one command.
local function read_counts(key, state)
  local fields = {}
  for field = 0, BUCKETS - 1 do
    if not state.counts[field] then
      fields[#fields + 1] = field
    end
  end
  if #fields == 0 then
    return
  end
  local found = state.reset and {} or redis.call('HMGET', key, unpack(fields))
  for i, field in ipairs(fields) do
    state.counts[field] = tonumber(found[i] or 0)
  end
  for _, field in ipairs(state.gone or {}) do
    if not state.changed[field] then
      state.counts[field] = 0
    end
  end
end

-- Milliseconds until a window has room for so many more units.
local function window_wait(key, state, missing)
  read_counts(key, state)
  for bucket = state.bucket - BUCKETS + 1, state.bucket do
    missing = missing - state.counts[bucket % BUCKETS]
    if missing <= 0 then
      return math.max(1, math.ceil(((bucket + BUCKETS) * state.width - now) / 1000))
    end
  end
  return math.max(1, math.ceil(state.width / 1000))
end

local function parallel(key)
  return states[key] or keep(key, {kind = 'p', count = tonumber(redis.call('GET', key) or 0)})
end

local function change_parallel(key, change)
  local state = parallel(key)
  state.count = math.max(0, state.count + change)
  state.dirty = true
end

-- Since when a rule's budgets have been counted without a gap.
local function known_since(rule)
  local since = known[rule]
  if not since then
    since = tonumber(redis.call('HGET', KEYS[1], 'rule:' .. rule) or nil)
    if not since then
      since = now_ms
      redis.call('HSET', KEYS[1], 'rule:' .. rule, whole(now_ms))
    end
    known[rule] = since
  end
  return since
end

-- A budget's sum. `demand` is nil where a call is corrected, which needs no budget that is gone.
local function budget(key, demand)
  local state = states[key]
  if not state then
    local found = redis.call('HMGET', key, 's', 'k', 'o')
    state = keep(key, {
      kind = 'm', exists = found[1] and true, sum = tonumber(found[1] or 0), open = tonumber(found[3] or 0),
      seeded = found[2] == '1', calls = {}})
  end
  if demand and not state.seeded and not state.exists and known_since(demand.rule) <= demand.start then
    state.seeded = true
  end
  if demand then
    state.finish = demand.finish
  end
  return state
end

-- Below zero is only a budget that a correction reaches before what was spent: that is added later.
local function change_budget(state, change, open)
  local least = state.seeded and 0 or -EXACT
  state.sum = math.max(least, math.min(EXACT, state.sum + change))
  state.open = state.open + open
  state.dirty = true
end

local at = 3
local function text()
  at = at + 1
  return ARGV[at - 1]
end
local function number()
  return tonumber(text())
end

local sets = {}
for i = 1, tonumber(ARGV[2]) do
  local set = {}
  for j = 1, number() do
    local demand = {kind = text(), key = text(), limit = number()}
    if demand.kind == 'r' or demand.kind == 't' then
      demand.width = number()
    elseif demand.kind ~= 'p' then
      demand.start, demand.finish, demand.rule = number(), number(), text()
    end
    set[j] = demand
  end
  sets[i] = set
end

local function record_of(id)
  local record = records[id]
  if record == nil then
    local packed = redis.call('HGET', KEYS[2], id)
    record = packed and cmsgpack.unpack(packed) or false
    records[id] = record
  end
  return record
end

local function put_record(id, record)
  records[id] = record
  changed[id] = true
end

local function amount_of(kind, tokens, money)
  if kind == 't' then
    return tokens
  end
  return (kind == 'h' or kind == 's') and money or 1
end

-- Why a set cannot be met, or nil; and the soft budgets that are exceeded if it is. An extension counts in the window
-- in which its call began.
local function obstacle(set, tokens, money, extends)
  local over
  for i, demand in ipairs(set) do
    local kind, key, limit = demand.kind, demand.key, demand.limit
    local amount = amount_of(kind, tokens, money)
    if kind == 'r' or kind == 't' then
      local state = window(key, demand.width)
      if amount > limit then
        return {2, i - 1, -1}
      elseif state.total + amount > limit then
        return {2, i - 1, window_wait(key, state, state.total + amount - limit)}
      end
    elseif kind == 'p' then
      if parallel(key).count + 1 > limit then
        return {2, i - 1, -2}
      end
    else
      if not extends and (now_ms < demand.start or now_ms >= demand.finish) then
        return {3, i - 1, now_ms}
      elseif not budgets_open then
        return {5, i - 1, 0}
      end
      local state = budget(key, demand)
      if not state.seeded then
        return {4, i - 1, 0}
      elseif kind == 'h' then
        if state.sum + amount > limit then
          return {2, i - 1, amount > limit and -1 or demand.finish - now_ms}
        end
      elseif state.sum - math.max(0, state.open) > limit then
        -- What open calls have reserved is not spent.
        over = over or {6, 0}
        over[2] = over[2] + 1
        over[#over + 1] = i - 1
      end
    end
  end
  return nil, over
end

-- A record is {state ("o" open, "s" settled, "r" reaped by another process), row, number of extensions, what was taken}; taken, in a row of five for each counter:
-- kind, key, amount, bucket, and the width of a bucket or the number of the extension (0: none).
-- For tokens the width and the number of the extension are joined: the width times 4096, and the number.
local function take(id, set, tokens, money, record, extension, counted)
  local taken = record[4]
  for _, demand in ipairs(set) do
    local kind, key = demand.kind, demand.key
    local amount, place, detail = amount_of(kind, tokens, money), 0, extension
    if kind == 'r' or kind == 't' then
      if counted then
        place = take_window(key, demand.width, amount)
        detail = kind == 't' and demand.width * EXTENSIONS + extension or demand.width
      else
        kind = nil
      end
    elseif kind == 'p' then
      change_parallel(key, 1)
    else
      local state = budget(key, demand)
      change_budget(state, amount, amount)
      if not state.seeded then
        state.calls[#state.calls + 1] = 'c:' .. id
      end
    end
    if kind then
      local n = #taken
      taken[n + 1], taken[n + 2], taken[n + 3], taken[n + 4], taken[n + 5] = kind, key, amount, place, detail
    end
  end
  put_record(id, record)
end

-- A reply, and what each window of a set has left.
local function with_rooms(reply, set)
  for _, demand in ipairs(set) do
    if demand.kind == 'r' or demand.kind == 't' then
      reply[#reply + 1] = math.max(0, demand.limit - window(demand.key, demand.width).total)
    end
  end
  return reply
end

local function end_extension(id, extension)
  local record = record_of(id)
  if not record or record[1] ~= 'o' then
    return
  end
  local taken = record[4]
  for i = #taken - 4, 1, -5 do
    if taken[i] == 'p' and taken[i + 4] == extension then
      change_parallel(taken[i + 1], -1)
      for _ = 1, 5 do
        table.remove(taken, i)
      end
      put_record(id, record)
    end
  end
end

-- Correct what an open call took to what it used; without `counted` not even its request is. Returns its record, or
-- nil when it is over.
local function close(id, counted, tokens, money, actual)
  local record = record_of(id)
  if not record or record[1] == 's' then
    return nil
  end
  local taken = record[4]
  for i = 1, #taken, 5 do
    local kind, key, amount, place, detail = unpack(taken, i, i + 4)
    if kind == 'r' then
      if not counted then
        change_window(key, detail, place, -amount)
      end
    elseif kind == 't' then
      local extension = detail % EXTENSIONS
      local used = extension == 0 and tokens or actual[extension] or 0
      if used ~= amount then
        change_window(key, (detail - extension) / EXTENSIONS, place, used - amount)
      end
    elseif kind == 'p' then
      change_parallel(key, -1)
    else
      local used = detail == 0 and money or 0
      local state = budget(key)
      if state.exists or state.dirty then
        change_budget(state, used - amount, record[1] == 'o' and -amount or 0)
      end
    end
  end
  return record
end

local function settle(id, tokens, money, row, actual)
  if close(id, true, tokens, money, actual) then
    put_record(id, {'s', row, 0, {}})
  end
end

local function give_back(id)
  if close(id, false, 0, 0, {}) then
    put_record(id, false)
  end
end

local function pulse(id, silent)
  redis.call('HSET', KEYS[3], id, whole(now_ms))
  redis.call('PERSIST', KEYS[2])
  local reply = {budgets_open and 1 or 0}
  local heard = redis.call('HGETALL', KEYS[3])
  for i = 1, #heard, 2 do
    if now_ms - tonumber(heard[i + 1]) > silent then
      reply[#reply + 1] = heard[i]
    end
  end
  return reply
end

local replies, leaving = {now_ms}, nil
while at <= #ARGV do
  local letter, id = text(), text()
  if letter == 'A' or letter == 'U' then
    local set, tokens, money, row = sets[number()], number(), number(), text()
    local reply
    -- A batch whose reply was lost is sent again.
    if not record_of(id) then
      local why, over
      if letter == 'A' then
        why, over = obstacle(set, tokens, money)
      end
      if not why then
        take(id, set, tokens, money, {'o', row, 0, {}}, 0, letter == 'A')
      end
      reply = why or over
    end
    if letter == 'A' then
      reply = reply or {6, 0}
      if reply[1] == 2 or reply[1] == 6 then
        with_rooms(reply, set)
      end
      replies[#replies + 1] = #reply > 2 and reply or 1
    end
  elseif letter == 'X' then
    local set, tokens, money, extension = sets[number()], number(), number(), number()
    local record, reply = record_of(id), 1
    if record and record[1] == 'o' and record[3] < extension then
      local why, over = obstacle(set, tokens, money, true)
      reply = why or over or 1
      if not why then
        record[3] = extension
        take(id, set, tokens, money, record, extension, true)
      end
    end
    replies[#replies + 1] = reply
  elseif letter == 'E' then
    end_extension(id, number())
  elseif letter == 'S' then
    local tokens, money, row, actual = number(), number(), text(), {}
    for i = 1, number() do
      actual[i] = number()
    end
    settle(id, tokens, money, row, actual)
  elseif letter == 'G' then
    give_back(id)
  elseif letter == 'B' then
    replies[#replies + 1] = pulse(id, number())
  elseif letter == 'D' then
    leaving = id
  else
    for _ = 1, tonumber(id) do
      put_record(text(), false)
    end
  end
end

for _, key in ipairs(order) do
  local state = states[key]
  if state.dirty and state.kind == 'w' then
    if state.reset then
      redis.call('DEL', key)
    elseif state.gone then
      redis.call('HDEL', key, unpack(state.gone))
    end
    local fields = {'b', whole(state.bucket), 't', whole(state.total)}
    for field in pairs(state.changed) do
      fields[#fields + 1] = field
      fields[#fields + 1] = whole(state.counts[field])
    end
    redis.call('HSET', key, unpack(fields))
    if state.first then
      -- The first units of a bucket; later ones leave the window together with these.
      redis.call('PEXPIRE', key, math.ceil(state.width * BUCKETS / 1000))
    end
  elseif state.dirty and state.kind == 'p' then
    if state.count > 0 then
      redis.call('SET', key, state.count)
    else
      redis.call('DEL', key)
    end
  elseif state.dirty then
    redis.call('HSET', key, 's', whole(state.sum), 'o', whole(state.open))
    if state.seeded then
      redis.call('HSET', key, 'k', '1')
    end
    for _, field in ipairs(state.calls) do
      redis.call('HSET', key, field, '1')
    end
    if not state.exists and state.finish then
      redis.call('PEXPIREAT', key, whole(state.finish + GRACE_MS))
    end
  end
end
local put, gone = {}, {}
for id in pairs(changed) do
  local record = records[id]
  if record then
    put[#put + 1] = id
    put[#put + 1] = cmsgpack.pack(record)
  else
    gone[#gone + 1] = id
  end
end
if #put > 0 then
  redis.call('HSET', KEYS[2], unpack(put))
end
-- Lua passes some thousand values at most.
for i = 1, #gone, 1000 do
  redis.call('HDEL', KEYS[2], unpack(gone, i, math.min(i + 999, #gone)))
end
if leaving and redis.call('HLEN', KEYS[2]) == 0 then
  redis.call('HDEL', KEYS[3], leaving)
end
return replies

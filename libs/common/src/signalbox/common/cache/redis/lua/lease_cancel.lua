-- Ask whoever holds a lease to stop, and wake its process.
-- KEYS: lease. ARGV: what the holder must be called after its process ('' for any), prefix of the processes' mailboxes.
-- Returns 1 when somebody holds it and has been asked to stop, else 0.
local lease = redis.call('GET', KEYS[1])
if not lease then
  return 0
end
local process, what = string.match(lease, '^.([^/]*)/?(.*)$')
if ARGV[1] ~= '' and what ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], '1' .. string.sub(lease, 2), 'KEEPTTL')
local mailbox = ARGV[2] .. process
redis.call('SET', mailbox, '1', 'PX', 10000)
redis.call('PUBLISH', mailbox, '')
return 1

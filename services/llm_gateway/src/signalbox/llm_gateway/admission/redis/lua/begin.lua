-- Begin a life of the counters, unless one has begun. KEYS: what is known of it. ARGV: its name.
-- Returns the name of the life that there is. Its budgets are closed until `open.lua`.
redis.call('HSETNX', KEYS[1], 'life', ARGV[1])
return redis.call('HGET', KEYS[1], 'life')

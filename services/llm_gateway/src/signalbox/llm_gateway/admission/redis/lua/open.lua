-- Let budgets be counted again. KEYS: what is known of this life (hash). ARGV: its name.
if redis.call('HGET', KEYS[1], 'life') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'open', '1')
end
return 1

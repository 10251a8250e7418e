-- KEYS: limits. ARGV: for each limit kind ("w" or "p") and bucket width in us ("w") or anything ("p").
-- Returns the units taken now from each.
local now = microseconds()
local sums = {}
for i, key in ipairs(KEYS) do
  if ARGV[i * 2 - 1] == 'w' then
    local _, sum = advance_window(key, tonumber(ARGV[i * 2]), now)
    sums[i] = sum
  else
    sums[i] = advance_parallel(key, now)
  end
end
return sums

-- Say how many wait in a process for a lease that the process itself has, or stands in line for.
-- KEYS: line. ARGV: process, how many wait, how many may wait in all.
-- Returns 1, or 0 when the line is full and nothing was changed.
local _, others = line_read(KEYS[1], ARGV[1])
if others + tonumber(ARGV[2]) > tonumber(ARGV[3]) then
  return 0
end
local entry = line_entry(KEYS[1], ARGV[1])
line_put(KEYS[1], ARGV[1], entry and entry[1] or 0, line_now(), tonumber(ARGV[2]), entry and entry[4] or '')
return 1

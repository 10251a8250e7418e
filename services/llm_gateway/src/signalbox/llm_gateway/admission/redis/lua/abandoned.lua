-- Some calls of a process. KEYS: its calls (hash). ARGV: cursor, how many about.
-- Returns {next cursor, {id, state, row, ...}}; states: "o" open, "s" settled, "r" reaped before.
local found = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local calls = {}
for i = 1, #found[2], 2 do
  local record = cmsgpack.unpack(found[2][i + 1])
  local n = #calls
  calls[n + 1], calls[n + 2], calls[n + 3] = found[2][i], record[1], record[2]
end
return {found[1], calls}

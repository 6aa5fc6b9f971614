-- Appends a value to a queue. The index is a text with a line for each value, `name owner end`, the
-- oldest first. The end is the time in milliseconds at which the value expires.
--
-- Arguments: id, owner and value; the milliseconds until the value expires, and for which the id is
-- remembered after that. Then the maximum number of values of one owner, of values, and of ids; and
-- the prefix of the keys of values.
--
-- Returns 0 if the value was appended, 1 if the owner has too many values, 2 if the queue is full.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local id, owner, value = ARGV[1], ARGV[2], ARGV[3]
local ttl, remembers = tonumber(ARGV[4]), tonumber(ARGV[5])
local of_owner, most, names, prefix = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local entries, live, held = {}, 0, {}
for name, whose, ends in string.gmatch(redis.call('GET', KEYS[1]) or '', '(%S+) (%S+) (%d+)\n') do
  ends = tonumber(ends)
  if ends + remembers > now then
    entries[#entries + 1] = {name, whose, ends}
    if ends > now then
      live = live + 1
      held[whose] = (held[whose] or 0) + 1
    end
  end
end
local own = held[owner] or 0
if own >= of_owner then return 1 end
if live >= most then
  local count, whose = own + 1, nil
  for one, has in pairs(held) do
    if has > count then count, whose = has, one end
  end
  if not whose then return 2 end
  for _, entry in ipairs(entries) do
    if entry[2] == whose and entry[3] > now then
      redis.call('DEL', prefix .. entry[1])
      entry[3] = now
      break
    end
  end
end
local surplus, lines, last = #entries + 1 - names, {}, now + ttl
for _, entry in ipairs(entries) do
  if surplus > 0 and entry[3] <= now then
    surplus = surplus - 1
  else
    lines[#lines + 1] = string.format('%s %s %.0f\n', entry[1], entry[2], entry[3])
    last = math.max(last, entry[3])
  end
end
lines[#lines + 1] = string.format('%s %s %.0f\n', id, owner, now + ttl)
redis.call('SET', prefix .. id, value, 'PX', string.format('%.0f', ttl))
redis.call('SET', KEYS[1], table.concat(lines), 'PX', string.format('%.0f', last + remembers - now))
return 0

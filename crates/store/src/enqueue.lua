-- Appends a value to a queue. The index is a text with a line for each value, `name owner end`, the oldest
-- first; the end is the time in milliseconds from which on the value is gone.
-- Arguments: name, owner and value; for how many milliseconds it is kept; for how many the name is remembered
-- after that; how many values one owner may have, and how many there may be; how many names; and what the
-- keys of values begin with.
-- Answers 0 if it was appended, 1 if its owner has too many, 2 if the queue is full.
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

-- Removes a value from a queue and remembers its id.
--
-- Arguments: the id, and the prefix of the keys of values.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('DEL', ARGV[2] .. ARGV[1])
local lines, changed = {}, false
for name, whose, ends in string.gmatch(redis.call('GET', KEYS[1]) or '', '(%S+) (%S+) (%d+)\n') do
  if name == ARGV[1] and tonumber(ends) > now then
    ends, changed = string.format('%.0f', now), true
  end
  lines[#lines + 1] = name .. ' ' .. whose .. ' ' .. ends .. '\n'
end
if changed then redis.call('SET', KEYS[1], table.concat(lines), 'KEEPTTL') end
return 0

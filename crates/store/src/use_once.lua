-- Marks one use, if it is the first. Arguments: the epoch and the time that it was issued in, for how many
-- milliseconds it is good, and how many uses the caller knows of in its epoch.
-- Answers `{result, uses}`: 0 for the first use, 1 if it was used, 2 if it is too old, 3 if the epoch is
-- over, so that nobody knows. The mark lasts at least as long as what it marks by the same clock: where that
-- was set back, the time stands still, and the mark lasts longer by as much.
local clock = redis.call('TIME')
local real = clock[1] * 1000 + math.floor(clock[2] / 1000)
local epoch, uses, last = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%d+) (%d+)$')
uses, last = tonumber(uses or 0), tonumber(last or 0)
if epoch ~= ARGV[1] or uses < tonumber(ARGV[4]) then return {3, 0} end
local now, ttl = math.max(real, last), tonumber(ARGV[3])
if now - tonumber(ARGV[2]) >= ttl then return {2, uses} end
if not redis.call('SET', KEYS[2], '1', 'NX', 'PX', string.format('%.0f', ttl + now - real)) then
  return {1, uses}
end
redis.call('SET', KEYS[1], string.format('%s %.0f %.0f', epoch, uses + 1, now))
return {0, uses + 1}

-- Marks a use, if it is the first.
--
-- Arguments: the epoch and the time of issue; the milliseconds of validity; the number of uses that
-- the caller knows of in its epoch.
--
-- Returns `{result, uses}`. The result is 0 for the first use, 1 if an earlier use was marked, 2 if
-- the value is too old. It is 3 if the epoch is over, so that an earlier use cannot be ruled out.
-- The mark lasts at least as long as its value by the same clock. If that clock was set back, time
-- stands still, and the mark lasts longer by the difference.
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

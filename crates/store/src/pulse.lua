-- Returns the epoch, the number of uses marked in it, and the time in milliseconds. The time never
-- goes back, no matter how the clock is set. All three are one text, `epoch uses time`, which is
-- lost together with the marks.
--
-- Arguments: the epoch to begin if there is none; the epoch and the number of its uses that the
-- caller knows. If fewer uses are known here, Redis was set back to an earlier state, and the epoch
-- is over.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local epoch, uses, last = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%d+) (%d+)$')
uses, last = tonumber(uses or 0), tonumber(last or 0)
if not epoch or (epoch == ARGV[2] and uses < tonumber(ARGV[3])) then
  epoch, uses = ARGV[1], 0
end
now = math.max(now, last)
redis.call('SET', KEYS[1], string.format('%s %.0f %.0f', epoch, uses, now))
return {epoch, uses, now}

-- Gives back counted amounts. Each counter has three arguments: its kind, the amount (for a bucket,
-- an amount of time), and the mark that `reserve.lua` returned. Amounts that have expired since are
-- not given back.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

for i, key in ipairs(KEYS) do
  local kind, amount, mark = ARGV[i * 3 - 2], tonumber(ARGV[i * 3 - 1]), tonumber(ARGV[i * 3])
  local text = redis.call('GET', key)
  if text and kind == 'bucket' then
    local full_at, each = string.match(text, '^(%d+) (%d+)$')
    local back = math.min(amount, mark - now)
    if full_at and back > 0 then
      redis.call('SET', key, string.format('%.0f %s', full_at - back, each), 'KEEPTTL')
    end
  elseif text then
    local lowered = string.gsub(text, '(%d+)=(%d+)', function(start, count)
      if tonumber(start) ~= mark then return nil end
      return string.format('%s=%.0f', start, math.max(count - amount, 0))
    end)
    redis.call('SET', key, lowered, 'KEEPTTL')
  end
end

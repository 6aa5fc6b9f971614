-- Counts for all budgets, or for none.
--
-- Each budget has seven arguments: its kind, its maximum, the requested amount, and four numbers
-- whose meaning depends on the kind. Times are microseconds by the clock of Redis, so that the
-- clocks of the replicas need not agree. Counters are texts. A counter of spans holds `start=count`
-- for each span. A bucket holds the time at which it is full again, and the interval in which one
-- unit comes back.
--
-- Returns 0 and then, for each budget, a mark for giving the amount back and the current count.
-- Otherwise returns the number of the budget that did not permit its amount, its count, and the
-- time to wait.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local held, ends, changed, answer = {}, {}, {}, {0}

-- Returns the start of the current span, the start of the first span that counts, and the time at
-- which the current span stops counting.
local function span(kind, a, b, c, d)
  if kind == 'even' then
    local slot = now - (now - b) % a
    return slot, slot - c * a, slot + (c + 1) * a
  end
  if now >= a and now < b then return a, a, b end
  if now >= b and now < c then return b, b, c end
  if now >= c and now < d then return c, c, d end
end

for i, key in ipairs(KEYS) do
  local kind, at = ARGV[i * 7 - 6], i * 7 - 6
  local most, amount = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local a, b = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local c, d = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  local text = held[key] or redis.call('GET', key) or ''
  if kind == 'bucket' then
    local full_at, each = string.match(text, '^(%d+) (%d+)$')
    local known = math.min(math.max(tonumber(full_at or now), now), now + b)
    each = tonumber(each or a)
    full_at = known + c
    local wait = full_at - now - b
    if wait > 0 then return {i, math.ceil((known - now) / each), math.min(wait, b)} end
    held[key], ends[key] = string.format('%.0f %.0f', full_at, a), full_at
    answer[#answer + 1] = full_at
    answer[#answer + 1] = math.ceil((full_at - now) / each)
  else
    local slot, since, stop = span(kind, a, b, c, d)
    if not slot then return redis.error_reply('CLOCK it is more than a month off') end
    local starts, counts, counted = {}, {}, 0
    for start, count in string.gmatch(text, '(%d+)=(%d+)') do
      start, count = tonumber(start), tonumber(count)
      if start >= since then
        starts[#starts + 1], counts[start] = start, count
        counted = counted + count
      end
    end
    local over = counted + amount - most
    if over > 0 then
      local freed = slot
      for _, start in ipairs(starts) do
        over = over - counts[start]
        if over <= 0 then freed = start break end
      end
      return {i, counted, math.max(freed + stop - slot - now, 0)}
    end
    if not counts[slot] then starts[#starts + 1] = slot end
    counts[slot] = (counts[slot] or 0) + amount
    local parts = {}
    for _, start in ipairs(starts) do
      parts[#parts + 1] = string.format('%.0f=%.0f', start, counts[start])
    end
    held[key], ends[key] = table.concat(parts, ' '), stop
    answer[#answer + 1] = slot
    answer[#answer + 1] = counted + amount
  end
  changed[key] = changed[key] or amount > 0
end

for key, is_changed in pairs(changed) do
  if is_changed then
    redis.call('SET', key, held[key], 'PX', math.max(math.ceil((ends[key] - now) / 1000), 1))
  end
end
return answer

-- Counts for all budgets, or for none. Each is seven arguments: its kind, how many there may be, how many
-- are asked for, and four numbers that the kind explains. Times are microseconds by the clock of Redis,
-- so that those of the replicas need not agree. Counters are texts: `start=count` for each span of time,
-- or when a bucket is full again and in which time one comes back.
-- Answers 0 and then, for each budget, a mark for giving it back and how many are counted now; or which
-- budget did not allow it, how many it has counted, and how long to wait.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local held, ends, changed, answer = {}, {}, {}, {0}

-- Where the current span begins, from where on spans count, and when the current one stops to.
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

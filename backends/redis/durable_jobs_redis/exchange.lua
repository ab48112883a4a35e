-- One exchange: writes, loads, the claim, the clock, in this order (R-4), in one atom.
--
-- What is written are absolute values, never increments: a server that replays its log does no harm by
-- doing it twice. Blobs, revisions and ids are compared byte for byte and never looked into. Instants are
-- stored as decimal text; only the scores of an index are numbers, and they order it.
--
-- An instance is a hash: `rev`, `wake` ('' for none), `status`, `blob`, and `held` while its index entry is
-- not at `wake`: where a claim or a Defer has moved it ('' for out of the index).

local at = 0
local function arg()
  at = at + 1
  return ARGV[at]
end

local identity, mode, not_after = arg() .. ' ', arg(), tonumber(arg())
local settle = mode == 'settle'
local origin, channel = arg(), arg()
local tags = {}
for i, key in ipairs(KEYS) do
  tags[i] = string.sub(key, 1, -6) -- '{space:0}:clock' without 'clock'
end

-- A replica may be behind: nothing is answered from one. This writes nothing, but is refused where a write is:
-- by a primary whose memory is full, before the script has written; afterwards the server lets all through.
local probe = redis.pcall('SETRANGE', tags[1] .. 'probe', 0, '')
local unable = type(probe) == 'table' and probe.err
if unable and string.find(unable, 'READONLY', 1, true) then
  return redis.error_reply('READONLY this server is a replica')
end
-- In a Cluster what is not here is said to be elsewhere while a slot is being moved: then no script has all it needs.
if type(probe) == 'table' and string.find(probe.err, 'non local key', 1, true) then
  return redis.error_reply('TRYAGAIN the slot of this shard is being moved to another node')
end

-- The mark names the store: one that was emptied, or made anew by another, is not written to.
local mark = redis.call('GET', KEYS[1]) or ''
if string.sub(mark, 1, #identity) ~= identity then
  return redis.error_reply('LOST the store that was opened is not here')
end

-- Milliseconds are exact in a double. The mark keeps the clock from going back when the server's is stepped: it then
-- stands still, and with it all that waits for it.
mark = string.sub(mark, #identity + 1)
local time = redis.call('TIME')
local clock = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local trouble = ''
if tonumber(mark) > tonumber(clock) then
  if tonumber(mark) - tonumber(clock) > 1000 then
    trouble = 'its clock is behind the last commit: due work waits, and leases last, until it has caught up'
  end
  clock = mark
end
-- The clock of another node, which set the deadline, may be ahead: what came too late by it is late here, too.
if settle and tonumber(clock) <= not_after and not_after < 2 ^ 53 then
  clock = string.format('%.0f', not_after + 1)
end
local wrote = false
if unable then
  trouble = 'no writes are taken: ' .. unable
end

-- -- rows

local function is_instant(text)
  return text == '' or string.find(text, '^%-?%d+$') ~= nil
end

local function read(place)
  local key = place.tag .. 'row:' .. place.job .. ':' .. place.id
  local rev, wake, status, blob, held =
    unpack(redis.pcall('HMGET', key, 'rev', 'wake', 'status', 'blob', 'held')) -- none of what is no hash
  if rev and wake and status and blob and is_instant(wake) and (not held or is_instant(held)) then
    return { key = key, rev = rev, wake = wake, status = status, blob = blob, held = held }
  end
  if redis.call('EXISTS', key) == 0 then
    return nil
  end
  local raw = redis.call('DUMP', key)
  return { rev = rev or redis.sha1hex(raw), raw = raw }
end

local function told(row)
  if not row then
    return false
  end
  if row.raw then
    return { row.rev, row.raw }
  end
  return { row.rev, row.wake, row.status, row.blob }
end

-- -- the index

-- Puts the entry where it belongs, and tells who waits if it is now the first of its job.
local function file(place, instant)
  local due = place.tag .. 'due:' .. place.job
  if instant == '' then
    redis.call('ZREM', due, place.id)
    return
  end
  redis.call('ZADD', due, instant, place.id)
  local sent = redis.pcall('ZRANK', due, place.id)
  if sent == 0 then
    sent = redis.pcall('PUBLISH', channel, table.concat({ origin, place.tag, instant, place.job }, ' '))
  end
  if type(sent) == 'table' then
    trouble = 'others are not told of due work: ' .. sent.err
  end
end

-- Whether an instant is before the one at which the entry of a row is.
local function is_sooner(instant, row)
  local known = row and (row.held or row.wake) or ''
  return instant ~= '' and (known == '' or tonumber(instant) < tonumber(known))
end

local function list(place)
  redis.call('ZADD', place.tag .. 'ids:' .. place.job, 0, place.id)
  redis.call('SADD', place.tag .. 'jobs', place.job)
end

local function unlist(place)
  redis.call('ZREM', place.tag .. 'ids:' .. place.job, place.id)
  if redis.call('EXISTS', place.tag .. 'ids:' .. place.job) == 0 then
    redis.call('SREM', place.tag .. 'jobs', place.job)
  end
end

-- -- writes

local function next_place()
  return { tag = tags[tonumber(arg())], job = arg(), id = arg() }
end

local function put_back(key, row)
  if not row then
    redis.call('DEL', key)
    return
  end
  redis.call('HSET', key, 'rev', row.rev, 'wake', row.wake, 'status', row.status, 'blob', row.blob)
  if row.held then
    redis.call('HSET', key, 'held', row.held)
  end
end

local function write()
  local op, where, expected = arg(), next_place(), arg()
  local rev, wake, status, blob = arg(), arg(), arg(), arg()
  if tonumber(clock) > not_after then
    return { 'late' }
  end
  local row = read(where)
  if (row and '=' .. row.rev or '') ~= expected then
    return { 'conflicted', told(row) }
  end
  if op == 'put' and row and row.raw then
    return { 'refused', 'it is damaged: it can only be deleted' }
  end
  if unable and op ~= 'delete' then -- a deletion makes room
    return { 'refused', unable }
  end
  -- An entry is at no time later than its row: a server that has cut its log in the midst of this does, once it is
  -- started again, what comes before the cut.
  local files_first = op == 'defer' or is_sooner(wake, row)
  local key = where.tag .. 'row:' .. where.job .. ':' .. where.id
  local done, err = pcall(function() -- the server's own: what it catches is a text in every version
    if op == 'put' then
      list(where)
    elseif op == 'delete' then
      redis.call('DEL', key)
    end
    if files_first then
      file(where, wake)
    end
  end)
  if not done then
    return { 'refused', err } -- the row is as it was, and its entry too: a command that fails does nothing
  end
  if op == 'put' then
    if row and row.held then
      redis.call('HDEL', key, 'held')
    end
    redis.call('HSET', key, 'rev', rev, 'wake', wake, 'status', status, 'blob', blob)
  elseif op == 'defer' and not row.raw then
    redis.call('HSET', key, 'held', wake)
  end
  if not files_first then
    done, err = pcall(file, where, wake)
    if not done and op == 'put' then
      put_back(key, row)
      return { 'refused', err }
    end -- a deletion is done: an entry without a row is removed by a claim
  end
  if op == 'delete' then
    done, err = pcall(unlist, where)
    trouble = done and trouble or 'what is deleted of ' .. where.job .. ' stays listed: ' .. err
  end
  wrote = true
  return { 'committed' }
end

local outcomes = {}
for i = 1, tonumber(arg()) do
  outcomes[i] = write()
end

-- -- loads

-- An entry is put back if it is missing, or elsewhere than the row says (R-6).
local function mend(where, row)
  local instant = row.held or row.wake
  if instant == '' and row.wake ~= '' then
    redis.call('HDEL', row.key, 'held')
    instant = row.wake
  end
  local score = redis.call('ZSCORE', where.tag .. 'due:' .. where.job, where.id)
  if instant ~= '' and tonumber(score) ~= tonumber(instant) then
    file(where, instant)
  end
  if not redis.call('ZSCORE', where.tag .. 'ids:' .. where.job, where.id) then
    list(where)
  end
end

local rows = {}
for i = 1, tonumber(arg()) do
  local where = next_place()
  local row = read(where)
  rows[i] = told(row)
  if row and not row.raw and not unable then
    local done, err = pcall(mend, where, row)
    trouble = done and trouble or 'the index of ' .. where.job .. ' cannot be mended: ' .. err
  end
end

-- -- the claim

local function due(job, now, limit)
  local found = {}
  for _, tag in ipairs(tags) do
    local got =
      redis.call('ZRANGEBYSCORE', tag .. 'due:' .. job, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
    for i = 1, #got, 2 do
      found[#found + 1] = { tag = tag, job = job, id = got[i], instant = got[i + 1], score = tonumber(got[i + 1]) }
    end
  end
  if #tags > 1 then
    table.sort(found, function(a, b)
      return a.score < b.score
    end)
  end
  return found
end

local claimed, size = {}, 0

-- Takes what is due of a job; whether there is room for more. Without a hold it is only told what is due, with
-- what does not fit any more.
local function take(job, limit, now, hold, max_bytes)
  for i, where in ipairs(due(job, now, limit)) do
    if i > limit then
      return true
    end
    local row = read(where)
    if not row then
      redis.call('ZREM', where.tag .. 'due:' .. job, where.id) -- an entry without a row
    else
      local length = #(row.blob or row.raw)
      size = size + length
      local fits = #claimed == 0 or size <= max_bytes
      if hold == '' then
        claimed[#claimed + 1] = { job, where.instant, length }
      end
      if not fits then
        return false
      end
      if hold ~= '' then
        redis.call('ZADD', where.tag .. 'due:' .. job, hold, where.id)
        if not row.raw then
          redis.call('HSET', row.key, 'held', hold)
        end
        claimed[#claimed + 1] = { job, where.id, told(row) }
        wrote = true
      end
    end
  end
  return true
end

-- The earliest entry of a job. A score that may be rounded is not used, but what the row says.
local function first(job)
  local earliest
  for _, tag in ipairs(tags) do
    local got = redis.call('ZRANGE', tag .. 'due:' .. job, 0, 0, 'WITHSCORES')
    if got[1] then
      local instant = got[2]
      if #instant > 15 then
        local row = read({ tag = tag, job = job, id = got[1] })
        instant = row and not row.raw and (row.held or row.wake) or instant
      end
      if not earliest or tonumber(instant) < tonumber(earliest) then
        earliest = instant
      end
    end
  end
  return earliest
end

local next_wake = false
local jobs = tonumber(arg())
if jobs > 0 then
  local now, hold, max_bytes = arg(), arg(), tonumber(arg())
  local room, names = not unable, {} -- what could not be ended is not begun
  for i = 1, jobs do
    local job, limit = arg(), tonumber(arg())
    names[i] = job
    if room then
      local done, more = pcall(take, job, limit, now, hold, max_bytes)
      if done then
        room = more
      else
        trouble = 'due work of ' .. job .. ' is not taken: ' .. more
      end
    end
  end
  for _, job in ipairs(names) do
    local done, instant = pcall(first, job)
    if not done then
      trouble = 'due work of ' .. job .. ' is not seen: ' .. instant
    elseif instant and (not next_wake or tonumber(instant) < tonumber(next_wake)) then
      next_wake = instant
    end
  end
end

-- -- the clock

local left = mark
if wrote or mode ~= '' or string.sub(mark, 1, -4) ~= string.sub(clock, 1, -4) then
  redis.pcall('DEL', tags[1] .. 'probe') -- a script that has written may go on; the mark does not grow
  local set = redis.pcall('SET', KEYS[1], identity .. clock)
  if not set.err then
    left = clock
  elseif mode ~= '' and not wrote then
    return set -- then a write that is on its way might still come in time, or there is nothing to confirm
  end
end

return { clock, outcomes, rows, claimed, next_wake, trouble, mark, left }

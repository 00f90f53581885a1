-- Merges one entry into what Redis holds of one id, atomically: the rules of entry/record.py and entry/timeline.py,
-- on the bytes of entry/envelope.py. tests/integration/test_l2_merge.py holds this script and those modules together.
--
-- KEYS[1]  the entry
-- ARGV     'record',   ttl ms, record
--          'timeline', ttl ms, capacity, meta, sort key, register, sort key, register, ...
-- answers  1 if anything of the entry was newer than what was held, else 0
--
-- Strings are never compared with < or >: Redis lets Lua collate by the locale it was started in. Numbers are exact:
-- revisions and times in microseconds stay below 2^53 until the year 2255.

local FORMAT, MARKER = 1, 2
local META, FENCE = 'meta', '~'
local FEW = 4
local LOADED_AT, FORMAT_AT, KIND_AT, EVENT_TIME_AT, RECORD_SIZE = 9, 17, 18, 19, 34
local META_FORMAT_AT, META_SIZE = 25, 27

local byte, sub, unpack_bytes = string.byte, string.sub, struct.unpack
local key, shape, ttl = KEYS[1], ARGV[1], tonumber(ARGV[2])

local function below(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local function highest(a, b) return below(a, b) and b or a end

local function revision_of(record) return (unpack_bytes('>I8', record)) end

local function event_time_of(record) return (unpack_bytes('>i8', record, EVENT_TIME_AT)) end

local function is_record(bytes) return #bytes >= RECORD_SIZE and byte(bytes, FORMAT_AT) == FORMAT end

local function is_newer(a, b)
  local revision_a, revision_b = revision_of(a), revision_of(b)
  if revision_a ~= revision_b then return revision_a > revision_b end
  local kind_a, kind_b = byte(a, KIND_AT), byte(b, KIND_AT)
  if (kind_a == MARKER) ~= (kind_b == MARKER) then return kind_b == MARKER end
  local loaded_a, loaded_b = unpack_bytes('>I8', a, LOADED_AT), unpack_bytes('>I8', b, LOADED_AT)
  if loaded_a ~= loaded_b then return loaded_a > loaded_b end
  return kind_a > kind_b
end

-- What another type or another writer left under the key is no entry: it is replaced, not reported.
local function held_or_nothing(command, ...)
  local held = redis.pcall(command, key, ...)
  if type(held) == 'table' and held.err then return false end
  return held
end

local function merge_record(record)
  local held = held_or_nothing('GET')
  if held and is_record(held) and not is_newer(record, held) then
    if not is_newer(held, record) and redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
    return 0
  end
  redis.call('SET', key, record, 'PX', ttl)
  return 1
end

local function read_coverage(meta)
  if not meta or #meta < META_SIZE or byte(meta, META_FORMAT_AT) ~= FORMAT then return nil end
  local as_of, loaded_at, trimmed_revision, _, length = unpack_bytes('>i8I8I8BI2', meta)
  if #meta < META_SIZE + length then return nil end
  return {
    as_of = as_of,
    loaded_at = loaded_at,
    trimmed_revision = trimmed_revision,
    complete_from = sub(meta, META_SIZE + 1, META_SIZE + length),
    trimmed_at = sub(meta, META_SIZE + length + 1),
  }
end

local function write_coverage(c)
  return struct.pack('>i8I8I8BI2', c.as_of, c.loaded_at, c.trimmed_revision, FORMAT, #c.complete_from)
    .. c.complete_from
    .. c.trimmed_at
end

local function covers_later(a, b)
  return a.as_of > b.as_of or (a.as_of == b.as_of and below(a.complete_from, b.complete_from))
end

-- The newer coverage; the edge of what made room stays as long as the newer snapshot cannot know what went.
local function united_coverage(newer, older)
  if older.trimmed_revision > newer.as_of then
    newer.trimmed_at = highest(newer.trimmed_at, older.trimmed_at)
    newer.trimmed_revision = math.max(newer.trimmed_revision, older.trimmed_revision)
  end
  return newer
end

local function store(sort_key, register) redis.call('HSET', key, sort_key, register) end

local function is_erased(register, fence)
  return fence
    and byte(fence, KIND_AT) ~= MARKER
    and event_time_of(register) <= event_time_of(fence)
    and revision_of(register) <= revision_of(fence)
end

-- The registers held, or nil if one of them is no register: what it hid cannot be known.
local function held_registers()
  local fields, held = redis.call('HGETALL', key), {}
  for i = 1, #fields, 2 do
    if fields[i] ~= META then
      if not is_record(fields[i + 1]) then return nil end
      held[fields[i]] = fields[i + 1]
    end
  end
  return held
end

-- A snapshot that replaces the coverage held: of what is held, only what is newer than the snapshot stays.
local function take_over(coverage, held, registers)
  for sort_key, register in pairs(held) do
    local given = registers[sort_key]
    if revision_of(register) > coverage.as_of and not (given and is_newer(given, register)) then
      registers[sort_key] = register
    end
  end
  local fence = registers[FENCE]
  for sort_key in pairs(held) do
    if not registers[sort_key] then redis.call('HDEL', key, sort_key) end
  end
  for sort_key, register in pairs(registers) do
    if sort_key ~= FENCE and is_erased(register, fence) then
      redis.call('HDEL', key, sort_key)
    elseif register ~= held[sort_key] then
      store(sort_key, register)
    end
  end
end

-- Writes, or a look no newer than the coverage held: only the registers given are touched, unless a fence is new.
local function add(as_of, registers)
  local fence, changed = redis.call('HGET', key, FENCE), 0
  local new_fence = registers[FENCE]
  if new_fence and revision_of(new_fence) > as_of and (not fence or is_newer(new_fence, fence)) then
    fence, changed = new_fence, 1
    store(FENCE, fence)
    for sort_key, register in pairs(held_registers() or {}) do
      if sort_key ~= FENCE and is_erased(register, fence) then redis.call('HDEL', key, sort_key) end
    end
  end
  for sort_key, register in pairs(registers) do
    if sort_key ~= FENCE and revision_of(register) > as_of and not is_erased(register, fence) then
      local held = redis.call('HGET', key, sort_key)
      if not held or not is_record(held) or is_newer(register, held) then
        store(sort_key, register)
        changed = 1
      end
    end
  end
  return changed
end

-- Makes a function that takes the lowest of the sort keys out of the list. Their digits are of one width, so the times
-- order them all but for ties; comparing the bytes of each pair would cost more than all the rest of a write. One key
-- usually makes room for one: finding it is cheaper than sorting all.
local function lowest_first(sort_keys, times, count)
  local function precedes(a, b)
    local time_a, time_b = times[a], times[b]
    return time_a < time_b or (time_a == time_b and below(a, b))
  end
  if count > FEW then
    table.sort(sort_keys, function(a, b) return precedes(b, a) end)
    return function() return table.remove(sort_keys) end
  end
  return function()
    local lowest = 1
    for i = 2, #sort_keys do
      if precedes(sort_keys[i], sort_keys[lowest]) then lowest = i end
    end
    return table.remove(sort_keys, lowest)
  end
end

local function make_room(coverage, surplus)
  local sort_keys, times = {}, {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if field ~= META and field ~= FENCE then
      sort_keys[#sort_keys + 1] = field
      times[field] = tonumber(field) or tonumber(string.match(field, '^%d+')) or -1
    end
  end
  local take_lowest, passed_snapshot = lowest_first(sort_keys, times, surplus), false
  for _ = 1, surplus do
    local sort_key = take_lowest()
    local revision = revision_of(redis.call('HGET', key, sort_key))
    redis.call('HDEL', key, sort_key)
    if revision > coverage.as_of then
      coverage.trimmed_at = highest(coverage.trimmed_at, sort_key)
      coverage.trimmed_revision = math.max(coverage.trimmed_revision, revision)
    else
      passed_snapshot = true
    end
  end
  if passed_snapshot then coverage.complete_from = highest(coverage.complete_from, take_lowest()) end
end

local function merge_timeline(capacity, meta, registers)
  local coverage, changed = read_coverage(meta), 1
  local held_meta = held_or_nothing('HGET', META)
  local held = read_coverage(held_meta)
  if held and covers_later(coverage, held) then
    local registers_held = held_registers()
    if registers_held then
      take_over(coverage, registers_held, registers)
      coverage = united_coverage(coverage, held)
    else
      held = nil
    end
  elseif held then
    changed = add(held.as_of, registers)
    coverage = united_coverage(held, coverage)
  end
  if not held then
    redis.call('DEL', key)
    for sort_key, register in pairs(registers) do store(sort_key, register) end
  end
  local surplus = redis.call('HLEN', key) - (held and 1 or 0) - redis.call('HEXISTS', key, FENCE) - capacity
  if surplus > 0 then make_room(coverage, surplus) end
  local new_meta = write_coverage(coverage)
  if not held or new_meta ~= held_meta then store(META, new_meta) end
  if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
  return changed
end

if shape == 'record' then return merge_record(ARGV[3]) end
local registers = {}
for i = 5, #ARGV, 2 do registers[ARGV[i]] = ARGV[i + 1] end
return merge_timeline(tonumber(ARGV[3]), ARGV[4], registers)

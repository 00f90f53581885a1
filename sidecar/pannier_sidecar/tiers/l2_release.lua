-- Lets go of leases, each only if it is still held by whom it was given to.
--
-- KEYS     leases, of one slot
-- ARGV     the token of each
-- answers  for each key 1 if the token held it, else 0: its time had run out, and somebody else may hold it by now

local released = {}
for i, key in ipairs(KEYS) do
  released[i] = redis.call('GET', key) == ARGV[i] and redis.call('DEL', key) or 0
end
return released

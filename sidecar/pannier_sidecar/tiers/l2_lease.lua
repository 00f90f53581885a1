-- Takes the lease on loading each id, unless somebody holds it.
--
-- KEYS     leases, of one slot
-- ARGV     token and time to live in ms of each
-- answers  for each key 1 if the token holds it now, else 0; asking again with the same token changes nothing
--
-- A lease spares loads of L3. No state is ever accepted or refused because of it, so it may be lost with its Redis.

local taken = {}
for i, key in ipairs(KEYS) do
  local token = ARGV[2 * i - 1]
  local is_new = redis.call('SET', key, token, 'NX', 'PX', ARGV[2 * i])
  taken[i] = (is_new or redis.call('GET', key) == token) and 1 or 0
end
return taken

-- Say that the copy is whole. KEYS: FILLING, MARKER, FRESH. ARGV: the names of the fill and the Redis.
local MARKER_SECONDS = 900 -- the one in place stays valid meanwhile
local REFRESH_SECONDS = 300 -- the copy is made anew this often, whatever happened to it
local here = identity()
for _, name in ipairs(ARGV) do
    if not is_of(name, here) then return 0 end
end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'EX', MARKER_SECONDS)
redis.call('SET', KEYS[3], '1', 'EX', REFRESH_SECONDS)
return redis.call('DEL', KEYS[1])

-- Say that the copy is whole.
-- KEYS: FILLING, MARKER, FRESH, the mark of everybody. ARGV: the names of the fill and the Redis,
-- milliseconds of the mark.
local MARKER_SECONDS = 900 -- the one in place stays valid meanwhile
local REFRESH_SECONDS = 300 -- the copy is made anew this often, whatever happened to it
local here = identity()
for i = 1, 2 do
    if not is_of(ARGV[i], here) then return 0 end
end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if redis.call('GET', KEYS[2]) ~= ARGV[2] then -- marks may have been lost: see revocation.py
    redis.call('SET', KEYS[4], '1', 'PX', ARGV[3])
end
redis.call('SET', KEYS[2], ARGV[2], 'EX', MARKER_SECONDS)
redis.call('SET', KEYS[3], '1', 'EX', REFRESH_SECONDS)
return redis.call('DEL', KEYS[1])

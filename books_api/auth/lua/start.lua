-- Begin a fill, whose name is returned, unless another of this Redis is under way.
-- KEYS: FILLING. ARGV: a random token.
local here = identity()
local filling = redis.call('GET', KEYS[1])
if filling and is_of(filling, here) then return false end
local time = redis.call('TIME')
local name = table.concat({ARGV[1], time[1], time[2], here}, ':')
redis.call('SET', KEYS[1], name, 'EX', FILLING_SECONDS)
return name

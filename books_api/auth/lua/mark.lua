-- Mark a user for a while. KEYS: the mark. ARGV: the name of the Redis, milliseconds.
if not is_of(ARGV[1], identity()) then return 0 end
redis.call('SET', KEYS[1], '1', 'PX', ARGV[2])
return 1

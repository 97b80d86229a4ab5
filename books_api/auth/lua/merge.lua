-- KEYS: FILLING and those of the changes. ARGV: the name of the fill or '', the name of the Redis or
-- '', then value, pending to add, pending to remove and end of life of each key. Ends of life are
-- whole seconds, lives are told in milliseconds.
if ARGV[1] ~= '' then
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    redis.call('EXPIRE', KEYS[1], FILLING_SECONDS)
end
if ARGV[2] ~= '' and not is_of(ARGV[2], identity()) then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
for i = 2, #KEYS do
    local key, value, add, drop, expires = KEYS[i], unpack(ARGV, 4 * i - 5, 4 * i - 2)
    local before, life = redis.call('GET', key) or '', redis.call('PTTL', key)
    local pendings, after = '', before
    if string.sub(before, 1, 1) == PENDING then
        pendings, after = string.match(before, '^([^=]*)=?(.*)$')
    end
    if drop ~= '' then
        local first, last = string.find(pendings, drop, 1, true)
        if first then
            pendings = string.sub(pendings, 1, first - 1) .. string.sub(pendings, last + 1)
        end
    end
    if add ~= '' and not string.find(pendings, add, 1, true) then pendings = pendings .. add end
    if tonumber(value) > (tonumber(after) or 0) then after = value end
    if pendings ~= '' then after = pendings .. (after == '' and '' or '=' .. after) end
    if after == '' then
        redis.call('DEL', key)
    elseif expires * 1000 - now > (life > 0 and life + 500 or 0) then
        redis.call('SET', key, after, 'EXAT', expires)
    elseif after ~= before and life ~= -2 then
        redis.call('SET', key, after, 'KEEPTTL')
    end
end
return 1

local FILLING_SECONDS = 15 -- without a page: the filler is dead
local PENDING = '?'

-- Which server this is, in which of its lives as a primary.
local function identity()
    local info = redis.call('INFO')
    assert(string.find(info, 'maxmemory_policy:noeviction', 1, true), 'Redis evicts')
    return string.match(info, 'run_id:(%w+)') .. ':' .. string.match(info, 'master_replid:(%w+)')
end

local function is_of(name, identity)
    return string.sub(name, -#identity) == identity
end


-- Beds and admissions. A bed and a patient each name the open admission that they are part of: so neither is ever in two.

local function is_free(call)
    if redis.call('HEXISTS', 'bed:' .. call.fields.bed, '_admission') == 1 then
        return 'refused_bed_taken'
    end
end

local function take(bed, id)
    redis.call('HSET', 'bed:' .. bed, '_admission', id)
    redis.call('ZREM', 'bed:free', bed)
end

local function give_back(bed)
    redis.call('HDEL', 'bed:' .. bed, '_admission')
    redis.call('ZADD', 'bed:free', bed, bed)
end

local function is_open(_, before)
    if before.state ~= 'open' then
        return 'refused_closed'
    end
end

register('save_bed', function(call)
    return save(call, action_of(call), nil, function(_, before, id)
        if not before._version then
            redis.call('ZADD', 'bed:free', id, id)
        end
    end)
end)

register('remove_bed', function(call)
    return remove(call, function(_, before)
        return before._admission and 'refused_bed_taken'
    end, function(_, _, id)
        redis.call('ZREM', 'bed:free', id)
    end)
end)

register('admit', function(call)
    call.fields.state = 'open'
    call.group = 'open'
    return save(call, 'admitted', function()
        if redis.call('HEXISTS', 'patient:' .. call.fields.patient, '_admission') == 1 then
            return 'refused_already_admitted'
        end
        return is_free(call)
    end, function(_, _, id)
        take(call.fields.bed, id)
        redis.call('HSET', 'patient:' .. call.fields.patient, '_admission', id)
    end)
end)

register('move', function(call)
    call.group = 'open'
    return save(call, 'moved', function(_, before)
        return is_open(call, before) or is_free(call)
    end, function(_, before, id)
        give_back(before.bed)
        take(call.fields.bed, id)
    end)
end)

register('discharge', function(call)
    call.fields.state = 'closed'
    call.group = 'closed'
    return save(call, 'discharged', is_open, function(_, before)
        give_back(before.bed)
        redis.call('HDEL', 'patient:' .. before.patient, '_admission')
    end)
end)

-- What may still be corrected in an admission is neither its patient nor its bed.
register('save_admission', function(call)
    return save(call, action_of(call), function(_, before)
        call.group = before.state
        call.fields.patient, call.fields.bed = nil, nil
    end)
end)

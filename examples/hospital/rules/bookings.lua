-- Bookings. A slot is a field of the hash slots:DOCTOR:DATE, named by its time: there is one of each.

local function slots(booking)
    return 'slots:' .. booking.doctor .. ':' .. booking.date
end

register('book', function(call)
    call.fields.state = 'open'
    call.group = call.fields.date
    return save(call, 'booked', function()
        if redis.call('HEXISTS', slots(call.fields), call.fields.time) == 1 then
            return 'refused_slot_taken'
        end
    end, function(_, _, id)
        redis.call('HSET', slots(call.fields), call.fields.time, id)
    end)
end)

register('cancel_booking', function(call)
    call.fields.state = 'cancelled'
    call.group = ''
    return save(call, 'cancelled', function(_, before)
        if before.state ~= 'open' then
            return 'refused_closed'
        end
    end, function(_, before)
        redis.call('HDEL', slots(before), before.time)
    end)
end)

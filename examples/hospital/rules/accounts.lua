-- Accounts. One administrator is always left, so nobody locks everybody out.

local function is_last(id)
    local left = redis.call('ZRANGE', 'account:in:administrator', 0, -1)
    return #left == 1 and left[1] == id
end

register('save_account', function(call)
    return save(call, action_of(call), function(_, before)
        if before.role == 'administrator' and call.fields.role ~= 'administrator' and is_last(call.id) then
            return 'refused_last_administrator'
        end
    end)
end)

register('remove_account', function(call)
    return remove(call, function()
        return is_last(call.id) and 'refused_last_administrator'
    end)
end)

-- The first account, made with the code that the program printed. There must be none yet.
register('first_account', function(call)
    return save(call, 'created', function()
        return redis.call('EXISTS', 'account:all') == 1 and 'refused_set_up_already'
    end)
end)

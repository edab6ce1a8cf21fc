-- Drugs and prescriptions. Stock changes here alone, and never below zero; a prescription takes all that it names or nothing.

local LINES = 4

-- Also keeps the list of drugs that run out.
local function set_stock(id, stock)
    redis.call('HSET', 'drug:' .. id, 'stock', stock)
    local least = tonumber(redis.call('HGET', 'drug:' .. id, 'stock_min')) or 0
    if stock <= least then
        redis.call('ZADD', 'drug:low', stock, id)
    else
        redis.call('ZREM', 'drug:low', id)
    end
end

local function stock_of(id)
    return tonumber(redis.call('HGET', 'drug:' .. id, 'stock') or '0')
end

-- How much of each drug the lines name together; two lines may name the same one.
local function amounts(prescription)
    local sums = {}
    for line = 1, LINES do
        local drug = prescription['drug' .. line]
        if drug and drug ~= '' then
            sums[drug] = (sums[drug] or 0) + tonumber(prescription['amount' .. line])
        end
    end
    return sums
end

local function change_stocks(call, sums, sign)
    for drug, amount in pairs(sums) do
        local before = stock_of(drug)
        set_stock(drug, before + sign * amount)
        local note = { kind = 'drug', who = call.who, now = call.now }
        audit(note, sign < 0 and 'dispensed' or 'taken_back', drug, 'stock: ' .. before .. ' → ' .. before + sign * amount)
    end
end

register('save_drug', function(call)
    call.fields.stock = nil
    return save(call, action_of(call), nil, function(_, _, id)
        set_stock(id, stock_of(id))
    end)
end)

register('remove_drug', function(call)
    return remove(call, nil, function(_, _, id)
        redis.call('ZREM', 'drug:low', id)
    end)
end)

-- A delivery, or a correction after counting: the amount may be negative.
register('stock', function(call)
    local amount = tonumber(call.fields.amount)
    call.fields = {}
    return save(call, 'stock', function(_, before)
        if tonumber(before.stock or '0') + amount < 0 then
            return 'refused_stock'
        end
        call.fields.stock = string.format('%d', tonumber(before.stock or '0') + amount)
    end, function(_, _, id)
        set_stock(id, stock_of(id))
    end)
end)

register('dispense', function(call)
    call.fields.state = 'open'
    call.group = 'open'
    local sums = amounts(call.fields)
    return save(call, 'dispensed', function()
        for drug, amount in pairs(sums) do
            if stock_of(drug) < amount then
                return 'refused_stock'
            end
        end
    end, function()
        change_stocks(call, sums, -1)
    end)
end)

-- The prescription stays and says that it was taken back; the drugs are in stock again.
register('take_back', function(call)
    call.fields.state = 'cancelled'
    call.group = 'cancelled'
    return save(call, 'cancelled', function(_, before)
        if before.state ~= 'open' then
            return 'refused_closed'
        end
    end, function(_, before)
        change_stocks(call, amounts(before), 1)
    end)
end)

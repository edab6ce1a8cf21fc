#!lua name=hospital
-- What every record has in common: it is saved, found and removed in one step, and the audit trail says so in the same step.
--
-- Each function gets one argument, a JSON object `call`: kind, id (none: a new record), version, fields, words, refers, group, unique,
-- entry, who, now. It answers {'ok', id} or {'refused', why}. What a function wrote before an error stays, so each one looks first and
-- writes then: no `refuse` stands behind a write.

local function refuse(why)
    return { 'refused', why }
end

local function load(key)
    local record, flat = {}, redis.call('HGETALL', key)
    for at = 1, #flat, 2 do
        record[flat[at]] = flat[at + 1]
    end
    return record
end

local function audit(call, action, id, details)
    local line = { now = call.now, who = call.who, action = action, kind = call.kind, id = id, details = details }
    redis.call('RPUSH', 'audit', cjson.encode(line))
end

-- A form that is sent twice, by an impatient person or after a lost answer, is one entry: its second sending gets the first one's answer.
local function done_before(call)
    local id = redis.call('GET', 'entry:' .. call.entry)
    return id and { 'ok', id }
end

local function is_done(call, id)
    redis.call('SET', 'entry:' .. call.entry, id, 'EX', 86400)
    return { 'ok', id }
end

local function take_out_of_indexes(kind, id, record)
    for word in string.gmatch(record._words or '', '%S+') do
        redis.call('ZREM', kind .. ':words', word .. '\0' .. id)
    end
    for other in string.gmatch(record._refers or '', '%S+') do
        redis.call('ZREM', 'of:' .. other, kind .. ':' .. id)
    end
    if (record._group or '') ~= '' then
        redis.call('ZREM', kind .. ':in:' .. record._group, id)
    end
    if (record._unique or '') ~= '' then
        redis.call('HDEL', kind .. ':unique', record._unique)
    end
end

local function put_into_indexes(call, id)
    redis.call('ZADD', call.kind .. ':all', id, id)
    for _, word in ipairs(call.words) do
        redis.call('ZADD', call.kind .. ':words', 0, word .. '\0' .. id)
    end
    for _, other in ipairs(call.refers) do
        redis.call('ZADD', 'of:' .. other, call.now, call.kind .. ':' .. id)
    end
    if call.group ~= '' then
        redis.call('ZADD', call.kind .. ':in:' .. call.group, id, id)
    end
    if call.unique ~= '' then
        redis.call('HSET', call.kind .. ':unique', call.unique, id)
    end
end

-- Why a record can't be saved; nil: it can.
local function hindrance(call, before)
    if call.id and not before._version then
        return 'refused_gone'
    end
    if call.id and before._version ~= call.version then
        return 'refused_changed_meanwhile'
    end
    local owner = call.unique ~= '' and redis.call('HGET', call.kind .. ':unique', call.unique)
    if owner and owner ~= call.id then
        return 'refused_not_unique'
    end
    for _, other in ipairs(call.refers) do
        if redis.call('EXISTS', other) == 0 then
            return 'refused_reference_gone'
        end
    end
end

local function changes(before, fields)
    local details = {}
    for name, value in pairs(fields) do
        if string.sub(name, 1, 1) ~= '_' and (before[name] or '') ~= value then
            local old = (before[name] or '') ~= '' and before[name] .. ' → ' or ''
            table.insert(details, name .. ': ' .. old .. value)
        end
    end
    table.sort(details)
    return table.concat(details, '; ')
end

-- Writes only: whoever calls it has asked `hindrance`.
local function write(call, before, action)
    local id = call.id or tostring(redis.call('INCR', call.kind .. ':last'))
    local key = call.kind .. ':' .. id
    take_out_of_indexes(call.kind, id, before)
    put_into_indexes(call, id)
    audit(call, action, id, changes(before, call.fields))
    for name, value in pairs(call.fields) do
        redis.call('HSET', key, name, value)
    end
    redis.call('HSET', key, '_words', table.concat(call.words, ' '), '_refers', table.concat(call.refers, ' '),
        '_group', call.group, '_unique', call.unique, '_changed', call.now, '_by', call.who)
    redis.call('HINCRBY', key, '_version', 1)
    return id
end

-- Saves a record. `rule` (may be nil) says what hinders this kind beside the rest; `follow` (may be nil) writes what follows from it.
local function save(call, action, rule, follow)
    local answer = done_before(call)
    if answer then
        return answer
    end
    local before = call.id and load(call.kind .. ':' .. call.id) or {}
    local why = hindrance(call, before) or (rule and rule(call, before))
    if why then
        return refuse(why)
    end
    local id = write(call, before, action)
    if follow then
        follow(call, before, id)
    end
    return is_done(call, id)
end

-- Removes a record that no other one refers to.
local function remove(call, rule, follow)
    local answer = done_before(call)
    if answer then
        return answer
    end
    local before = load(call.kind .. ':' .. call.id)
    local why = hindrance(call, before) or (rule and rule(call, before))
    if why then
        return refuse(why)
    end
    if redis.call('EXISTS', 'of:' .. call.kind .. ':' .. call.id) == 1 then
        return refuse('refused_in_use')
    end
    take_out_of_indexes(call.kind, call.id, before)
    redis.call('ZREM', call.kind .. ':all', call.id)
    redis.call('DEL', call.kind .. ':' .. call.id)
    if follow then
        follow(call, before, call.id)
    end
    audit(call, 'removed', call.id, before.name or before.title or before.login or '')
    return is_done(call, call.id)
end

local function action_of(call)
    return call.id and 'changed' or 'created'
end

local function register(name, body)
    redis.register_function('hospital_' .. name, function(_, arguments)
        return body(cjson.decode(arguments[1]))
    end)
end

register('save', function(call)
    return save(call, action_of(call))
end)

register('remove', function(call)
    return remove(call)
end)

-- Who has logged in or out, who asked for a backup: what changes no record.
register('note', function(call)
    audit(call, call.action, call.id or '', call.details or '')
    return { 'ok', '' }
end)

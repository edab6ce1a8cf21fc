-- What must be written in Lua, because it catches errors or calls a script's functions where a call from Rust would lose them. Its functions
-- have no place of their own in errors: the chunk is named as functions in C are.
local translate, place, is_protected, raise, is_over = ...
local pcall, xpcall, resume, unpack = pcall, xpcall, coroutine.resume, unpack
local select, type, tostring, tonumber, error, getmetatable = select, type, tostring, tonumber, error, getmetatable

local function bad(number, name, expected, ...)
    local found = select('#', ...) < number and 'no value' or type((select(number, ...)))
    raise("bad argument #" .. number .. " to '" .. name .. "' (" .. expected .. " expected, got " .. found .. ")")
end

-- What a script finds where it catches an error. It finds nothing where it is over: then `translate` fails.
local function settled(e)
    if type(e) == 'userdata' or e == 'not enough memory' then
        return translate(e)
    end
    return e
end

local function finished(...)
    if (...) then
        return ...
    end
    local e = settled((select(2, ...)))
    if type(e) == 'table' then
        local text = e.err
        if type(text) == 'string' or type(text) == 'number' then
            e = text
        end
    end
    return false, e
end

local function told(...)
    if (...) then
        return ...
    end
    return false, settled((select(2, ...)))
end

local prelude = {}

-- As Redis has it: an error of its API is caught as its text.
function prelude.pcall(...)
    return finished(pcall(...))
end

-- A handler of an error that the hook raised runs without one, so it must not be the script's.
function prelude.xpcall(f, handler)
    return told(xpcall(f, function(e)
        if is_over() then
            return e
        end
        return handler(settled(e))
    end))
end

function prelude.resume(...)
    if type((...)) ~= 'thread' then
        raise("bad argument #1 to 'resume' (coroutine expected)")
    end
    return told(resume(...))
end

function prelude.unpack(...)
    local t, i, j = ...
    if type(t) ~= 'table' then
        bad(1, 'unpack', 'table', ...)
    end
    local from = i == nil and 1 or tonumber(i) or bad(2, 'unpack', 'number', ...)
    local to = j == nil and #t or tonumber(j) or bad(3, 'unpack', 'number', ...)
    -- As many as a function in C may have on its stack. The stock one counts them in an int. A NaN is refused too.
    if not (to - from + 1 + select('#', ...) <= 8000) then
        raise('too many results to unpack')
    end
    return unpack(...)
end

local function handler(e)
    if is_over() then
        return e
    end
    e = settled(e)
    if type(e) ~= 'table' then
        e = {err = 'ERR ' .. tostring(e)}
    end
    local source, line = place()
    if source then
        e.source = source
        e.line = line
    end
    return e
end

function prelude.run(f)
    return xpcall(f, handler)
end

function prelude.call(f, keys, argv)
    return xpcall(function()
        return f(keys, argv)
    end, handler)
end

-- What libraries are loaded with: no place is told but the one in the text.
function prelude.load(f)
    return told(pcall(f))
end

local function less(a, b)
    local ta, tb = type(a), type(b)
    if ta ~= tb then
        error('attempt to compare ' .. ta .. ' with ' .. tb, 0)
    elseif ta ~= 'number' and ta ~= 'string' and not (ta == 'table' and (getmetatable(a) or {}).__lt) then
        error('attempt to compare two ' .. ta .. ' values', 0)
    end
    return a < b
end

local function is_less(a, b)
    return a < b
end

local function is_of_one_kind(t, n)
    local kind = type(t[1])
    if kind ~= 'number' and kind ~= 'string' then
        return false
    end
    for i = 2, n do
        if type(t[i]) ~= kind then
            return false
        end
    end
    return true
end

-- The order of equal elements is the one that the stock function leaves, so its steps are too. Here each of them can be interrupted.
local function sort(t, l, u, lt)
    while l < u do
        if lt(t[u], t[l]) then
            t[l], t[u] = t[u], t[l]
        end
        if u - l == 1 then
            return
        end
        local i = (l + u - (l + u) % 2) / 2
        if lt(t[i], t[l]) then
            t[i], t[l] = t[l], t[i]
        elseif lt(t[u], t[i]) then
            t[i], t[u] = t[u], t[i]
        end
        if u - l == 2 then
            return
        end
        local pivot = t[i]
        t[i], t[u - 1] = t[u - 1], t[i]
        local j
        i, j = l, u - 1
        while true do
            i = i + 1
            while lt(t[i], pivot) do
                if i > u then
                    raise('invalid order function for sorting')
                end
                i = i + 1
            end
            j = j - 1
            while lt(pivot, t[j]) do
                if j < l then
                    raise('invalid order function for sorting')
                end
                j = j - 1
            end
            if j < i then
                break
            end
            t[i], t[j] = t[j], t[i]
        end
        t[u - 1], t[i] = t[i], t[u - 1]
        if i - l < u - i then
            sort(t, l, i - 1, lt)
            l = i + 1
        else
            sort(t, i + 1, u, lt)
            u = i - 1
        end
    end
end

function prelude.sort(...)
    local t, f = ...
    if type(t) ~= 'table' then
        bad(1, 'sort', 'table', ...)
    elseif f ~= nil and type(f) ~= 'function' then
        bad(2, 'sort', 'function', ...)
    elseif is_protected(t) then
        error('Attempt to modify a readonly table', 0)
    end
    local n = #t
    sort(t, 1, n, f or (is_of_one_kind(t, n) and is_less) or less)
end

return prelude

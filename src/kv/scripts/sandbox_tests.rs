//! What a script cannot reach or change. Each test shows beside it what the stock interpreter does, where that can be shown without harm.

use mlua::chunk::ChunkMode;
use mlua::{Lua, Value};

use super::fixture::{Bench, eval};

/// Runs in an interpreter that has nothing of ours.
fn stock(source: &str) -> String {
    let lua = Lua::new();
    let value: mlua::Result<Value> = lua.load(source).eval();
    value.and_then(|value| value.to_string()).unwrap_or_else(|error| format!("-{error}"))
}

#[test]
fn globals_are_those_of_the_list() {
    let source = "local names = {} for name in pairs(_G) do names[#names + 1] = name end table.sort(names) return table.concat(names, ' ')";
    let names = "ARGV KEYS _G _VERSION assert bit cjson cmsgpack collectgarbage coroutine error gcinfo getmetatable ipairs load loadstring math next os \
                 pairs pcall rawequal rawget rawset redis select setmetatable string struct table tonumber tostring type unpack xpcall";
    assert_eq!(eval(source), format!("${}|{names}|", names.len()));
    for name in
        ["dofile", "loadfile", "print", "require", "module", "package", "io", "debug", "newproxy", "getfenv", "setfenv"]
    {
        let text = format!("user_script:1: Script attempted to access nonexistent global variable '{name}'");
        assert_eq!(eval(&format!("return {name}")), format!("-ERR {text} script: SHA, on @user_script:1."));
    }
    assert_eq!(stock("return type(dofile) .. type(newproxy) .. type(setfenv) .. type(print)"), "function".repeat(4));
    assert_eq!(
        eval("local names = {} for name in pairs(os) do names[#names + 1] = name end return names"),
        "*1|$5|clock|"
    );
}

#[test]
fn nothing_that_scripts_share_can_be_written() {
    let refused = "-ERR user_script:1: Attempt to modify a readonly table script: SHA, on @user_script:1.";
    for target in [
        "x",
        "redis",
        "_G.x",
        "redis.call",
        "string.rep",
        "table.x",
        "math.pi",
        "cjson.x",
        "cmsgpack.pack",
        "struct.x",
        "bit.band",
        "os.clock",
        "coroutine.wrap",
        "getmetatable('').__index",
        "getmetatable(_G).__index",
        "getmetatable('').__index.rep",
        "pcall",
    ] {
        assert_eq!(eval(&format!("{target} = 1")), refused, "{target}");
    }
    let refused = "-ERR Attempt to modify a readonly table script: SHA, on @user_script:1.";
    for source in [
        "rawset(_G, 'x', 1)",
        "rawset(string, 'rep', 1)",
        "rawset(getmetatable(''), '__index', 1)",
        "setmetatable(_G, {})",
        "setmetatable(string, nil)",
        "setmetatable(getmetatable(''), {})",
        "table.insert(redis, 1)",
        "table.insert(redis, 1, 1)",
        "table.remove(redis)",
        "table.sort(redis)",
    ] {
        assert_eq!(eval(source), refused, "{source}");
    }
    assert_eq!(stock("rawset(string, 'rep', 1) table.insert(math, 5) return string.rep + math[1]"), "6");
}

/// CVE-2025-46818: what one user's script puts into the metatable of a basic type runs in the scripts of others.
#[test]
fn metatables_of_basic_types_are_out_of_reach() {
    assert_eq!(stock("getmetatable('').__index = function() return 'taken' end return ('x').anything"), "taken");
    let mut bench = Bench::new();
    for value in ["''", "1", "true", "nil", "function() end", "coroutine.create(function() end)", "cjson.null"] {
        let source = format!(
            "local m = getmetatable({value}) return pcall(function() m.__index = function() return 'taken' end end)"
        );
        let answer = bench.eval(&source);
        assert_eq!(answer, "$-1|", "{value}");
    }
    assert_eq!(bench.eval("return ('x').anything"), "$-1|");
    assert_eq!(bench.eval("return ('ab'):rep(2)"), "$4|abab|");
}

#[test]
fn bytecode_is_refused() {
    let lua = Lua::new();
    let code: mlua::LuaString = lua.load("return string.dump(function() return 42 end)").eval().unwrap();
    let loaded: mlua::Result<i64> = lua.load("return loadstring(...)()").set_mode(ChunkMode::Text).call(code.clone());
    assert_eq!(loaded.unwrap(), 42, "the stock interpreter runs it");
    let mut bench = Bench::new();
    for source in [
        "return type(loadstring(string.dump(function() return 42 end)))",
        "local code = string.dump(function() return 42 end) return type(load(function() local c = code code = nil return c end))",
    ] {
        assert_eq!(bench.eval(source), "$3|nil|", "{source}");
    }
    let refused = bench.run(&code.as_bytes(), &[], &[]).unwrap_err();
    assert!(refused.text().starts_with("ERR Error compiling script (new function): "), "{}", refused.text());
}

/// CVE-2025-49844: the parser holds the name of a chunk where the collector does not see it. A load under pressure is to be of no harm; that
/// it would be in the stock interpreter shows only in a broken heap.
#[test]
fn chunks_are_compiled_while_the_collector_rests() {
    let source = "for i = 1, 300 do
            local name = '=' .. string.rep('n', 100) .. i
            local parts = {}
            for j = 1, 50 do parts[j] = 'local a' .. j .. ' = \"' .. string.rep('x', 50) .. j .. '\"' end
            local f, e = loadstring(table.concat(parts, ' ') .. ' return 1', name)
            if f() ~= 1 then error('it is broken') end
            local f, e = loadstring('x y', name)
            if not e:find('^nnnn') then error(e) end
        end
        return 1";
    assert_eq!(eval(source), ":1|");
}

/// CVE-2024-46981: the stock `collectgarbage` runs while a state is closed. Ours cannot be changed by a script, and the state has no finalizers.
#[test]
fn the_collector_is_not_a_script_s_to_steer() {
    let mut bench = Bench::new();
    assert_eq!(
        bench
            .eval("return {collectgarbage('stop'), collectgarbage('setpause', 1000), collectgarbage('setstepmul', 1)}"),
        "*3|:0|:200|:200|"
    );
    assert_eq!(stock("collectgarbage('stop') return collectgarbage('setpause', 1000)"), "200");
    assert_eq!(
        stock("return collectgarbage('setpause', 1000) + collectgarbage('setpause', 5)"),
        "1200",
        "it stays changed"
    );
    let garbage = "for i = 1, 300000 do local t = {i} end return 1";
    assert_eq!(bench.eval(garbage), ":1|");
    assert!(bench.interpreter.used_bytes() < 16 << 20, "it is collected all the same");
    assert_eq!(
        eval("local p = setmetatable({}, {__gc = function() error('x') end}) p = nil collectgarbage() return 1"),
        ":1|"
    );
}

#[test]
fn errors_are_never_values_of_rust() {
    for source in [
        "local ok, e = pcall(string.rep) return type(e)",
        "local ok, e = pcall(string.find, 'a', '[a') return type(e)",
        "local ok, e = xpcall(function() string.rep() end, function(e) return type(e) end) return e",
        "local ok, e = coroutine.resume(coroutine.create(function() string.rep() end)) return type(e)",
        "local ok, e = pcall(coroutine.wrap(function() string.rep() end)) return type(e)",
        "local ok, e = pcall(string.gsub, 'a', 'a', function() string.rep() end) return type(e)",
        "local ok, e = pcall(function() return x end) return type(e)",
        "local f, e = load(function() string.rep() end) return type(e)",
    ] {
        assert_eq!(eval(source), "$6|string|", "{source}");
    }
    assert_eq!(
        eval("local ok, e = coroutine.resume(coroutine.create(function() redis.call('nosuch') end)) return type(e)"),
        "$5|table|"
    );
    assert_eq!(
        eval("local t = {} local ok, e = pcall(string.gsub, 'a', 'a', function() error(t) end) return e == t"),
        ":1|"
    );
}

#[test]
fn scripts_and_functions_keep_their_own_globals() {
    let mut bench = Bench::new();
    let code = "#!lua name=lib\nredis.register_function('f', function(keys, argv) return type(redis.breakpoint) end)\n\
                redis.register_function('g', function() return KEYS end)\n\
                redis.register_function('h', function() return loadstring('return ARGV')() end)";
    bench.interpreter.load_library(code.as_bytes(), &mut bench.host).unwrap();
    assert_eq!(bench.eval("return type(redis.breakpoint)"), "$8|function|");
    assert_eq!(bench.call("lib", "f"), "$3|nil|");
    let text = |name: &str| format!("Script attempted to access nonexistent global variable '{name}'");
    assert_eq!(
        bench.call("lib", "g"),
        format!("-ERR user_function:3: {} script: g, on @user_function:3.", text("KEYS"))
    );
    assert!(bench.call("lib", "h").contains(&text("ARGV")));
}

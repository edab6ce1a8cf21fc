//! Libraries: what they register, how they fail to, and their functions.

use super::fixture::Bench;
use super::{Function, Library, Over, ScriptError, ScriptFlags};

fn load(bench: &mut Bench, code: &str) -> Result<Library, ScriptError> {
    bench.interpreter.load_library(code.as_bytes(), &mut bench.host)
}

#[test]
fn functions_are_registered_in_both_forms() {
    let mut bench = Bench::new();
    let code = "#!lua name=lib\nlocal calls = 0\n\
                redis.register_function('f', function(keys, argv) calls = calls + 1 return {keys[1], argv[1], calls} end)\n\
                redis.register_function{function_name = 'g', callback = function() return redis.call('get', 'x') end, \
                description = 'reads', flags = {'no-writes', 'allow-stale'}}";
    let flags = ScriptFlags { no_writes: true, allow_stale: true, ..ScriptFlags::default() };
    let functions = vec![
        Function { name: b"f".to_vec(), description: None, flags: ScriptFlags::default() },
        Function { name: b"g".to_vec(), description: Some(b"reads".to_vec()), flags },
    ];
    assert_eq!(load(&mut bench, code), Ok(Library { name: b"lib".to_vec(), engine: b"lua".to_vec(), functions }));
    assert_eq!(bench.call("lib", "f"), "*3|$2|k1|$2|a1|:1|");
    assert_eq!(bench.call("lib", "f"), "*3|$2|k1|$2|a1|:2|", "its variables are the library's");
    assert_eq!(bench.call("lib", "g"), "$-1|");
    assert_eq!(bench.call("lib", "nosuch"), "-ERR Function not found");
    bench.interpreter.unload_library(b"lib");
    assert_eq!(bench.call("lib", "f"), "-ERR Function not found");
}

#[test]
fn what_fails_to_load_changes_nothing() {
    let mut bench = Bench::new();
    load(&mut bench, "#!lua name=lib\nredis.register_function('f', function() return 1 end)").unwrap();
    let error = load(&mut bench, "#!lua name=lib\nredis.register_function('f', function() return 2 end) nosuch()");
    assert!(error.unwrap_err().text().contains("variable 'nosuch'"));
    assert_eq!(bench.call("lib", "f"), ":1|");
    load(&mut bench, "#!lua name=lib\nredis.register_function('g', function() return 2 end)").unwrap();
    assert_eq!((bench.call("lib", "f").as_str(), bench.call("lib", "g").as_str()), ("-ERR Function not found", ":2|"));
}

#[test]
fn errors_say_what_is_wrong_with_a_library() {
    let head = "#!lua name=lib\n";
    let names =
        "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";
    for (code, text) in [
        ("return 1", "Missing library metadata".to_owned()),
        ("#!lua name=lib", "Invalid library metadata".to_owned()),
        ("#!lua\nx", "Library name was not given".to_owned()),
        ("#!lua name=a name=b\nx", "Invalid metadata value, name argument was given multiple times".to_owned()),
        ("#!lua name=a foo=b\nx", "Invalid metadata value given: foo=b".to_owned()),
        ("#!lua name=a-b\nx", names.to_owned()),
        ("#!python name=a\nx", "Engine 'python' not found".to_owned()),
        (&format!("{head}return 1"), "No functions registered".to_owned()),
        (&format!("{head}x y"), "Error compiling function: user_function:2: '=' expected near 'y'".to_owned()),
    ] {
        let error = load(&mut Bench::new(), code).unwrap_err();
        assert_eq!(error.text(), format!("ERR {text}"), "{code}");
    }
    for (code, text) in [
        ("redis.register_function('f', 1)", "second argument to redis.register_function must be a function"),
        ("redis.register_function({}, 1)", "first argument to redis.register_function must be a string"),
        (
            "redis.register_function('f')",
            "calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).",
        ),
        ("redis.register_function()", "wrong number of arguments to redis.register_function"),
        ("redis.register_function('a', function() end, 3)", "wrong number of arguments to redis.register_function"),
        ("redis.register_function('a-b', function() end)", names),
        (
            "redis.register_function('f', function() end) redis.register_function('f', function() end)",
            "Function already exists in the library",
        ),
        ("redis.register_function{function_name = 'f'}", "redis.register_function must get a callback argument"),
        (
            "redis.register_function{callback = function() end}",
            "redis.register_function must get a function name argument",
        ),
        (
            "redis.register_function{function_name = 'f', callback = 1}",
            "callback argument given to redis.register_function must be a function",
        ),
        (
            "redis.register_function{function_name = 'f', callback = function() end, flags = 'x'}",
            "flags argument to redis.register_function must be a table representing function flags",
        ),
        (
            "redis.register_function{function_name = 'f', callback = function() end, flags = {'x'}}",
            "unknown flag given",
        ),
        (
            "redis.register_function{function_name = 'f', callback = function() end, more = 1}",
            "unknown argument given to redis.register_function",
        ),
        (
            "redis.register_function{function() end}",
            "named argument key given to redis.register_function is not a string",
        ),
    ] {
        let error = load(&mut Bench::new(), &format!("{head}{code}")).unwrap_err();
        let text = text.replace(
            "named argument key given to redis.register_function is not a string",
            "unknown argument given to redis.register_function",
        );
        assert_eq!(error.text(), format!("ERR Error registering functions: ERR {text}"), "{code}");
    }
}

#[test]
fn a_library_that_loads_sees_only_what_it_needs() {
    let head = "#!lua name=lib\n";
    for (code, name) in [
        ("return math.random()", "math"),
        ("redis.call('ping')", "call"),
        ("redis.setresp(3)", "setresp"),
        ("getmetatable(_G)", "getmetatable"),
        ("return KEYS", "KEYS"),
        ("for k in pairs({}) do end", "pairs"),
    ] {
        let error = load(&mut Bench::new(), &format!("{head}{code}")).unwrap_err();
        let text = format!("user_function:2: Script attempted to access nonexistent global variable '{name}'");
        assert_eq!(error.text(), format!("ERR Error registering functions: ERR {text}"), "{code}");
    }
    let error = load(&mut Bench::new(), &format!("{head}a = 1")).unwrap_err();
    assert_eq!(
        error.text(),
        "ERR Error registering functions: ERR user_function:2: Attempt to modify a readonly table"
    );
    let mut bench = Bench::new();
    let code = "redis.log(redis.LOG_NOTICE, redis.REDIS_VERSION) redis.register_function('f', function() end)";
    load(&mut bench, &format!("{head}{code}")).unwrap();
    assert_eq!(bench.host.lines[0].1, "7.2.5");
}

#[test]
fn a_load_that_runs_too_long_ends() {
    let mut bench = Bench::new();
    bench.host.ends = Some((3, Over::OutOfTime));
    let error = load(&mut bench, "#!lua name=lib\nwhile true do end").unwrap_err();
    assert_eq!(error, ScriptError::Ended(Over::OutOfTime));
}

#[test]
fn functions_fail_as_scripts_do() {
    let mut bench = Bench::new();
    let code = "#!lua name=lib\nredis.register_function('f', function()\n return redis.call('nosuch') end)\n\
                redis.register_function('g', function() return redis.register_function('h', function() end) end)\n\
                redis.register_function('h', function() while true do end end)";
    load(&mut bench, code).unwrap();
    assert_eq!(bench.call("lib", "f"), "-ERR Unknown Redis command called from script script: f, on @user_function:3.");
    assert_eq!(
        bench.call("lib", "g"),
        "-ERR user_function:4: attempt to call field 'register_function' (a nil value) script: g, on @user_function:4."
    );
    bench.host.ends = Some((3, Over::Killed));
    assert_eq!(bench.call("lib", "h"), "-ERR Script killed by user with SCRIPT KILL...");
    bench.host.ends = None;
    assert_eq!(bench.call("lib", "f").split(' ').next(), Some("-ERR"));
}

#[test]
fn the_code_of_a_library_runs_once_and_again_only_with_a_new_state() {
    let mut bench = Bench::new();
    for name in ["one", "two"] {
        let code = format!(
            "#!lua name={name}\nredis.log(redis.LOG_NOTICE, '{name}') redis.register_function('{name}', function() return 1 end)"
        );
        load(&mut bench, &code).unwrap();
        assert_eq!(bench.call(name, name), ":1|");
    }
    assert_eq!(bench.host.lines.len(), 2, "{:?}", bench.host.lines);
}

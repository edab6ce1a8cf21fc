//! What scripts get from Redis: calls, replies of both versions, errors with their places.

use super::fixture::{Bench, eval};
use super::{LogLevel, ScriptError};
use crate::resp::Version;

#[test]
fn values_become_replies_by_the_rules_of_redis() {
    for (source, reply) in [
        ("return 1", ":1|"),
        ("return 3.99", ":3|"),
        ("return -0.5", ":0|"),
        ("return 1/0", ":-9223372036854775808|"),
        ("return 'a'", "$1|a|"),
        ("return true", ":1|"),
        ("return false", "$-1|"),
        ("return nil", "$-1|"),
        ("return", "$-1|"),
        (
            "return print_nothing_at_all == nil",
            "-ERR user_script:1: Script attempted to access nonexistent global variable 'print_nothing_at_all' script: SHA, on @user_script:1.",
        ),
        ("return {1, 'a', {true, false}, nil, 5}", "*3|:1|$1|a|*2|:1|$-1|"),
        ("return {ok = 'fine'}", "+fine|"),
        ("return {ok = 'a\\r\\nb'}", "+a  b|"),
        ("return {err = 'MY error'}", "-MY error"),
        ("return {{err = 'MY error'}}", "*1|-MY error|"),
        ("return {double = 3.5}", "$3|3.5|"),
        ("return {map = {a = 1}}", "*2|$1|a|:1|"),
        ("return {set = {a = true}}", "*1|$1|a|"),
        ("return {big_number = '123'}", "$3|123|"),
        ("return {verbatim_string = {format = 'txt', string = 'hi'}}", "$2|hi|"),
        ("return function() end", "$-1|"),
        ("return _G", "*0|"),
        ("return {KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]}", "*4|$2|k1|$2|k2|$2|a1|$2|a2|"),
        ("return setmetatable({}, {__index = function() foo() end})", "*0|"),
    ] {
        assert_eq!(eval(source), reply, "{source}");
    }
}

#[test]
fn replies_of_the_third_version_keep_their_types() {
    let mut bench = Bench::new();
    bench.version = Version::Resp3;
    for (source, reply) in [
        ("return {double = 3.5}", ",3.5|"),
        ("return {map = {a = 1}}", "%1|$1|a|:1|"),
        ("return {set = {a = true}}", "~1|$1|a|"),
        ("return {big_number = '123'}", "(123|"),
        ("return {verbatim_string = {format = 'txt', string = 'hi'}}", "=6|txt:hi|"),
        ("return true", ":1|"),
        ("return false", "_|"),
        ("redis.setresp(3) return {true, false}", "*2|#t|#f|"),
        ("return redis.call('protocol', 'double')", "$4|3.25|"),
        ("redis.setresp(3) return redis.call('protocol', 'double')", ",3.25|"),
        ("redis.setresp(3) return redis.call('protocol', 'bignum')", "(1234567999999999999999999999999999999|"),
        ("redis.setresp(3) return redis.call('protocol', 'verbatim')", "=29|txt:This is a verbatim\\nstring|"),
        ("redis.setresp(3) return redis.call('protocol', 'map')", "%1|:0|#f|"),
        ("redis.setresp(3) return redis.call('protocol', 'set')", "~1|:7|"),
        ("redis.setresp(3) return redis.call('protocol', 'true')", "#t|"),
        ("redis.setresp(3) return redis.call('protocol', 'null')", "_|"),
        ("redis.setresp(3) return redis.call('protocol', 'double').double * 2", ":6|"),
        ("redis.setresp(3) return redis.call('protocol', 'verbatim').verbatim_string.format", "$3|txt|"),
        ("return redis.call('protocol', 'array')[2] == false", ":1|"),
        ("redis.setresp(2) return redis.call('get', 'none') == false", ":1|"),
        ("redis.setresp(3) return redis.call('get', 'none') == nil", "#t|"),
    ] {
        assert_eq!(bench.eval(source), reply, "{source}");
    }
    assert_eq!(bench.eval("return true"), ":1|", "the next script begins with the second version");
}

#[test]
fn commands_are_called_and_their_errors_are_raised_or_returned() {
    let mut bench = Bench::new();
    for (source, reply) in [
        ("return redis.call('set', KEYS[1], ARGV[1])", "+OK|"),
        ("return redis.call('GET', KEYS[1])", "$2|a1|"),
        ("return redis.call('set', 'n', 10)", "+OK|"),
        ("return redis.call('get', 'n')", "$2|10|"),
        ("redis.call('set', 'n', 3.25) return redis.call('get', 'n')", "$4|3.25|"),
        ("redis.call('set', 'n', 1e20) return redis.call('get', 'n')", "$5|1e+20|"),
        ("redis.call('set', 'n', 1e30) return redis.call('get', 'n')", "$5|1e+30|"),
        ("redis.call('set', 'n', 0.1) return redis.call('get', 'n')", "$3|0.1|"),
        ("redis.call('set', 'n', -0) return redis.call('get', 'n')", "$1|0|"),
        (
            "return redis.call('incr', KEYS[1])",
            "-ERR value is not an integer or out of range script: SHA, on @user_script:1.",
        ),
        (
            "\n\nredis.call('incr', KEYS[1])",
            "-ERR value is not an integer or out of range script: SHA, on @user_script:3.",
        ),
        ("return redis.pcall('incr', KEYS[1])", "-ERR value is not an integer or out of range"),
        ("local e = redis.pcall('incr', KEYS[1]) return e.err", "$43|ERR value is not an integer or out of range|"),
        (
            "local ok, e = pcall(redis.call, 'incr', KEYS[1]) return {ok, e}",
            "*2|$-1|$43|ERR value is not an integer or out of range|",
        ),
        ("local ok, e = pcall(function() error({err = 'X y'}) end) return e", "$3|X y|"),
        (
            "local ok, e = xpcall(function() redis.call('incr', KEYS[1]) end, function(e) return e.err end) return e",
            "$43|ERR value is not an integer or out of range|",
        ),
        (
            "return redis.call('nosuch')",
            "-ERR Unknown Redis command called from script script: SHA, on @user_script:1.",
        ),
        (
            "return redis.call()",
            "-ERR Please specify at least one argument for this redis lib call script: SHA, on @user_script:1.",
        ),
        (
            "return redis.call('get', {})",
            "-ERR Lua redis lib command arguments must be strings or integers script: SHA, on @user_script:1.",
        ),
        ("return redis.pcall('get', nil)", "-ERR Lua redis lib command arguments must be strings or integers"),
        ("return redis.call('ping').ok", "$4|PONG|"),
        ("return redis.call('set', 'k', 'v').ok", "$2|OK|"),
    ] {
        assert_eq!(bench.eval(source), reply, "{source}");
    }
}

#[test]
fn an_error_of_a_command_says_that_it_has_been_counted() {
    let mut bench = Bench::new();
    let mut counted = |source: &str| match bench.run(source.as_bytes(), &[b"k"], &[]) {
        Err(ScriptError::Reply { is_counted, .. }) => is_counted,
        other => panic!("{other:?}"),
    };
    assert!(counted("return redis.call('nosuch')"));
    assert!(counted("return redis.pcall('nosuch')"));
    assert!(!counted("return redis.error_reply('MY error')"));
    assert!(!counted("error('x')"));
}

#[test]
fn errors_say_where_they_happened() {
    for (source, reply) in [
        ("error('x')", "-ERR user_script:1: x script: SHA, on @user_script:1."),
        ("\nerror('x', 0)", "-ERR x script: SHA, on @user_script:2."),
        (
            "local a = nil\nreturn a.b",
            "-ERR user_script:2: attempt to index local 'a' (a nil value) script: SHA, on @user_script:2.",
        ),
        (
            "return {err = 'a'} .. 'b'",
            "-ERR user_script:1: attempt to concatenate a table value script: SHA, on @user_script:1.",
        ),
        ("error({err = 'MY err'})", "-MY err script: SHA, on @user_script:1."),
        ("error({})", "-ERR unknown error script: SHA, on @user_script:1."),
        ("error()", "-ERR nil script: SHA, on @user_script:1."),
        (
            "return string.rep()",
            "-ERR user_script:1: bad argument #1 to 'rep' (string expected, got no value) script: SHA, on @user_script:1.",
        ),
        (
            "return ('x'):rep({})",
            "-ERR user_script:1: bad argument #1 to 'rep' (number expected, got table) script: SHA, on @user_script:1.",
        ),
        (
            "return string.find('a', '[a')",
            "-ERR user_script:1: malformed pattern (missing ']') script: SHA, on @user_script:1.",
        ),
        ("local f = function() error('in f') end\nlocal ok, e = pcall(f)\nreturn e", "$19|user_script:1: in f|"),
        (
            "local function f()\n return redis.call('nosuch')\nend\nreturn f()",
            "-ERR Unknown Redis command called from script script: SHA, on @user_script:2.",
        ),
        ("return {", "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'"),
        ("a = 1", "-ERR user_script:1: Attempt to modify a readonly table script: SHA, on @user_script:1."),
        (
            "return x",
            "-ERR user_script:1: Script attempted to access nonexistent global variable 'x' script: SHA, on @user_script:1.",
        ),
    ] {
        assert_eq!(eval(source), reply, "{source}");
    }
}

#[test]
fn helpers_make_replies() {
    for (source, reply) in [
        ("return redis.error_reply('MY error')", "-MY error"),
        ("return redis.error_reply('-MY error')", "-MY error"),
        ("return redis.error_reply('lonely')", "-ERR lonely"),
        ("return redis.error_reply({})", "-ERR wrong number or type of arguments"),
        ("return redis.status_reply('fine')", "+fine|"),
        ("return redis.status_reply(1)", "-ERR wrong number or type of arguments"),
        ("return redis.sha1hex('')", "$40|da39a3ee5e6b4b0d3255bfef95601890afd80709|"),
        ("return redis.sha1hex(123)", "$40|40bd001563085fc35165329ea1ff5c5ecbdbbeef|"),
        ("return redis.sha1hex()", "-ERR wrong number of arguments script: SHA, on @user_script:1."),
        ("return {redis.replicate_commands(), redis.breakpoint(), redis.debug('x') == nil}", "*3|:1|$-1|:1|"),
        (
            "redis.set_repl(redis.REPL_ALL) return {redis.REPL_NONE, redis.REPL_AOF, redis.REPL_SLAVE, redis.REPL_REPLICA}",
            "*4|:0|:1|:2|:2|",
        ),
        (
            "redis.set_repl(4)",
            "-ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE. script: SHA, on @user_script:1.",
        ),
        ("redis.setresp(4)", "-ERR RESP version must be 2 or 3. script: SHA, on @user_script:1."),
        ("redis.setresp()", "-ERR redis.setresp() requires one argument. script: SHA, on @user_script:1."),
        ("return {redis.acl_check_cmd('get', 'x'), redis.acl_check_cmd('set', 'x')}", "*2|:1|$-1|"),
        (
            "return redis.acl_check_cmd('nosuch')",
            "-ERR Invalid command passed to redis.acl_check_cmd() script: SHA, on @user_script:1.",
        ),
        ("return {redis.REDIS_VERSION, redis.REDIS_VERSION_NUM == 0x00070205}", "*2|$5|7.2.5|:1|"),
        ("return {redis.LOG_DEBUG, redis.LOG_VERBOSE, redis.LOG_NOTICE, redis.LOG_WARNING}", "*4|:0|:1|:2|:3|"),
    ] {
        assert_eq!(eval(source), reply, "{source}");
    }
}

#[test]
fn what_is_logged_goes_to_the_host() {
    let mut bench = Bench::new();
    assert_eq!(bench.eval("redis.log(redis.LOG_WARNING, 'a', 1, {}, 'b')"), "$-1|");
    assert_eq!(bench.host.lines, [(LogLevel::Warning, "a 1 b".to_owned())]);
    for (source, text) in [
        ("redis.log(1)", "redis.log() requires two arguments or more."),
        ("redis.log('x', 'y')", "First argument must be a number (log level)."),
        ("redis.log(10, 'y')", "Invalid debug level."),
    ] {
        assert_eq!(bench.eval(source), format!("-ERR {text} script: SHA, on @user_script:1."));
    }
}

#[test]
fn random_numbers_are_those_of_redis() {
    let source = "math.randomseed(10) local t = {} for i = 1, 10 do t[i] = math.random(100) end return t";
    let first = eval(source);
    assert_eq!(first, eval(source));
    for (source, text) in [
        ("return math.random(0)", "bad argument #1 to 'random' (interval is empty)"),
        ("return math.random(2, 1)", "bad argument #2 to 'random' (interval is empty)"),
        ("return math.random(1, 2, 3)", "wrong number of arguments"),
    ] {
        assert_eq!(eval(source), format!("-ERR user_script:1: {text} script: SHA, on @user_script:1."));
    }
}

#[test]
fn a_first_line_says_what_a_script_is() {
    let mut bench = Bench::new();
    assert!(bench.interpreter.check(b"return 1").unwrap().is_undeclared);
    let flags = bench.interpreter.check(b"#!lua flags=no-writes,allow-stale\nreturn 1").unwrap();
    assert!(!flags.is_undeclared && flags.no_writes && flags.allow_stale && !flags.allow_oom);
    assert!(bench.interpreter.check(b"#!lua flags=\nreturn 1").is_ok());
    for (source, text) in [
        ("#!lua", "Invalid script shebang"),
        ("#!not-lua\nreturn 1", "Unexpected engine in script shebang: #!not-lua"),
        ("#!lua flags=bad\nreturn 1", "Unexpected flag in script shebang: bad"),
        ("#!lua name=x\nreturn 1", "Unknown lua shebang option: name=x"),
    ] {
        let error = bench.interpreter.check(source.as_bytes()).unwrap_err();
        assert_eq!(error.text(), format!("ERR {text}"), "{source}");
    }
    assert_eq!(bench.eval("#!lua\nerror('x')"), "-ERR user_script:2: x script: SHA, on @user_script:2.");
}

#[test]
fn scripts_leave_nothing_behind() {
    let mut bench = Bench::new();
    assert_eq!(bench.eval("cjson.encode_max_depth(3) cjson.encode_invalid_numbers('null') return 1"), ":1|");
    assert_eq!(bench.eval("return {cjson.encode_max_depth(), cjson.encode_invalid_numbers()}"), "*2|:1000|$-1|");
    assert_eq!(bench.eval("collectgarbage('stop') return 1"), ":1|");
    assert_eq!(bench.run(b"return #KEYS", &[], &[]).unwrap(), b":0\r\n");
}

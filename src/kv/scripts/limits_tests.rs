//! Scripts that would take all the time or all the memory end, whatever they do against it.

use super::fixture::{Bench, eval};
use super::{Limits, Over};

/// What the host is asked before it says that a script is over: little, so that tests are short.
const QUESTIONS: u32 = 4;

#[track_caller]
fn ends(source: &str) {
    for over in [Over::Killed, Over::OutOfTime] {
        let mut bench = Bench::new();
        bench.host.ends = Some((QUESTIONS, over));
        let error = bench.run(source.as_bytes(), &[b"k"], &[]).expect_err(source);
        assert_eq!(error, super::ScriptError::Ended(over), "{source}");
        bench.host.ends = None;
        assert_eq!(bench.eval("return 1"), ":1|", "the next one runs");
        assert_eq!(
            bench.eval("local n = 0 for i = 1, 20000 do n = n + 1 end return n"),
            ":20000|",
            "and is not watched any closer"
        );
    }
}

#[test]
fn loops_end() {
    ends("while true do end");
    ends("while true do pcall(function() while true do end end) end");
    ends("while true do pcall(error) end");
    ends("while true do pcall(redis.call, 'nosuch') end");
    ends("while true do redis.pcall('ping') end");
    ends("local function f() return f() end f()");
    ends("local function f() pcall(f) end while true do f() end");
    ends("while true do xpcall(function() while true do end end, function() while true do end end) end");
    ends("while true do coroutine.resume(coroutine.create(function() while true do end end)) end");
    ends("while true do pcall(coroutine.wrap(function() while true do pcall(error) end end)) end");
    ends("local c = coroutine.wrap(function() while true do coroutine.yield() end end) while true do c() end");
    ends(
        "setmetatable({}, {__index = function(t, k) return t[k + 1] end})[1] = 1 local t = setmetatable({}, {__index = function() while true do end end}) return t.x",
    );
    ends("return table.sort({3, 2, 1}, function() while true do end end)");
    ends("local t = {} for i = 1, 20000 do t[i] = i % 7 end while true do table.sort(t) end");
    ends("while true do loadstring('return 1') end");
    ends("string.gsub('a', 'a', function() while true do end end)");
    ends("load(function() while true do end end)");
    ends("load(function() return ' ' end) while true do end");
}

#[test]
fn a_script_of_few_instructions_ends_with_the_call_that_passes_its_time() {
    let mut bench = Bench::new();
    bench.host.ends = Some((2, Over::OutOfTime));
    let error = bench.run(b"for i = 1, 4 do redis.call('set', 'n', i) end return 'done'", &[], &[]).unwrap_err();
    assert_eq!(error, super::ScriptError::Ended(Over::OutOfTime));
    bench.host.ends = None;
    assert_eq!(bench.eval("return redis.call('get', 'n')"), "$1|3|");
}

#[test]
fn libraries_that_work_for_long_end() {
    ends("return string.find(('a'):rep(3e4), '.-.-.-b$')");
    ends("return string.match(('a'):rep(3e4), '.-.-.-b$')");
    ends("return string.gsub(('a'):rep(3e4), '.-.-.-b$', '')");
    ends("for w in string.gmatch(('a'):rep(3e4), '.-.-.-b$') do end");
    ends("return string.find(('('):rep(3e5), '(%b()x)')");
    ends("local s = ('a'):rep(1e6) while true do s:find('b', 1, true) end");
    ends("local s = ('a'):rep(1e6) while true do s:upper() end");
    ends("local s = ('a'):rep(1e6) while true do s:lower():reverse() end");
    ends("while true do string.rep('', 2147483647) collectgarbage() end");
    ends("table.insert({}, -2147483648, 1)");
    ends("local t = {} t[1] = 1 while true do table.insert(t, 1, 1) end");
    ends("while true do collectgarbage() end");
    ends("while true do cjson.decode('[1, 2, 3]') end");
    ends("local t = {} for i = 1, 22 do t = {t, t} end return cjson.encode(t)");
    ends("while true do cmsgpack.unpack(cmsgpack.pack({1, 2, 3})) end");
    ends("while true do struct.unpack('bbb', struct.pack('bbb', 1, 2, 3)) end");
    ends("local f = ('b'):rep(1e5) while true do struct.size(f) end");
    ends("local t = {} for i = 1, 22 do t = {t, t} end return t");
    ends("while true do redis.sha1hex(('x'):rep(1e5)) end");
}

#[test]
fn memory_is_bounded_and_the_script_that_wants_more_ends() {
    let limits = Limits { memory_max: 4 << 20, ..Limits::default() };
    for source in [
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do pcall(function() for i = 1, 1e9 do t[#t + 1] = {} end end) end",
        "local t = {} while true do t[#t + 1] = string.rep('x', 1000) .. #t end",
        "return string.rep('x', 2147483647)",
        "return string.rep('x', 5e6)",
        "pcall(string.rep, 'x', 5e6) return 1",
        "return table.concat({string.rep('x', 3e6), string.rep('y', 3e6)})",
        "local s = string.rep('x', 1e6) return string.gsub(s, 'x', s)",
        "local s = string.rep('x', 1e6) return string.gsub(s, 'x', '%0%0%0%0%0%0')",
        "local s = string.rep('\\1', 1e6) return cjson.encode(s)",
        "local s = string.rep('x', 1e6) return cjson.encode({s, s, s, s, s})",
        "local s = string.rep('x', 1e6) return cmsgpack.pack(s, s, s, s, s)",
        "return struct.pack('c0c0c0c0c0', (function(s) return s, s, s, s, s end)(string.rep('x', 1e6)))",
        "cjson.encode_sparse_array(true, 0) return cjson.encode({[2147483647] = 1})",
        "local function f() local a = {} return 1 + f() end return f()",
        "local t = {} while true do local c = coroutine.create(function() end) t[#t + 1] = c end",
    ] {
        let mut bench = Bench::with(limits);
        let error = bench.run(source.as_bytes(), &[b"k"], &[]).expect_err(source);
        let is_out_of_memory = error == super::ScriptError::Ended(Over::OutOfMemory);
        // Frames may meet another bound first.
        assert!(is_out_of_memory || error.text().contains("stack overflow"), "{source}: {error:?}");
        assert_eq!(bench.eval("return #string.rep('x', 1e6)"), ":1000000|", "{source}");
        assert!(bench.interpreter.used_bytes() < 3 << 20, "{source}: {}", bench.interpreter.used_bytes());
    }
}

#[test]
fn recursion_of_every_kind_has_an_end() {
    for source in [
        "local function f() return 1 + f() end return f()",
        "local function f() return pcall(f) end return f()",
        "local function f(...) return string.gsub('a', 'a', f) end return f()",
        "local function f() coroutine.wrap(f)() end f()",
        "local t = setmetatable({}, {__index = function(t, k) return t[k] end}) return t.x",
        "local t = {} t.__index = t setmetatable(t, t) return t.x",
        "local function f() return load(f) end return f()",
        "local t = {3, 2, 1} local function f(a, b) table.sort({3, 2, 1}, f) return a < b end table.sort(t, f)",
        "return loadstring('return ' .. ('('):rep(300) .. '1' .. (')'):rep(300))()",
        "return loadstring(('a = {'):rep(1) .. ('{'):rep(5000))()",
        "return string.rep('x', 300):match(('x?'):rep(300))",
        "return cjson.decode(('['):rep(100000))",
        "return cmsgpack.unpack(('\\145'):rep(100000))",
        "local t = {} t[1] = t return cjson.encode(t)",
        "local t = {} t.t = t return cmsgpack.pack(t)",
        "local t = {} t[1] = t return t",
        "local function f(n, ...) if n == 0 then return redis.call('del', ...) end return f(n - 1, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', ...) end return f(2000)",
        "local t = {} for i = 1, 7999 do t[i] = 'x' .. i end return redis.call('del', unpack(t))",
        "local t = {} for i = 1, 7999 do t[i] = {} end return pcall(math.max, unpack(t))",
        "local s, t = ('x'):rep(1e6), {} for i = 1, 7000 do t[i] = s end return redis.pcall('echo', unpack(t))",
    ] {
        let mut bench = Bench::new();
        bench.eval(source);
        assert_eq!(bench.eval("return 1"), ":1|", "{source}");
    }
}

/// CVE-2025-46817: the stock `unpack` counts in an int, and writes past its stack.
#[test]
fn ranges_of_any_size_are_refused() {
    for range in [
        "0, 2147483647",
        "-2147483648, 2147483647",
        "1, 2147483647",
        "2147483647, 2147483647 + 8000",
        "1, 1e300",
        "-1e300, 1e300",
        "0/0, 2147483647",
        "1, 8001",
        "-8000, 1",
    ] {
        let answer = eval(&format!("return unpack({{}}, {range})"));
        assert!(answer.starts_with("-ERR too many results to unpack"), "{range}: {answer}");
    }
    assert_eq!(eval("return select('#', unpack({}, 1, 7997))"), ":7997|");
    assert_eq!(eval("return select('#', unpack({}, 2147483647, 2147483647))"), ":1|");
    assert!(eval("return string.byte(('x'):rep(1e6), 1, -1)").contains("string slice too long"));
    assert!(eval("return table.concat({}, '', 1, 2147483647)").contains("invalid value (nil) at index 1"));
}

#[test]
fn sources_and_their_number_are_bounded() {
    let mut bench = Bench::with(Limits { source_bytes_max: 1000, scripts_max: 3, ..Limits::default() });
    let long = format!("return 1 --{}", "x".repeat(1000));
    assert_eq!(bench.eval(&long), "-ERR the script is too long");
    assert_eq!(bench.eval("return {loadstring(('x'):rep(2000))}"), "*1|$-1|".replace("*1|$-1|", "*0|"));
    assert_eq!(bench.eval("return select(2, loadstring(('x'):rep(2000)))"), "$17|chunk is too long|");
    assert_eq!(bench.eval("return select(2, load(function() return '  ' end))"), "$17|chunk is too long|");
    for number in 0..20 {
        assert_eq!(bench.eval(&format!("return {number}")), format!(":{number}|"));
    }
    assert_eq!(bench.eval("return 3"), ":3|", "what is forgotten is compiled again");
}

#[test]
fn a_reply_ends_at_its_limit() {
    let mut bench = Bench::new();
    let mut out = Vec::new();
    let mut reply = crate::resp::ReplyWriter::new(&mut out, crate::resp::Version::Resp2, 1000);
    let source = b"local t = {} for i = 1, 1000 do t[i] = 'xxxx' end return t";
    let sha = super::Sha1::of(source);
    let result = bench.interpreter.eval(&sha, source, &[], &[], &mut reply, &mut bench.host);
    assert_eq!(result, Err(super::ScriptError::ReplyTooLarge));
    assert!(out.len() < 1100);
}

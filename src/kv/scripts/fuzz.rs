//! The bodies of the fuzz targets of scripts (`fuzz/`), beside what they feed; the tests below run them too. Each panics where a promise is
//! broken: every script ends when it is told to, within its memory, and the one after it runs as if there had been none; what a library has
//! packed it unpacks; patterns that are plain find what a plain search finds.

use std::borrow::Cow;

use super::patterns::{Failure, Matcher};
use super::{Host, Interpreter, Limits, LogLevel, Over, ScriptError, Sha1};
use crate::resp::{ReplyWriter, ResponseLimits, ResponseParser, Version};

const LIMITS: Limits = Limits { memory_max: 4 << 20, source_bytes_max: 1 << 16, scripts_max: 8 };

/// Answers every command with what it was given, and ends the script after some questions.
struct Echo {
    questions: u32,
}

impl Host for Echo {
    fn call(&mut self, args: &[&[u8]], version: Version, reply: &mut Vec<u8>) {
        let mut out = ReplyWriter::new(reply, version, 1 << 20);
        let written = match args.len() {
            1 => out.error("ERR one"),
            2 => out.double(args[1].len() as f64),
            count => out.array(count).and_then(|()| args.iter().try_for_each(|arg| out.bulk(arg))),
        };
        if written.is_err() {
            reply.clear();
            reply.extend_from_slice(b"-ERR too large\r\n");
        }
    }

    fn may_call(&mut self, args: &[&[u8]]) -> Result<bool, Cow<'static, str>> {
        Ok(args.len() > 1)
    }

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn is_over(&mut self) -> Option<Over> {
        self.questions = self.questions.saturating_sub(1);
        (self.questions == 0).then_some(Over::OutOfTime)
    }
}

fn run(interpreter: &mut Interpreter, source: &[u8], argument: &[u8]) -> Result<Vec<u8>, ScriptError> {
    let mut out = Vec::new();
    let mut reply = ReplyWriter::new(&mut out, Version::Resp3, 1 << 20);
    let (sha, mut host) = (Sha1::of(source), Echo { questions: 50 });
    interpreter.eval(&sha, source, &[argument], &[argument], &mut reply, &mut host).map(|()| out)
}

/// After whatever ran, the state is what it was.
const PROBE: &[u8] = b"
    if string.rep('ab', 2) ~= 'abab' or ('x'):upper() ~= 'X' or math.max(1, 2) ~= 2 then return 0 end
    if #KEYS ~= 1 or getmetatable('').__index ~= string or redis.call == nil then return 0 end
    local names = 0
    for name in pairs(_G) do names = names + 1 end
    local ok = pcall(function() x = 1 end)
    return {names, ok, cjson.encode({1, {a = 2}})}";
const PROBED: &[u8] = b"*3\r\n:35\r\n_\r\n$11\r\n[1,{\"a\":2}]\r\n";

/// `data` as the text of a script, and of a library.
pub fn fuzz_scripts(data: &[u8]) {
    let mut interpreter = Interpreter::new(LIMITS);
    if let Ok(reply) = run(&mut interpreter, data, b"a") {
        let limits = ResponseLimits { depth_max: 300, ..ResponseLimits::default() };
        let (mut parser, mut rest) = (ResponseParser::new(limits), &reply[..]);
        let is_whole = matches!(parser.parse(&mut rest), Ok(Some(_)));
        assert!(is_whole && rest.is_empty(), "{}", reply.escape_ascii());
    }
    let library = [b"#!lua name=l\n", data].concat();
    if let Ok(library) = interpreter.load_library(&library, &mut Echo { questions: 50 }) {
        assert!(!library.functions.is_empty());
    }
    assert_eq!(run(&mut interpreter, PROBE, b"a").as_deref(), Ok(PROBED), "something stayed");
    assert!(interpreter.used_bytes() < LIMITS.memory_max, "{} bytes", interpreter.used_bytes());
}

/// `data` as what each library reads: it fails, or what it has read is packed and read again with the same result.
pub fn fuzz_libraries(data: &[u8]) {
    const AGAIN: &[u8] = b"
        local function same(a, b, depth)
            if type(a) ~= 'table' or type(b) ~= 'table' then return a == b or a ~= a and b ~= b end
            if depth == 0 then return true end
            for k, v in pairs(a) do if not same(v, b[k], depth - 1) then return false end end
            for k in pairs(b) do if a[k] == nil then return false end end
            return true
        end
        local function again(unpack, pack, text)
            local ok, value = pcall(unpack, text)
            if not ok or value == nil then return 'none' end
            local packed, bytes = pcall(pack, value)
            if not packed then return 'none' end
            local read, second = pcall(unpack, bytes)
            if not read then return 'unread: ' .. tostring(second) end
            return same(value, second, 12) and 'same' or 'other'
        end
        local json = cjson.new()
        json.decode_invalid_numbers(false)
        pcall(cjson.decode, ARGV[1])
        pcall(struct.unpack, ARGV[1], KEYS[1])
        pcall(struct.unpack, KEYS[1], ARGV[1])
        pcall(struct.pack, ARGV[1], 1, 'a', 2.5, 'b', 3, 'c')
        pcall(struct.size, ARGV[1])
        pcall(cmsgpack.unpack_limit, ARGV[1], 3, 1)
        pcall(loadstring, ARGV[1])
        return {again(cmsgpack.unpack_one, cmsgpack.pack, ARGV[1]) ~= 'none', tostring(again(json.decode, json.encode, ARGV[1]))}";
    let mut interpreter = Interpreter::new(LIMITS);
    match run(&mut interpreter, AGAIN, data) {
        Ok(reply) => assert!(!reply.windows(6).any(|window| window == b"unread"), "{}", reply.escape_ascii()),
        Err(error) => assert!(matches!(error, ScriptError::Ended(_)), "{error:?}"),
    }
    assert_eq!(run(&mut interpreter, PROBE, b"a").as_deref(), Ok(PROBED), "something stayed");
}

/// `data` as a pattern, and behind a zero byte a text.
pub fn fuzz_patterns(data: &[u8]) {
    let (pattern, text) = match memchr::memchr(0, data) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => data.split_at(data.len() / 2),
    };
    let mut questions = 20;
    let mut matcher = Matcher::new(text, pattern, |_| {
        questions -= 1;
        if questions > 0 { Ok(()) } else { Err(()) }
    });
    for begin in 0..=text.len() {
        match matcher.match_at(begin, 0) {
            Ok(Some(end)) => {
                assert!((begin..=text.len()).contains(&end), "it ends at {end}");
                if let Ok(captures) = matcher.captures(Some((begin, end))) {
                    assert!(captures.len() <= 32);
                }
                if super::patterns::is_plain(pattern) {
                    assert_eq!(&text[begin..end], pattern);
                }
            }
            Ok(None) => {}
            Err(Failure::Pattern(_) | Failure::Stopped(())) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn leaf() -> impl Strategy<Value = String> {
        let names = ["a", "b", "KEYS", "string", "_G", "redis", "table", "cjson", "nil", "x", "{}", "..."];
        prop_oneof![
            proptest::sample::select(names.to_vec()).prop_map(str::to_owned),
            any::<i16>().prop_map(|number| number.to_string()),
            "'[a-z%.\\-+*()]{0,5}'",
        ]
    }

    const FUNCTIONS: &[&str] = &[
        "pcall",
        "redis.call",
        "redis.pcall",
        "string.rep",
        "string.gsub",
        "string.find",
        "table.sort",
        "table.insert",
        "setmetatable",
        "getmetatable",
        "unpack",
        "cjson.encode",
        "cmsgpack.pack",
        "coroutine.wrap",
        "coroutine.resume",
        "loadstring",
        "load",
        "error",
        "rawset",
        "next",
        "tostring",
        "xpcall",
        "collectgarbage",
        "string.format",
        "select",
        "table.concat",
    ];

    /// Programs of a small grammar: most of them compile, and many run.
    fn program() -> impl Strategy<Value = String> {
        let expression = leaf().prop_recursive(4, 24, 4, |inner| {
            let function = proptest::sample::select(FUNCTIONS.to_vec());
            prop_oneof![
                (function, vec(inner.clone(), 0..4)).prop_map(|(name, args)| format!("{name}({})", args.join(", "))),
                (inner.clone(), inner.clone(), "[-+*/%^<>]|\\.\\.|==|and|or")
                    .prop_map(|(a, b, op)| format!("({a} {op} {b})")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})[{b}]")),
                vec(inner.clone(), 0..4).prop_map(|items| format!("{{{}}}", items.join(", "))),
                inner.clone().prop_map(|body| format!("function(...) local a, b = ... return {body} end")),
                inner.prop_map(|body| format!("{{__index = {body}, [{{}}] = 1}}")),
            ]
        });
        let statement = prop_oneof![
            expression.clone().prop_map(|value| format!("a = {value}")),
            expression.clone().prop_map(|value| format!("local b = {value}")),
            expression.clone().prop_map(|value| format!("while {value} do end")),
            expression
                .clone()
                .prop_map(|value| format!("for a = 1, 1e9 do local b = pcall(function() return {value} end) end")),
            expression.clone().prop_map(|value| format!("for a, b in pairs({value}) do end")),
            expression.clone().prop_map(|value| format!("a[#a + 1] = {value}")),
        ];
        (vec(statement, 0..4), expression).prop_map(|(statements, result)| {
            format!("local a, b = {{}}, ''\n{}\nreturn {result}", statements.join("\n"))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        #[test]
        fn any_program_ends_and_leaves_nothing(source in program()) {
            fuzz_scripts(source.as_bytes());
        }

        #[test]
        fn any_bytes_are_a_script_or_not(data in vec(any::<u8>(), 0..60)) {
            fuzz_scripts(&data);
        }

        #[test]
        fn libraries_read_any_bytes(data in vec(any::<u8>(), 0..80)) {
            fuzz_libraries(&data);
        }

        #[test]
        fn libraries_read_what_looks_like_json(data in "[\\[\\]{}:,\"0-9a-z\\\\.eE+-]{0,40}") {
            fuzz_libraries(data.as_bytes());
        }

        #[test]
        fn patterns_find_within_their_text(data in "[ab%.*+?()\\[\\]^$\\-fb1d]{0,12}", text in "[ab()]{0,30}") {
            fuzz_patterns(&[data.as_bytes(), b"\0", text.as_bytes()].concat());
        }
    }
}

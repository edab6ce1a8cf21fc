//! For tests: a host that is a map of strings, and scripts run with it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Host, Interpreter, Limits, LogLevel, Over, ScriptError, Sha1};
use crate::resp::{ReplyWriter, Version};

#[derive(Default)]
pub(super) struct MapHost {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) lines: Vec<(LogLevel, String)>,
    /// How often it was asked whether the script is over.
    pub(super) asked: u32,
    /// After so many questions the answer is this.
    pub(super) ends: Option<(u32, Over)>,
}

impl Host for MapHost {
    fn call(&mut self, args: &[&[u8]], version: Version, reply: &mut Vec<u8>) {
        let mut out = ReplyWriter::new(reply, version, usize::MAX);
        let name = args[0].to_ascii_lowercase();
        let written = match (&name[..], &args[1..]) {
            (b"set", [key, value]) => {
                self.values.insert(key.to_vec(), value.to_vec());
                out.ok()
            }
            (b"get", [key]) => match self.values.get(*key) {
                Some(value) => out.bulk(value),
                None => out.null(),
            },
            (b"del", keys) => out.count(keys.iter().filter(|key| self.values.remove(**key).is_some()).count() as u64),
            (b"incr", [key]) => {
                let value = self.values.get(*key).map_or(&b"0"[..], Vec::as_slice);
                match crate::resp::number::parse_integer(value) {
                    Some(number) => {
                        self.values.insert(key.to_vec(), (number + 1).to_string().into_bytes());
                        out.integer(number + 1)
                    }
                    None => out.error("ERR value is not an integer or out of range"),
                }
            }
            (b"echo", [text]) => out.bulk(text),
            (b"ping", []) => out.simple("PONG"),
            // What Redis' DEBUG PROTOCOL shows.
            (b"protocol", [kind]) => protocol(kind, &mut out),
            _ => out.error("ERR Unknown Redis command called from script"),
        };
        written.unwrap();
    }

    fn may_call(&mut self, args: &[&[u8]]) -> Result<bool, Cow<'static, str>> {
        match args[0] {
            b"get" => Ok(true),
            b"set" => Ok(false),
            _ => Err("there is none".into()),
        }
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        self.lines.push((level, String::from_utf8_lossy(message).into_owned()));
    }

    fn is_over(&mut self) -> Option<Over> {
        self.asked += 1;
        self.ends.filter(|(after, _)| self.asked > *after).map(|(_, over)| over)
    }
}

fn protocol(kind: &[u8], out: &mut ReplyWriter<'_>) -> crate::resp::Written {
    match kind {
        b"double" => out.double(3.25),
        b"bignum" => out.big_number("1234567999999999999999999999999999999"),
        b"null" => out.null(),
        b"true" => out.boolean(true),
        b"false" => out.boolean(false),
        b"verbatim" => out.verbatim(*b"txt", b"This is a verbatim\nstring"),
        b"map" => out.map(1).and_then(|()| out.integer(0)).and_then(|()| out.boolean(false)),
        b"set" => out.set(1).and_then(|()| out.integer(7)),
        _ => out.array(2).and_then(|()| out.bulk(b"a")).and_then(|()| out.null_array()),
    }
}

/// A script with everything that it needs.
pub(super) struct Bench {
    pub(super) interpreter: Interpreter,
    pub(super) host: MapHost,
    pub(super) version: Version,
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Bench {
        Bench { interpreter: Interpreter::new(limits), host: MapHost::default(), version: Version::Resp2 }
    }

    pub(super) fn run(&mut self, source: &[u8], keys: &[&[u8]], argv: &[&[u8]]) -> Result<Vec<u8>, ScriptError> {
        let mut out = Vec::new();
        let mut reply = ReplyWriter::new(&mut out, self.version, 64 << 20);
        let sha = Sha1::of(source);
        self.interpreter.eval(&sha, source, keys, argv, &mut reply, &mut self.host).map(|()| out)
    }

    /// The reply with `|` for each line end, or `-` and the error. The script's SHA-1 reads `SHA`.
    pub(super) fn eval(&mut self, source: &str) -> String {
        let result = self.run(source.as_bytes(), &[b"k1", b"k2"], &[b"a1", b"a2"]);
        let sha = Sha1::of(source.as_bytes()).to_string();
        shown(result).replace(&sha, "SHA")
    }

    pub(super) fn call(&mut self, library: &str, function: &str) -> String {
        let mut out = Vec::new();
        let mut reply = ReplyWriter::new(&mut out, self.version, 64 << 20);
        let (library, function) = (library.as_bytes(), function.as_bytes());
        let keys: &[&[u8]] = &[b"k1"];
        let result = self.interpreter.call_function(library, function, keys, &[b"a1"], &mut reply, &mut self.host);
        shown(result.map(|()| out))
    }
}

fn shown(result: Result<Vec<u8>, ScriptError>) -> String {
    match result {
        Ok(reply) => reply.escape_ascii().to_string().replace("\\r\\n", "|"),
        Err(error) => format!("-{}", error.text()),
    }
}

pub(super) fn eval(source: &str) -> String {
    Bench::new().eval(source)
}

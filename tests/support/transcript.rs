//! The files of tests/transcripts: what they say (README.md there has the format), and playing them to a server.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;

use super::connection::Connection;
use super::notation::{bytes_of, words};
use super::processes::wait_until;
use super::value::Value;

pub struct Transcript {
    pub path: PathBuf,
    lines: Vec<String>,
    /// For ours, beyond the two workers: `# settings: PASSWORD=secret`.
    pub settings: Vec<(String, String)>,
    /// For redis-server: `# redis: --requirepass secret`.
    pub redis: Vec<String>,
    pub sections: Vec<Section>,
}

#[derive(Default)]
pub struct Section {
    pub title: String,
    versions: Vec<u8>,
    pub since: Option<(u32, u32)>,
    /// Why it is not played to redis-server.
    pub ours: Option<String>,
    steps: Vec<Step>,
}

struct Step {
    /// 0-based.
    line: usize,
    connection: u32,
    action: Action,
}

enum Action {
    Send(Vec<Vec<u8>>),
    /// Again and again, until the reply is the expected one.
    SendUntil(Vec<Vec<u8>>),
    SendBytes(Vec<u8>),
    Disconnect,
    Expect(String),
    ExpectMatch(Regex),
    ExpectSorted(String),
    /// Whatever comes: to be recorded.
    ExpectAnything,
    ExpectBytes(Vec<u8>),
    ExpectClosed,
}

/// What does not hold, with its place.
pub struct Failure {
    line: usize,
    text: String,
    /// What should stand there, where recording makes sense.
    recorded: Option<String>,
}

/// How long what changes by itself may take.
const UNTIL: Duration = Duration::from_secs(10);

pub fn read_all(folder: &Path) -> Vec<Transcript> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths.iter().map(|path| Transcript::read(path)).collect()
}

impl Transcript {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut transcript =
            Self { path: path.to_owned(), lines, settings: Vec::new(), redis: Vec::new(), sections: Vec::new() };
        let mut section = Section::default();
        let mut connection = 1;
        for (at, line) in text.lines().enumerate() {
            let place = || format!("{}:{}", path.display(), at + 1);
            if let Some(title) = line.strip_prefix("## ") {
                transcript.sections.push(std::mem::take(&mut section));
                section.title = title.to_owned();
                connection = 1;
            } else if let Some(comment) = line.strip_prefix('#') {
                transcript.directive(&mut section, comment.trim());
            } else if !line.trim().is_empty() {
                let step = step(line, at, connection).unwrap_or_else(|| panic!("{}: can't be read: {line}", place()));
                connection = step.connection;
                section.steps.push(step);
            }
        }
        transcript.sections.push(section);
        transcript.sections.retain(|section| !section.steps.is_empty());
        transcript
    }

    fn directive(&mut self, section: &mut Section, comment: &str) {
        let Some((name, value)) = comment.split_once(':') else { return };
        let value = value.trim();
        match name {
            "settings" => {
                let pairs = value.split_whitespace().filter_map(|pair| pair.split_once('='));
                self.settings.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
            }
            "redis" => self.redis.extend(value.split_whitespace().map(str::to_owned)),
            "since" => {
                let (major, minor) = value.split_once('.').unwrap();
                section.since = Some((major.parse().unwrap(), minor.parse().unwrap()));
            }
            "ours" => section.ours = Some(value.to_owned()),
            "resp" => section.versions = value.split_whitespace().map(|version| version.parse().unwrap()).collect(),
            _ => {}
        }
    }

    /// Plays every section that `is_wanted`. Recording replaces expectations that do not hold by what came, in the file.
    pub fn play(&self, server: SocketAddr, is_wanted: &dyn Fn(&Section) -> bool, is_recording: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut lines = self.lines.clone();
        for section in self.sections.iter().filter(|section| is_wanted(section)) {
            let versions: &[u8] = if section.versions.is_empty() { &[2, 3] } else { &section.versions };
            // The other protocol is for the next run, which knows what this one has recorded.
            for version in versions.iter().take(if is_recording { 1 } else { 2 }) {
                for failure in section.play(server, self.password(), *version, is_recording) {
                    match failure.recorded {
                        Some(recorded) if is_recording => lines[failure.line] = recorded,
                        _ => wrong.push(format!(
                            "{}:{}: {} (RESP{version}): {}",
                            self.path.display(),
                            failure.line + 1,
                            section.title,
                            failure.text
                        )),
                    }
                }
            }
        }
        if lines != self.lines {
            fs::write(&self.path, lines.join("\n") + "\n").unwrap();
        }
        wrong
    }

    fn password(&self) -> Option<&str> {
        self.settings.iter().find(|(name, _)| name == "PASSWORD").map(|(_, password)| password.as_str())
    }
}

/// One line: who, the mark, and the rest.
fn step(line: &str, at: usize, last: u32) -> Option<Step> {
    let digits = line.find(|letter: char| !letter.is_ascii_digit())?;
    let connection = if digits == 0 { None } else { line[..digits].parse().ok() };
    let (mark, rest) = line[digits..].split_once(' ').unwrap_or((&line[digits..], ""));
    let action = match mark {
        ">" => Action::Send(words(rest)),
        "*>" => Action::SendUntil(words(rest)),
        ">>" => Action::SendBytes(bytes_of(rest)),
        "!" if rest == "disconnect" => Action::Disconnect,
        "<" if rest == "closed" => Action::ExpectClosed,
        "<" => Action::Expect(rest.to_owned()),
        "<~" => Action::ExpectMatch(Regex::new(&format!("^(?:{rest})$")).ok()?),
        "<*" => Action::ExpectSorted(rest.to_owned()),
        "<?" => Action::ExpectAnything,
        "<<" => Action::ExpectBytes(bytes_of(rest)),
        _ => return None,
    };
    let is_answer = mark.starts_with('<');
    Some(Step { line: at, connection: connection.unwrap_or(if is_answer { last } else { 1 }), action })
}

impl Step {
    /// It counts the clients that wait, so it must not see those of the section before.
    fn asks_who_waits(&self) -> bool {
        matches!(&self.action, Action::ExpectMatch(pattern) if pattern.as_str().contains("blocked_clients"))
    }

    /// What was before must not be seen.
    fn makes_users(&self) -> bool {
        matches!(&self.action, Action::Send(args) if args.len() > 1 && args[1].eq_ignore_ascii_case(b"setuser"))
    }
}

impl Section {
    /// From an empty database, each connection new. Ends with the first failure, unless it is recording.
    fn play(&self, server: SocketAddr, password: Option<&str>, version: u8, is_recording: bool) -> Vec<Failure> {
        let mut control = Connection::open(server);
        if let Some(password) = password {
            assert_eq!(control.call(&["AUTH", password]).to_string(), "+OK");
        }
        // Who waited in the section before is gone, and not counted any more.
        if self.steps.iter().any(Step::asks_who_waits) {
            wait_until("that nobody waits", UNTIL, || (control.of_info("blocked_clients") == 0).then_some(()));
        }
        assert_eq!(control.ask("FLUSHALL"), "+OK");
        if self.steps.iter().any(Step::makes_users) {
            let users = control.ask("ACL USERS");
            let others = users.split('"').skip(1).step_by(2).filter(|name| *name != "default");
            others.for_each(|name| assert_eq!(control.ask(&format!("ACL DELUSER {name}")), ":1", "{name}"));
        }
        let (is_both, connections) = (self.versions.is_empty(), BTreeMap::new());
        let mut stage = Stage { server, version, is_both, connections, awaited: None };
        let mut failures = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            let next = self.steps.get(at + 1);
            if let Err(failure) = stage.act(step, next) {
                let is_final = !is_recording || failure.recorded.is_none();
                failures.push(failure);
                if is_final {
                    return failures;
                }
            }
        }
        let last = self.steps.last().map_or(0, |step| step.line);
        for (number, connection) in &stage.connections {
            if !connection.unread().is_empty() {
                let rest = String::from_utf8_lossy(connection.unread()).into_owned();
                let text = format!("connection {number} got more than was expected: {rest:?}");
                failures.push(Failure { line: last, text, recorded: None });
            }
        }
        failures
    }
}

struct Stage {
    server: SocketAddr,
    version: u8,
    is_both: bool,
    connections: BTreeMap<u32, Connection>,
    /// The reply that was waited for: asked once more, it may be another one already.
    awaited: Option<Value>,
}

impl Stage {
    fn connection(&mut self, number: u32) -> &mut Connection {
        let (server, version) = (self.server, self.version);
        self.connections.entry(number).or_insert_with(|| {
            let mut connection = Connection::open(server);
            if version == 3 {
                connection.send(&["HELLO", "3"]);
                let answer = connection.read();
                // A server with a password says so, and the transcript goes on to give it.
                assert!(matches!(answer, Value::Map(_) | Value::Error(_)), "HELLO 3: {answer}");
            }
            connection
        })
    }

    fn act(&mut self, step: &Step, next: Option<&Step>) -> Result<(), Failure> {
        let is_both = self.is_both && self.version == 3;
        let awaited = self.awaited.take();
        let connection = self.connection(step.connection);
        let failed = |text: String| Failure { line: step.line, text, recorded: None };
        match &step.action {
            Action::Send(args) => {
                let sent = connection.try_send_bytes(&super::connection::encoded(args));
                return sent.map_err(|error| failed(format!("can't send: {error}")));
            }
            Action::SendUntil(args) => {
                let Some(expected) = next else { return Err(failed("nothing is expected".to_owned())) };
                let value = wait_until("the expected reply", UNTIL, || {
                    let value = connection.call(args);
                    check(&expected.action, &value, is_both).is_ok().then_some(value)
                });
                self.awaited = Some(value);
            }
            Action::SendBytes(bytes) => {
                return connection.try_send_bytes(bytes).map_err(|error| failed(format!("can't send: {error}")));
            }
            Action::Disconnect => {
                self.connections.remove(&step.connection);
            }
            Action::ExpectClosed => {
                if !connection.is_closed() {
                    let rest = String::from_utf8_lossy(connection.unread()).into_owned();
                    return Err(failed(format!("the connection is not closed; {rest:?}")));
                }
            }
            Action::ExpectBytes(expected) => match connection.read_bytes(expected.len()) {
                Ok(bytes) if bytes == *expected => {}
                Ok(bytes) => return Err(failed(format!("came: {:?}", String::from_utf8_lossy(&bytes)))),
                Err(error) => return Err(failed(format!("{error}; came: {:?}", connection.unread()))),
            },
            expectation => match awaited.map_or_else(|| connection.try_read(), Ok) {
                Ok(value) => {
                    return check(expectation, &value, is_both).map_err(|text| Failure {
                        line: step.line,
                        text,
                        recorded: Some(recorded(step, &value)),
                    });
                }
                Err(error) => return Err(failed(format!("no reply: {error}; came: {:?}", connection.unread()))),
            },
        }
        Ok(())
    }
}

fn recorded(step: &Step, value: &Value) -> String {
    let mark = match step.action {
        Action::ExpectSorted(_) => format!("<* {}", value.sorted()),
        _ => format!("< {value}"),
    };
    // The usual connection goes without saying; a wrong guess is told by the next run.
    if step.connection == 1 { mark } else { format!("{}{mark}", step.connection) }
}

fn check(expectation: &Action, value: &Value, is_both: bool) -> Result<(), String> {
    if !is_both {
        return check_text(expectation, value, false);
    }
    check_text(expectation, &value.flat(), true)
        .or_else(|told| check_text(expectation, &value.paired(), true).map_err(|_| told))
}

fn check_text(expectation: &Action, value: &Value, is_both: bool) -> Result<(), String> {
    let (holds, expected) = match expectation {
        Action::Expect(text) => {
            let text = if is_both { with_plain_nulls(text) } else { text.clone() };
            (value.to_string() == text, text)
        }
        Action::ExpectSorted(text) => {
            let text = if is_both { with_plain_nulls(text) } else { text.clone() };
            (value.sorted().to_string() == text, text)
        }
        Action::ExpectMatch(pattern) => (pattern.is_match(&value.to_string()), pattern.to_string()),
        _ => (false, "not recorded yet".to_owned()),
    };
    if holds { Ok(()) } else { Err(format!("\n  expected: {expected}\n  came:     {value}")) }
}

/// The same reply in RESP3, where both nulls are one.
fn with_plain_nulls(expected: &str) -> String {
    let mut text = String::new();
    let (mut is_quoted, mut is_escaped) = (false, false);
    let is_line = expected.starts_with(['+', '-']);
    let mut rest = expected;
    while let Some(letter) = rest.chars().next() {
        let is_null = !is_line && !is_quoted && (rest.starts_with("$-1") || rest.starts_with("*-1"));
        if is_null {
            text.push('_');
            rest = &rest[3..];
            continue;
        }
        if letter == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = letter == '\\' && !is_escaped;
        text.push(letter);
        rest = &rest[letter.len_utf8()..];
    }
    text
}

//! A keyspace on a temporary directory and a way to run commands on it, for the tests of this layer.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::kv::call::{Event, Notifications, ReadCall, ReadResult, Waited, WriteCall};
use crate::kv::commands::permissions::vocabulary;
use crate::kv::commands::table::{self, Either, Handler};
use crate::kv::errors::CommandResult;
use crate::kv::lanes::calls::{look_at_keys, read_call, write_call};
use crate::kv::shared::settings::{BackupSettings, Listening, ScriptSettings, Settings};
use crate::kv::users::User;
use crate::resp::{Reply, ReplyWriter, ResponseLimits, ResponseParser, Version};
use crate::storage::{Change, Durability, Expiry, Keyspace, Kind, Options, prepare};

/// The time of a test that needs no other.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

/// Of one worker of two on this directory, without a cache.
pub(crate) fn settings(directory: &Path) -> Settings {
    Settings {
        cache_bytes: 0,
        listening: Listening { tcp: vec![([127, 0, 0, 1], 0).into()], ..Listening::default() },
        tls: None,
        storage: Options { durability: Durability::Os, ..Options::new(directory) },
        backups: BackupSettings {
            directory: directory.join("backups"),
            is_own_directory: true,
            interval: Duration::ZERO,
            keep: 0,
        },
        readers: 1,
        lane_jobs_max: 64,
        password: None,
        acl_file: None,
        logs_in_by_certificate: false,
        is_protected: true,
        debug_commands: false,
        slowlog_us: -1,
        slowlog_entries_max: 0,
        notifications: Notifications::default(),
        workers: 2,
        memory_bytes: 0,
        query_bytes_max: 1 << 20,
        queued_bytes_max: 1 << 20,
        output_bytes_max: 1 << 20,
        subscriber_output_bytes_max: 1 << 19,
        scripts: ScriptSettings { time_max: Duration::from_secs(30), memory_max: 16 << 20 },
        keep_alive_seconds: 0,
        drain_seconds: 1,
    }
}

pub(crate) struct Fixture {
    pub(crate) writer: Keyspace,
    pub(crate) reader: Keyspace,
    pub(crate) now_ms: i64,
    /// What the last write told.
    pub(crate) events: Vec<Event>,
    changes: Arc<AtomicU64>,
    /// Last, so that the connections close before the directory goes.
    _directory: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Fixture {
        Fixture::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(directory.path());
        options.durability = Durability::Os;
        change(&mut options);
        prepare(&options).unwrap();
        let changes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&changes);
        let count = move |_: Change<'_>| {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let writer = Keyspace::open_writer(&options, Box::new(count)).unwrap();
        let reader = Keyspace::open_reader(&options).unwrap();
        Fixture { writer, reader, now_ms: NOW_MS, events: Vec::new(), changes, _directory: directory }
    }

    pub(crate) fn select(&mut self, database: u8) {
        self.writer.select(database);
        self.reader.select(database);
    }

    /// How many changes were announced so far.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Makes a key a list, as far as a command on strings looks.
    pub(crate) fn make_list(&mut self, key: &str) {
        self.put(key, "x");
        self.write(|keyspace| keyspace.pretend_kind(key.as_bytes(), Kind::List).unwrap());
    }

    /// One committed group.
    pub(crate) fn write<T>(&mut self, change: impl FnOnce(&mut Keyspace) -> T) -> T {
        self.writer.begin_write(self.now_ms).unwrap();
        let result = change(&mut self.writer);
        self.writer.commit().unwrap();
        result
    }

    pub(crate) fn put(&mut self, key: &str, value: &str) {
        self.write(|keyspace| keyspace.put_string(key.as_bytes(), value.as_bytes(), Expiry::Clear).unwrap());
    }

    /// One call through the table, where its handler says: a write in a transaction of its own, a read in a snapshot.
    pub(crate) fn call(&mut self, args: &[&[u8]]) -> Reply {
        let result = table::resolve(args).and_then(|command| match command.handler {
            Handler::Pure(run) => run(args),
            Handler::Read(run) => self.read(args, run),
            Handler::Look(look) => self.read(args, |call| look_at_keys(call, &look, None, false, |_, _, _| {})),
            Handler::Either(either) if !command.changes(args) => self.read(args, either.read),
            Handler::Write(run) | Handler::Either(Either { write: run, .. }) => self.change(args, run),
            // As in a transaction: it does not wait.
            Handler::Wait(wait) => self.change(args, |call| match (wait.run)(call)? {
                Waited::Answered(reply) => Ok(reply),
                Waited::Parked | Waited::ParkedWithChanges => Ok(wait.nil.reply()),
            }),
            Handler::Session(_)
            | Handler::Waiting(_)
            | Handler::Script(_)
            | Handler::Sources(_)
            | Handler::Users(_)
            | Handler::Container => {
                panic!("{} can't run alone", command.name)
            }
        });
        result.unwrap_or_else(|error| error.into_reply())
    }

    /// The reply to a change, and what it tells. Of one that fails nothing stays.
    fn change(&mut self, args: &[&[u8]], run: impl FnOnce(&mut WriteCall<'_>) -> CommandResult) -> CommandResult {
        let wanted = Notifications::parse(b"KEAn").expect("known letters").classes();
        let user = User::default_user(vocabulary());
        let (result, events) = self.write(|keyspace| {
            let savepoint = keyspace.savepoint();
            let mut call = write_call(keyspace, args, &user, Version::Resp3, usize::MAX, wanted);
            let (result, events) = (run(&mut call), call.events.told());
            match result {
                Ok(_) => keyspace.keep_since(savepoint),
                Err(_) => keyspace.undo_to(savepoint).unwrap(),
            }
            (result, events)
        });
        self.events = if result.is_ok() { events } else { Vec::new() };
        result
    }

    /// The reply to a read as a value, of the protocol that has more types.
    fn read(&mut self, args: &[&[u8]], run: impl FnOnce(&mut ReadCall<'_>) -> ReadResult) -> CommandResult {
        self.reader.begin_read(self.now_ms).unwrap();
        let mut out = Vec::new();
        let reply = ReplyWriter::new(&mut out, Version::Resp3, usize::MAX);
        let result = run(&mut read_call(&self.reader, args, &User::default_user(vocabulary()), reply));
        self.reader.end_read().unwrap();
        result.map(|()| {
            let mut parser = ResponseParser::new(ResponseLimits::default());
            parser.parse(&mut &out[..]).unwrap().expect("a whole reply")
        })
    }

    /// Words separated by blanks; `''` is an empty one.
    pub(crate) fn run(&mut self, line: &str) -> Reply {
        let words: Vec<&[u8]> =
            line.split_whitespace().map(|word| if word == "''" { &b""[..] } else { word.as_bytes() }).collect();
        self.call(&words)
    }

    /// Lines of `> call`, each followed by the reply as `show` writes it.
    pub(crate) fn transcript(&mut self, text: &str) {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        while let Some(line) = lines.next() {
            let call = line.strip_prefix("> ").expect("a call comes first");
            let expected = lines.next().expect("a reply follows");
            assert_eq!(show(&self.run(call)), expected, "{call}");
        }
    }
}

/// A reply on one line: `:1`, `text`, `''`, `(nil)`, `-ERR …`, `[a b]`, `{a: b}`.
pub(crate) fn show(reply: &Reply) -> String {
    let all = |items: &[Reply]| items.iter().map(show).collect::<Vec<_>>().join(" ");
    match reply {
        Reply::Ok => "OK".to_owned(),
        Reply::Simple(text) => text.clone().into_owned(),
        Reply::Error(text) => format!("-{text}"),
        Reply::Integer(value) => format!(":{value}"),
        Reply::Bulk(bytes) if bytes.is_empty() => "''".to_owned(),
        Reply::Bulk(bytes) => bytes.escape_ascii().to_string(),
        Reply::Null | Reply::NullArray => "(nil)".to_owned(),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => format!("[{}]", all(items)),
        Reply::Map(pairs) => {
            let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{}: {}", show(key), show(value))).collect();
            format!("{{{}}}", pairs.join(" "))
        }
        Reply::Double(value) => value.to_string(),
        Reply::Bool(value) => value.to_string(),
        Reply::BigNumber(digits) => digits.clone(),
        Reply::Verbatim { text, .. } => text.escape_ascii().to_string(),
    }
}

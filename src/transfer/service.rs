//! A running service as the destination. A key is there whole or not at all: with RESTORE, or, where it is large, under another name
//! until it is complete.

use std::time::Duration;

use super::aof::Log;
use super::fault::Result;
use super::postponing::postpone;
use super::rdb_file::{FileKey, Visitor};
use super::replica::{Change, Changes, offset_of};
use super::report::{Report, causes};
use super::sender::{Command, Sender, Wanted};
use super::stream_commands::StreamCommands;
use super::survey::{FieldFate, Tally, Watch};
use crate::client::{Connection, Patience, Target};
use crate::kv::formats::rdb::{Element, StreamPart, ValueKind, ValueType, sealed_value};
use crate::resp::number::{DoubleText, parse_integer};
use crate::storage::keyspace::DATABASES;
use crate::sys::clock;

/// A value of more than this is sent in portions, and a portion is about as large.
const PORTION_BYTES: usize = 256 << 10;
/// What is left under its passing name by an import that was killed goes after a day.
const PASSING_MS: &[u8] = b"86400000";
/// Commands of a server that change nothing: so it keeps in touch.
const SPOKEN_TO_REPLICAS: [&[u8]; 2] = [b"PING", b"REPLCONF"];
/// They are about no database.
const AROUND_OTHERS: [&[u8]; 3] = [b"MULTI", b"EXEC", b"DISCARD"];
/// How often the server that is followed is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub struct Service<'w> {
    sender: Sender,
    tally: Tally,
    replaces: bool,
    key: Key,
    watch: Watch<'w>,
    /// Tells the passing names of this import from those of others.
    mark: u64,
    passing: u64,
    /// Ends that commands say are put off.
    postpones: bool,
    /// The database that commands which are passed on are about.
    passed_on: u64,
}

/// The key that is being read.
struct Key {
    is_wanted: bool,
    of: ValueType,
    kind: ValueKind,
    expires_at_ms: Option<i64>,
    /// The beginning of a command, or what it goes on with.
    portion: Command,
    portion_bytes: usize,
    /// Of a stream: whole commands that wait, and what is known of it.
    commands: Vec<(Command, Wanted)>,
    stream: StreamCommands,
    /// The name that it has until it is complete.
    passing: Option<Vec<u8>>,
    /// Something was sent under that name.
    is_passing: bool,
}

impl<'w> Service<'w> {
    /// `mark`: any number that another import has not.
    pub fn new(connection: Connection, replaces: bool, now_ms: i64, mark: u64, watch: Watch<'w>) -> Self {
        let key = Key {
            is_wanted: false,
            of: ValueType::new(0, 0),
            kind: ValueKind::String,
            expires_at_ms: None,
            portion: Vec::new(),
            portion_bytes: 0,
            commands: Vec::new(),
            stream: StreamCommands::default(),
            passing: None,
            is_passing: false,
        };
        Self {
            sender: Sender::new(connection),
            tally: Tally::new(now_ms),
            replaces,
            key,
            watch,
            mark,
            passing: 0,
            postpones: false,
            passed_on: 0,
        }
    }

    /// For commands of the past: the ends of keys that they say are put off.
    #[must_use]
    pub fn postponing(self) -> Self {
        Self { postpones: true, ..self }
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// The service has gone.
    pub fn finish(mut self) -> Result<Report> {
        self.sender.flush(&mut self.tally.report)?;
        Ok(self.tally.report)
    }

    fn add(&mut self, parts: &[&[u8]]) -> Result<()> {
        let key = &mut self.key;
        key.portion_bytes += parts.iter().map(|part| part.len() + 16).sum::<usize>();
        key.portion.extend(parts.iter().map(|part| part.to_vec()));
        if key.portion_bytes < PORTION_BYTES { Ok(()) } else { self.send_portion() }
    }

    fn add_to_stream(&mut self, part: StreamPart<'_>) -> Result<()> {
        let name = self.passing_name();
        let Key { stream, commands, portion_bytes, .. } = &mut self.key;
        stream.add(&name, part, &mut |command, wanted| {
            *portion_bytes += command.iter().map(|part| part.len() + 16).sum::<usize>();
            commands.push((command, wanted));
        })?;
        if self.key.portion_bytes < PORTION_BYTES { Ok(()) } else { self.send_portion() }
    }

    fn passing_name(&mut self) -> Vec<u8> {
        let Self { key, passing, mark, .. } = self;
        let name = key.passing.get_or_insert_with(|| {
            *passing += 1;
            format!("emptyserver-import-{mark:016x}-{passing}").into_bytes()
        });
        name.clone()
    }

    /// Sends the elements that wait to the key's passing name.
    fn send_portion(&mut self) -> Result<()> {
        let is_first = !std::mem::replace(&mut self.key.is_passing, true);
        let name = self.passing_name();
        self.key.portion_bytes = 0;
        for (command, wanted) in std::mem::take(&mut self.key.commands) {
            self.sender.send(command, wanted, &mut self.tally.report)?;
        }
        let parts = std::mem::take(&mut self.key.portion);
        let verb: &[u8] = match self.key.kind {
            ValueKind::List => b"RPUSH",
            ValueKind::Set => b"SADD",
            ValueKind::SortedSet => b"ZADD",
            ValueKind::Hash => b"HSET",
            ValueKind::Stream => b"",
            _ => b"APPEND",
        };
        if verb == b"APPEND" {
            for piece in parts.iter().flat_map(|value| value.chunks(PORTION_BYTES)) {
                let command = vec![verb.to_vec(), name.clone(), piece.to_vec()];
                self.sender.send(command, Wanted::Portion, &mut self.tally.report)?;
            }
        } else if !parts.is_empty() {
            let command = [verb.to_vec(), name.clone()].into_iter().chain(parts).collect();
            self.sender.send(command, Wanted::Portion, &mut self.tally.report)?;
        }
        if is_first { self.send(&[b"PEXPIRE", &name, PASSING_MS]) } else { Ok(()) }
    }

    /// Gives a key that is complete its name.
    fn rename(&mut self, kind: ValueKind, elements: u64) -> Result<()> {
        self.send_portion()?;
        let Some(passing) = self.key.passing.take() else { return Ok(()) };
        // Only what is whole gets its name.
        self.sender.flush(&mut self.tally.report)?;
        let (refused, unclaimed) = self.sender.portions();
        if let Some(text) = refused {
            self.tally.refused(&text);
            return self.send(&[b"DEL", &passing]);
        }
        if unclaimed > 0 {
            self.tally.unclaimed();
        }
        self.send(&[b"MULTI"])?;
        match self.key.expires_at_ms {
            Some(at_ms) => self.send(&[b"PEXPIREAT", &passing, at_ms.to_string().as_bytes()])?,
            None => self.send(&[b"PERSIST", &passing])?,
        }
        let verb: &[u8] = if self.replaces { b"RENAME" } else { b"RENAMENX" };
        let name = self.tally.name().to_vec();
        self.send(&[verb, &passing, &name])?;
        self.sender.send(vec![b"EXEC".to_vec()], Wanted::Key(name, kind, elements), &mut self.tally.report)?;
        self.send(&[b"DEL", &passing])
    }

    fn restore(&mut self, encoded: &[u8], kind: ValueKind, elements: u64) -> Result<()> {
        let ttl = self.key.expires_at_ms.unwrap_or(0).to_string().into_bytes();
        let name = self.tally.name().to_vec();
        let payload = sealed_value(self.key.of, encoded);
        let mut command = vec![b"RESTORE".to_vec(), name.clone(), ttl, payload, b"ABSTTL".to_vec()];
        if self.replaces {
            command.push(b"REPLACE".to_vec());
        }
        self.sender.send(command, Wanted::Key(name, kind, elements), &mut self.tally.report)
    }

    fn send(&mut self, command: &[&[u8]]) -> Result<()> {
        let command = command.iter().map(|argument| argument.to_vec()).collect();
        self.sender.send(command, Wanted::Done, &mut self.tally.report)
    }
}

impl Visitor for Service<'_> {
    fn begin(&mut self, key: &FileKey<'_>) -> Result<()> {
        let is_wanted = self.tally.begin(key);
        self.key.portion.clear();
        self.key.commands.clear();
        self.key.portion_bytes = 0;
        (self.key.passing, self.key.is_passing) = (None, false);
        if key.kind == ValueKind::Stream {
            self.key.stream = StreamCommands::default();
        }
        (self.key.is_wanted, self.key.of, self.key.kind) = (is_wanted, key.of, key.kind);
        self.key.expires_at_ms = key.expires_at_ms;
        if is_wanted { self.sender.select(key.database, &mut self.tally.report) } else { Ok(()) }
    }

    fn element(&mut self, element: Element<'_>) -> Result<()> {
        if !self.key.is_wanted {
            return Ok(());
        }
        match element {
            Element::Value(part) | Element::Item(part) | Element::Member(part) => self.add(&[part]),
            Element::Field(field, value) => self.add(&[field, value]),
            Element::EndingField(field, value, ends_at_ms) => match self.tally.ending_field(ends_at_ms) {
                FieldFate::Kept => self.add(&[field, value]),
                FieldFate::Ended => Ok(()),
            },
            Element::Scored(member, score) => self.add(&[DoubleText::new(score).as_bytes(), member]),
            Element::Stream(part) => self.add_to_stream(part),
        }
    }

    fn end(&mut self, elements: u64, encoded: Option<&[u8]>) -> Result<()> {
        let Some((kind, elements)) = self.tally.end(elements) else { return Ok(()) };
        match encoded {
            Some(encoded) if !self.key.is_passing && self.key.of.is_restorable() => {
                self.restore(encoded, kind, elements)
            }
            _ => self.rename(kind, elements),
        }
    }

    fn library(&mut self, code: &[u8]) -> Result<()> {
        let words: &[&[u8]] = if self.replaces { &[b"FUNCTION", b"LOAD", b"REPLACE"] } else { &[b"FUNCTION", b"LOAD"] };
        let command = words.iter().copied().chain([code]).map(<[u8]>::to_vec).collect();
        self.sender.send(command, Wanted::Library, &mut self.tally.report)
    }

    fn unmoved(&mut self, what: &str, name: &[u8]) {
        self.tally.report.unmoved(what, name);
    }

    fn at(&mut self, position: u64) -> Result<()> {
        (self.watch)(position)
    }
}

/// What commands that are passed on are about.
impl Log for Service<'_> {
    fn command(&mut self, command: Vec<Vec<u8>>) -> Result<()> {
        let report = &mut self.tally.report;
        let name = command.first().map_or(&[][..], Vec::as_slice);
        if name.eq_ignore_ascii_case(b"select") {
            let database = command.get(1).and_then(|number| parse_integer(number)).and_then(|n| u64::try_from(n).ok());
            self.passed_on = database.unwrap_or(u64::MAX);
        } else if SPOKEN_TO_REPLICAS.iter().any(|other| name.eq_ignore_ascii_case(other)) {
            // Nothing that changes data.
        } else if AROUND_OTHERS.iter().any(|other| name.eq_ignore_ascii_case(other)) {
            self.sender.send(command, Wanted::Done, report)?;
        } else if self.passed_on >= DATABASES as u64 {
            report.unmoved(causes::DATABASE_COMMANDS, name);
        } else {
            self.sender.select(self.passed_on, report)?;
            let command = if self.postpones { postpone(command, clock::wall_ms()) } else { command };
            self.sender.send(command, Wanted::Done, report)?;
        }
        Ok(())
    }
}

/// When following a server ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All that the server had when it was told is here.
    CutOver,
    /// The server has gone. What it sent is here.
    Gone(String),
}

/// Whoever watches how a server is followed.
pub trait Watcher {
    /// So many bytes of changes are not here yet; how many changes are. `is_in_step`: all that the server had when it was first asked is
    /// here. True: from now on, cut over.
    fn lag(&mut self, bytes: u64, changes: u64, is_in_step: bool) -> bool;
}

impl Service<'_> {
    /// Passes on the changes of a server, until it is told to cut over and all is here that the server had then; with `when_idle` also
    /// when nothing has changed for so long.
    ///
    /// # Errors
    /// The service has gone, or what comes is damaged.
    pub fn follow(
        &mut self,
        source: &Target,
        changes: &mut Changes,
        when_idle: Option<Duration>,
        watcher: &mut impl Watcher,
    ) -> Result<Ended> {
        let mut asked = Connection::connect(source, Patience::default()).ok();
        let (mut count, mut cut_over_at, mut is_told) = (0, None, false);
        let (mut looked, mut changed, mut first) = (None, clock::monotonic(), None);
        loop {
            let mut is_behind_all = false;
            match changes.next(LOOK_EVERY)? {
                Change::Command(command) => {
                    let is_change = !SPOKEN_TO_REPLICAS.iter().any(|name| command[0].eq_ignore_ascii_case(name));
                    is_behind_all = is_told && !is_change;
                    self.command(command)?;
                    if is_change {
                        count += 1;
                        changed = clock::monotonic();
                    }
                    if changes.is_waiting() && looked.is_some_and(|at| clock::monotonic() - at < LOOK_EVERY) {
                        continue;
                    }
                }
                Change::Nothing => {}
                Change::Gone(why) => {
                    self.sender.flush(&mut self.tally.report)?;
                    return Ok(Ended::Gone(why));
                }
            }
            self.sender.flush(&mut self.tally.report)?;
            looked = Some(clock::monotonic());
            let theirs = asked.as_mut().and_then(|connection| offset_of(connection).ok());
            if theirs.is_none() {
                asked = None;
            }
            let here = changes.offset();
            let lag = theirs.map_or(0, |theirs| theirs.saturating_sub(here));
            let is_in_step = theirs.is_none_or(|theirs| here >= *first.get_or_insert(theirs));
            if watcher.lag(lag, count, is_in_step) {
                is_told = true;
                cut_over_at = cut_over_at.or(theirs);
            }
            let is_idle = when_idle.is_some_and(|time| lag == 0 && clock::monotonic() - changed >= time);
            // One that does not say how far it is says a word to its replicas every few seconds, behind all that was before.
            let is_reached = cut_over_at.map_or(is_behind_all, |offset| here >= offset);
            if is_idle || is_told && is_reached {
                return Ok(Ended::CutOver);
            }
        }
    }

    /// All that was sent is there.
    ///
    /// # Errors
    /// The service has gone.
    pub fn flush(&mut self) -> Result<()> {
        self.sender.flush(&mut self.tally.report)
    }
}

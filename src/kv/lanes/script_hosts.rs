//! What a running script reaches: its calls, in the writer's group or over a reader's view, its session and its log; and who ends it.

use std::borrow::Cow;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::kv::cache::{Learning, Seen};
use crate::kv::call::ScriptSession;
use crate::kv::commands::table::{self, Command, Handler};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::jobs::job::{Call, SlowCall, Unit};
use crate::kv::lanes::calls::{Answer, Calls, Ran};
use crate::kv::lanes::left_out::Place;
use crate::kv::lanes::scripts::Prepared;
use crate::kv::lanes::telling::Telling;
use crate::kv::lanes::writer::{Attempt, Called, Spoiled, Writer};
use crate::kv::metrics::statistics::{Counted, Totals};
use crate::kv::scripts::{Host, LogLevel, Over};
use crate::kv::sessions::monitors;
use crate::kv::shared::Shared;
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::running_scripts::ScriptLane;
use crate::kv::table::flags::Flags;
use crate::kv::users::{Context, Denial, Rights, User};
use crate::resp::{Version, encode};
use crate::server::{Counter, Limits, LogLimit};
use crate::storage::{Keyspace, StorageError};
use crate::sys::{clock, process, thread};

/// What every script has, wherever it runs.
pub(super) struct Run {
    shared: Arc<Shared>,
    lane: ScriptLane,
    /// Of the script, by which it is ended.
    number: u64,
    until: Instant,
    /// When it began: its time stands still.
    now_us: i64,
    /// The database of its next call.
    database: u8,
    is_read_only: bool,
    allows_growth: bool,
    has_written: bool,
    /// What the reply to one of its calls may have.
    reply_bytes_max: usize,
    /// Somebody watches by MONITOR.
    is_shown: bool,
    /// By whose rights its calls run, and which of them these were not enough for.
    user: Arc<User>,
    pub(super) denied: Vec<Denial>,
}

impl Run {
    pub(super) fn begin(
        shared: &Arc<Shared>,
        lane: ScriptLane,
        prepared: &Prepared,
        call: &Call<'_>,
        user: Arc<User>,
    ) -> Run {
        if lane == ScriptLane::Writer {
            guard_writer(shared);
        }
        let (running, what) = (&shared.running_scripts, &prepared.what);
        Run {
            user,
            denied: Vec::new(),
            number: running.begin(lane, what.is_function(), &what.name(), &call.args, clock::uptime_ms()),
            shared: Arc::clone(shared),
            lane,
            until: clock::monotonic() + shared.settings.scripts.time_max,
            now_us: clock::wall_us(),
            database: call.database,
            is_read_only: prepared.is_read_only,
            allows_growth: prepared.allows_growth,
            has_written: false,
            reply_bytes_max: shared.settings.output_bytes_max.min(shared.settings.scripts.memory_max),
            is_shown: Totals(shared.scoreboard).sum(Counted::Monitors) > 0,
        }
    }

    pub(super) fn end(&self) {
        self.shared.running_scripts.end(self.lane);
    }

    fn is_over(&self) -> Option<Over> {
        if self.shared.running_scripts.is_killed(self.lane, self.number) {
            return Some(Over::Killed);
        }
        (clock::monotonic() >= self.until).then_some(Over::OutOfTime)
    }

    /// The row that a script's call runs. `None`: it does not, and the reason is its reply.
    fn admitted(&mut self, calls: &Calls, args: &[&[u8]], reply: &mut Vec<u8>) -> Option<&'static Command> {
        let text = match table::lookup_row(args) {
            None => errors::SCRIPT_UNKNOWN_COMMAND.into(),
            Some(command) => match self.admit(command, args) {
                Ok(()) => return Some(command),
                Err(text) => {
                    calls.statistics.rejected(table::number(command));
                    text
                }
            },
        };
        calls.statistics.error_replied(&text);
        encode::error(&text, reply);
        None
    }

    fn admit(&mut self, command: &'static Command, args: &[&[u8]]) -> Result<(), Cow<'static, str>> {
        if !command.fits_arity(args.len()) || matches!(command.handler, Handler::Container) {
            return Err(errors::SCRIPT_WRONG_ARITY.into());
        }
        let flags = command.flags;
        let is_beside = matches!(command.handler, Handler::Session(_)) && command.scripted.is_none();
        if flags.has(Flags::NOSCRIPT) || is_beside {
            return Err(errors::NOT_FROM_SCRIPT.into());
        }
        if self.is_read_only && (flags.has(Flags::WRITE) || flags.has(Flags::MAY_REPLICATE)) {
            return Err(errors::SCRIPT_IS_READ_ONLY.into());
        }
        if let Err(denied) = self.user.check(command, args) {
            if self.denied.len() < DENIED_KEPT {
                self.denied.push(Denial::of(denied, &self.user, command.name, args, Context::Script));
            }
            return Err(errors::denied_in_script(&denied.text(&self.user.name, command.name)).into());
        }
        // Once it has written something, it can't be stopped in the middle.
        let may_stop = !self.has_written && !self.allows_growth;
        if may_stop && flags.has(Flags::DENYOOM) && self.shared.hand_offs.is_set(HandOff::DiskNearlyFull) {
            return Err(errors::DISK_NEARLY_FULL.into());
        }
        command.check_in_script(args).map_err(|error| error.text())?;
        if flags.has(Flags::WRITE) && !self.has_written {
            self.has_written = true;
            self.shared.running_scripts.writes(self.lane);
        }
        Ok(())
    }

    fn may_call(&self, args: &[&[u8]]) -> Result<bool, Cow<'static, str>> {
        match table::lookup_row(args) {
            Some(command) => {
                let user = &self.user;
                Ok(user.is_unrestricted() || command.fits_arity(args.len()) && user.check(command, args).is_ok())
            }
            None => Err(errors::SCRIPT_CHECK_OF_NO_COMMAND.into()),
        }
    }

    fn call<'a>(&self, command: &'static Command, args: &'a [&'a [u8]]) -> Call<'a> {
        let row = table::number(command);
        Call { row, database: self.database, is_muted: false, unit: Unit::Alone, args: SmallVec::from_slice(args) }
    }

    fn answer<'a>(
        &self,
        version: Version,
        replies: &'a mut Vec<u8>,
        slow: &'a mut Vec<SlowCall>,
        denied: &'a mut Vec<Denial>,
    ) -> Answer<'a> {
        // It was looked at by `admit`.
        let rights = Rights { user: self.user.id, version: 0 };
        Answer {
            version,
            weight: None,
            bytes_max: self.reply_bytes_max,
            replies,
            slow,
            rights,
            denied,
            may_wait: false,
            is_again: false,
            is_scripted: true,
        }
    }
}

/// The session of a script's call. `telling`: where it may tell something, in the writer.
struct Acting<'a> {
    run: &'a mut Run,
    version: Version,
    telling: Option<&'a mut Telling>,
}

impl Acting<'_> {
    /// What runs beside a client's session otherwise, with the script in its place. `None`: it does not.
    fn run_beside(&mut self, command: &Command, args: &[&[u8]]) -> Option<CommandResult> {
        match (command.handler, command.scripted) {
            (Handler::Pure(handler), _) => Some(handler(args)),
            (Handler::Session(_), Some(handler)) => Some(handler(self, args)),
            _ => None,
        }
    }
}

impl ScriptSession for Acting<'_> {
    fn version(&self) -> Version {
        self.version
    }

    fn now_us(&self) -> i64 {
        self.run.now_us
    }

    fn select(&mut self, database: u8) {
        self.run.database = database;
    }

    fn publish(&mut self, is_shard: bool, channel: &[u8], message: &[u8]) -> Result<u64, CommandError> {
        match &mut self.telling {
            Some(telling) => Ok(telling.publish(is_shard, channel, message)),
            None => Err(errors::SCRIPT_IS_READ_ONLY.into()),
        }
    }
}

impl Calls {
    /// The reply of what runs beside a session.
    fn answer_beside(
        &mut self,
        call: &Call<'_>,
        result: CommandResult,
        version: Version,
        replies: &mut Vec<u8>,
        slow: &mut Vec<SlowCall>,
    ) {
        let duration_us = self.took_us(self.ended());
        let error = match result {
            Ok(reply) => {
                encode::encode(&reply, version, replies);
                None
            }
            Err(error) => {
                encode::error(&error.text(), replies);
                Some(error.text())
            }
        };
        self.count(call, error, false, duration_us, slow);
    }
}

/// What a script has written to the log. Its words are somebody's, so they are few and short.
fn log(level: LogLevel, message: &[u8]) {
    const SHOWN_BYTES_MAX: usize = 1024;
    static LOGGED: LogLimit = LogLimit::new();
    let Some(left_out) = LOGGED.admit() else { return };
    let message = String::from_utf8_lossy(&message[..message.len().min(SHOWN_BYTES_MAX)]);
    match level {
        LogLevel::Debug | LogLevel::Verbose => tracing::debug!(%message, left_out, "a script says"),
        LogLevel::Notice => tracing::info!(%message, left_out, "a script says"),
        LogLevel::Warning => tracing::warn!(%message, left_out, "a script says"),
    }
}

// ---- in the writer

pub(super) struct Writing<'a> {
    pub(super) writer: &'a mut Writer,
    pub(super) place: Place,
    pub(super) run: Run,
    pub(super) slow: &'a mut Vec<SlowCall>,
    pub(super) stopped: Option<Stopped>,
    /// A part of what it has changed is not in the batch any more.
    pub(super) is_spilled: bool,
}

/// What ends a script that is no affair of the script.
pub(super) enum Stopped {
    Spoiled(Spoiled),
    Storage(StorageError),
}

impl Writing<'_> {
    fn run_call(&mut self, call: &Call<'_>, version: Version, reply: &mut Vec<u8>) -> Result<(), Stopped> {
        let mut none = Vec::new();
        let answer = self.run.answer(version, reply, self.slow, &mut none);
        match self.writer.call(self.place, call, answer).map_err(Stopped::Storage)? {
            Attempt::Done(Called::Answered) => {}
            Attempt::Done(Called::Refused(text)) => encode::error(&text, reply),
            Attempt::Done(Called::TooHeavy | Called::TakesLong | Called::Parked) => {
                encode::error(errors::INTERNAL, reply);
            }
            Attempt::Spoiled(spoiled) => return Err(Stopped::Spoiled(spoiled)),
        }
        let had_changes = self.writer.keyspace.has_unwritten_changes();
        match self.writer.keyspace.spill_if_large() {
            Ok(()) => {}
            Err(error) if error.is_of_the_call() => return Err(Stopped::Spoiled(Spoiled::ByRow(error))),
            Err(error) => return Err(Stopped::Storage(error)),
        }
        self.is_spilled |= had_changes && !self.writer.keyspace.has_unwritten_changes();
        Ok(())
    }
}

impl Host for Writing<'_> {
    fn call(&mut self, args: &[&[u8]], version: Version, reply: &mut Vec<u8>) {
        if self.stopped.is_some() {
            return encode::error(errors::INTERNAL, reply);
        }
        let Some(command) = self.run.admitted(&self.writer.calls, args, reply) else { return };
        let call = self.run.call(command, args);
        if self.run.is_shown {
            let line = monitors::line(format_args!("{} lua", call.database), command.name, args);
            self.writer.telling.monitored(&line);
        }
        let mut acting = Acting { run: &mut self.run, version, telling: Some(&mut self.writer.telling) };
        if let Some(result) = acting.run_beside(command, args) {
            return self.writer.calls.answer_beside(&call, result, version, reply, self.slow);
        }
        if let Err(stopped) = self.run_call(&call, version, reply) {
            self.stopped = Some(stopped);
            encode::error(errors::INTERNAL, reply);
        }
    }

    fn may_call(&mut self, args: &[&[u8]]) -> Result<bool, Cow<'static, str>> {
        self.run.may_call(args)
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        log(level, message);
    }

    fn is_over(&mut self) -> Option<Over> {
        if self.stopped.is_some() {
            return Some(Over::Killed);
        }
        // A long script is no hang: the writer is at work.
        let scoreboard = self.run.shared.scoreboard;
        scoreboard.set(scoreboard.lane_slot(), Counter::HeartbeatMs, clock::uptime_ms());
        let memory_max = self.run.shared.settings.scripts.memory_max;
        let is_too_much = self.writer.telling.bytes() > memory_max.min(published_bytes_max());
        if is_too_much { Some(Over::OutOfMemory) } else { self.run.is_over() }
    }
}

/// What a script publishes goes to the workers as one: a worker that is left more notices than it may leave unread misses some, and closes
/// its subscribers.
fn published_bytes_max() -> usize {
    Limits::default().lane_notice_bytes_max / 2
}

/// A script that asks no more whether it is over is ended with its writer, so long after its time: its job is sent again, alone, and
/// refused when it has done that twice.
const GRACE: Duration = Duration::from_secs(5);
const GUARD_LOOK: Duration = Duration::from_secs(1);
/// As many as ACL LOG usually has entries. A script may be refused more often than memory bears.
const DENIED_KEPT: usize = 128;

/// From a writer's first script on. Without workers the process is everything: then there is nobody to go on.
fn guard_writer(shared: &Arc<Shared>) {
    static GUARD: Once = Once::new();
    if shared.settings.workers == 0 {
        return;
    }
    let shared = Arc::clone(shared);
    GUARD.call_once(move || {
        let limit_ms = u64::try_from((shared.settings.scripts.time_max + GRACE).as_millis()).unwrap_or(u64::MAX);
        let spawned = thread::spawn("script-guard", move || {
            loop {
                clock::pause(GUARD_LOOK);
                if shared.running_scripts.writer_is_busy(limit_ms, clock::uptime_ms).is_some() {
                    tracing::error!("a script can't be ended: the writer ends, and is started again");
                    process::exit_at_once(1);
                }
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "nobody looks after scripts that can't be ended");
        }
    });
}

// ---- over a reader's view

pub(super) struct Reading<'a> {
    pub(super) calls: &'a mut Calls,
    pub(super) keyspace: &'a mut Keyspace,
    pub(super) run: Run,
    pub(super) slow: &'a mut Vec<SlowCall>,
    /// The view can't be read any further.
    pub(super) lost: Option<StorageError>,
}

impl Host for Reading<'_> {
    fn call(&mut self, args: &[&[u8]], version: Version, reply: &mut Vec<u8>) {
        if self.lost.is_some() {
            return encode::error(errors::INTERNAL, reply);
        }
        let Some(command) = self.run.admitted(self.calls, args, reply) else { return };
        let call = self.run.call(command, args);
        let mut acting = Acting { run: &mut self.run, version, telling: None };
        if let Some(result) = acting.run_beside(command, args) {
            return self.calls.answer_beside(&call, result, version, reply, self.slow);
        }
        let mut none = Vec::new();
        let answer = self.run.answer(version, reply, self.slow, &mut none);
        match self.calls.read(self.keyspace, &call, answer, &mut Learning::of(&Seen::default())) {
            Ran::Answered | Ran::Refused => {}
            Ran::Failed(error) if error == StorageError::ViewLost || !self.keyspace.is_in_transaction() => {
                self.lost = Some(error);
                encode::error(errors::INTERNAL, reply);
            }
            Ran::Failed(error) => encode::error(&errors::storage_text(&error), reply),
            Ran::Panicked | Ran::TakesLong | Ran::TooHeavy | Ran::Parked { .. } | Ran::Waits(_) => {
                encode::error(errors::INTERNAL, reply);
            }
        }
    }

    fn may_call(&mut self, args: &[&[u8]]) -> Result<bool, Cow<'static, str>> {
        self.run.may_call(args)
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        log(level, message);
    }

    fn is_over(&mut self) -> Option<Over> {
        if self.lost.is_some() { Some(Over::Killed) } else { self.run.is_over() }
    }
}

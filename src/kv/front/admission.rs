//! The gates that every request passes, in the order of Redis' `processCommand`, before anything of it runs.

use std::borrow::Cow;

use crate::kv::commands::table::{self, Command};
use crate::kv::errors::{self, CommandError};
use crate::kv::jobs::WRITE;
use crate::kv::sessions::session::Session;
use crate::kv::sessions::transaction::State;
use crate::kv::sessions::worker_state::WorkerState;
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::runtime::{Knob, Pausing};
use crate::kv::table::flags::Flags;
use crate::kv::users::Denied;
use crate::sys::clock;

/// What is to be done with a request.
pub enum Admission {
    /// Answered with this error; it did not run.
    Refused(Option<&'static Command>, Cow<'static, str>),
    /// The same, because its user may not do that.
    Denied(&'static Command, Denied),
    /// Put into the transaction's queue.
    Queue(&'static Command),
    /// Run now.
    Run(&'static Command),
    /// Not a request at all: a web page made its reader's browser send this (Redis: securityWarningCommand), or it is TLS.
    Hostile(Hostile),
    /// Not before then (milliseconds since 1970): clients are paused.
    Later(i64),
}

/// What was sent instead of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hostile {
    Browser,
    /// A TLS handshake.
    Tls,
}

impl Admission {
    /// True exactly when the request may ride in a run: it is answered at once, and nobody else can see that.
    #[must_use]
    pub fn is_inert(&self, session: &Session) -> bool {
        match self {
            Admission::Refused(..) | Admission::Denied(..) | Admission::Queue(_) => true,
            // EXEC without anything to run is an error.
            Admission::Run(command) if command.flags.has(Flags::EXECUTES) => !session.transaction.is_queuing(),
            Admission::Run(command) => command.is_inert(),
            Admission::Hostile(_) | Admission::Later(_) => false,
        }
    }
}

/// True for the first bytes of a TLS handshake, where a request was expected.
pub fn begins_tls(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x16, 0x03])
}

/// `args` has at least one element.
pub fn admit(session: &Session, worker: &WorkerState, args: &[&[u8]]) -> Admission {
    // A line of HTTP? Its body could be commands, sent by somebody whose browser stands behind the firewall.
    if args[0].eq_ignore_ascii_case(b"host:") || args[0].eq_ignore_ascii_case(b"post") {
        return Admission::Hostile(Hostile::Browser);
    }
    // Does it exist, with that many arguments?
    let command = match table::resolve(args) {
        Ok(command) => command,
        Err(_) if begins_tls(args[0]) => return Admission::Hostile(Hostile::Tls),
        Err(error) => return Admission::Refused(table::lookup_row(args), error.text()),
    };
    let refuse = |text: &'static str| Admission::Refused(Some(command), Cow::Borrowed(text));
    // Dangerous commands are there only when the operator said so.
    if command.flags.has(Flags::DEBUGS) && !worker.shared.settings.debug_commands {
        return refuse(errors::DEBUG_NOT_ALLOWED);
    }
    // Who has not logged in may do nothing but log in.
    if !session.is_authenticated && !command.flags.has(Flags::NO_AUTH) && worker.users.needs_login() {
        return refuse(errors::NO_AUTH);
    }
    if session.transaction.is_open() && (command.flags.has(Flags::NO_MULTI) || command.flags.has(Flags::MUTES)) {
        return refuse(errors::NOT_IN_MULTI);
    }
    // May its user do that?
    if session.client.is_restricted.get()
        && let Err(denied) = session.client.user.borrow().check(command, args)
    {
        return Admission::Denied(command, denied);
    }
    // From here on EXEC counts as what it is going to run.
    let flags = flags_of(session, command);
    // A disk that is nearly full takes nothing that makes the data grow; one that fails takes no change at all.
    if flags.has(Flags::DENYOOM) && worker.shared.hand_offs.is_set(HandOff::DiskNearlyFull) {
        return refuse(errors::DISK_NEARLY_FULL);
    }
    let may_write = flags.has(Flags::WRITE) || flags.has(Flags::MAY_REPLICATE);
    // While the writer is with a script that runs for long, nothing that needs it can be done soon.
    if !command.flags.has(Flags::ALLOW_BUSY)
        && let Some(is_function) = busy_with(worker)
        && needs_writer(session, command, args)
    {
        return refuse(if is_function { errors::BUSY_FUNCTION } else { errors::BUSY_SCRIPT });
    }
    // Who listens in RESP2 can't tell a reply from a message.
    if !command.flags.has(Flags::WHILE_SUBSCRIBED) && session.client.only_listens() {
        return Admission::Refused(Some(command), errors::only_while_subscribed(command.name));
    }
    if session.client.is_monitor.get() {
        // A monitor only watches, and is never paused.
        if may_write || flags.has(Flags::READONLY) {
            return refuse(errors::MONITOR_WITH_KEYS);
        }
    } else {
        // Paused clients wait.
        match worker.shared.runtime.pausing(|| worker.shared.clock.now_ms()) {
            (Pausing::All, until) if !command.flags.has(Flags::DURING_PAUSE) => return Admission::Later(until),
            (Pausing::Writes, until) if may_write => return Admission::Later(until),
            _ => {}
        }
    }
    // A transaction queues everything but what ends it.
    if session.transaction.is_open() && !command.flags.has(Flags::NOT_QUEUED) {
        return Admission::Queue(command);
    }
    Admission::Run(command)
}

/// Whether the call would go to the writer, now or with its transaction.
fn needs_writer(session: &Session, command: &Command, args: &[&[u8]]) -> bool {
    match &session.transaction.state {
        State::Queuing(queue) if command.flags.has(Flags::EXECUTES) => {
            queue.lane() == Some(WRITE) || !session.transaction.watched.is_empty()
        }
        _ => command.lane(args) == Some(WRITE),
    }
}

/// Whether the writer has been with one script for as long as others wait for it, and whether that is a function.
fn busy_with(worker: &WorkerState) -> Option<bool> {
    let threshold_ms = worker.shared.runtime.read(Knob::BusyReplyMs);
    worker.shared.running_scripts.writer_is_busy(threshold_ms, clock::uptime_ms)
}

/// Of the command, and for EXEC of all that it runs.
fn flags_of(session: &Session, command: &Command) -> Flags {
    match &session.transaction.state {
        State::Queuing(queue) if command.flags.has(Flags::EXECUTES) => command.flags.or(queue.flags),
        _ => command.flags,
    }
}

/// The text of what `resolve` or a handler failed with.
impl From<CommandError> for Cow<'static, str> {
    fn from(error: CommandError) -> Cow<'static, str> {
        error.text()
    }
}

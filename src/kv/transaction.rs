//! MULTI, EXEC and WATCH as a session sees them. The checks of what is watched are the executor's.

use crate::kv::errors;
use crate::kv::flags::Flags;
use crate::kv::job::{Calls, Watched};
use crate::kv::table::{Command, Handler};
use crate::resp::encode;
use crate::resp::reply::Version;
use crate::resp::response::{ResponseLimits, ResponseParser};

/// A session's transaction.
#[derive(Default)]
pub struct Transaction {
    pub state: State,
    /// What WATCH saw, until EXEC, DISCARD, UNWATCH or the end.
    pub watched: Vec<Watch>,
}

/// A watched key.
pub struct Watch {
    pub database: u8,
    pub key: Vec<u8>,
    pub seen: Watched,
}

#[derive(Default)]
pub enum State {
    /// Commands run at once.
    #[default]
    None,
    /// After MULTI: commands are queued.
    Queuing(Queue),
    /// After MULTI and a command that could not be queued: EXEC will refuse.
    Failed,
}

/// The queued calls.
#[derive(Default)]
pub struct Queue {
    pub calls: Vec<Queued>,
    pub bytes: usize,
    /// Of all calls together.
    pub flags: Flags,
}

pub struct Queued {
    pub command: &'static Command,
    pub args: Vec<Vec<u8>>,
}

/// An EXEC that is under way: the replies of the lane, and the place from where the calls on the loop are still to run.
pub struct Execution {
    /// EXEC, as the client wrote it.
    pub name: Vec<u8>,
    pub calls: Vec<Queued>,
    pub next: usize,
    /// The lane's replies, as this version writes them, and where each of its calls' ends.
    pub version: Version,
    pub replies: Vec<u8>,
    pub ends: Vec<u32>,
    /// How many of the lane's replies are out.
    pub taken: usize,
    /// What a call on the loop waits for.
    pub wait: Option<crate::kv::session::Wait>,
}

impl Execution {
    /// Takes the lane's next reply into `out`, as `version` writes it.
    pub fn take_reply(&mut self, version: Version, is_muted: bool, out: &mut Vec<u8>) {
        let begin = self.taken.checked_sub(1).map_or(0, |last| self.ends[last] as usize);
        let mut reply = &self.replies[begin..self.ends[self.taken] as usize];
        self.taken += 1;
        if is_muted {
            return;
        }
        if version == self.version {
            return out.extend_from_slice(reply);
        }
        // A HELLO before this call has changed the version; RESP3 tells all that RESP2 needs.
        let mut parser = ResponseParser::new(ResponseLimits::default());
        match parser.parse(&mut reply) {
            Ok(Some(reply)) => encode::encode(&reply, version, out),
            Ok(None) | Err(_) => encode::error(errors::INTERNAL, out),
        }
    }
}

impl Queued {
    #[must_use]
    pub fn slices(&self) -> Vec<&[u8]> {
        self.args.iter().map(Vec::as_slice).collect()
    }

    /// True when the call runs on a lane and not on the loop.
    #[must_use]
    pub fn is_for_a_lane(&self) -> bool {
        matches!(self.command.handler, Handler::Read(_) | Handler::Look(_) | Handler::Write(_))
    }
}

impl Transaction {
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::None)
    }

    /// True when EXEC would be answered by its calls.
    #[must_use]
    pub fn is_queuing(&self) -> bool {
        matches!(self.state, State::Queuing(_))
    }

    /// A command could not be queued.
    pub fn fail(&mut self) {
        if self.is_open() {
            self.state = State::Failed;
        }
    }
}

/// The calls of a queue that a lane runs, each in the database that the SELECTs before it chose.
#[must_use]
pub fn lane_calls(queue: &[Queued], mut database: u8) -> Calls {
    let mut calls = Calls::default();
    for queued in queue {
        if queued.command.name == "select"
            && let Ok(chosen) = crate::kv::args::database(&queued.args[1])
        {
            database = chosen;
        }
        if queued.is_for_a_lane() {
            calls.push(queued.command, database, &queued.slices());
        }
    }
    calls
}

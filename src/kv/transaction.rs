//! MULTI, EXEC and WATCH as a session sees them. The checks of what is watched are the executor's.

use crate::kv::flags::Flags;
use crate::kv::job::{Calls, Watched};
use crate::kv::table::{Command, Handler};

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
    /// The lane's replies, and where each of its calls' ends.
    pub replies: Vec<u8>,
    pub ends: Vec<u32>,
    /// How many of the lane's replies are out.
    pub taken: usize,
    /// What a call on the loop waits for.
    pub wait: Option<crate::kv::session::Wait>,
}

impl Queued {
    #[must_use]
    pub fn slices(&self) -> Vec<&[u8]> {
        self.args.iter().map(Vec::as_slice).collect()
    }

    /// True when the call runs on a lane and not on the loop.
    #[must_use]
    pub fn is_for_a_lane(&self) -> bool {
        matches!(self.command.handler, Handler::Read(_) | Handler::Write(_))
    }
}

impl Transaction {
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::None)
    }

    /// True when EXEC would run something.
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

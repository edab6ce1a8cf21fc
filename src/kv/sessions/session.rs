//! kv's memory of one client, and what the commands that run on the loop are called with.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use crate::kv::jobs::job::{Admitted, Calls, Job, Unit, Watched};
use crate::kv::sessions::riders::Riders;
use crate::kv::sessions::transaction::{Execution, Transaction};
use crate::kv::sessions::worker_state::WorkerState;
use crate::resp::reply::{Reply, Version};
use crate::server::{ConnectionId, Effects, Kept, LaneId, Peer};
use crate::sys::clock;

/// One client's session. Its facts that others may ask for are in `client`.
pub struct Session {
    pub client: Rc<Client>,
    pub version: Version,
    pub is_authenticated: bool,
    /// Wrong passwords since the last right one.
    pub login_failures: u32,
    pub reply_mode: ReplyMode,
    pub transaction: Transaction,
    pub awaits: Awaits,
}

/// A client's name, and the name and version of its library, have at most so many bytes: they stand in each line of CLIENT LIST
/// and in each entry of the slow log, which outlives the client.
pub const CLIENT_NAME_BYTES_MAX: usize = 256;

/// What a client is, for CLIENT LIST and its like: read by other sessions' commands, so in cells.
pub struct Client {
    pub id: ConnectionId,
    /// Counts the connections of the whole service: what clients know as their id.
    pub number: u64,
    pub address: SocketAddr,
    pub local: SocketAddr,
    pub descriptor: i32,
    pub created_ms: i64,
    pub active_ms: Cell<i64>,
    pub database: Cell<u8>,
    pub version: Cell<Version>,
    pub name: RefCell<Vec<u8>>,
    pub library_name: RefCell<Vec<u8>>,
    pub library_version: RefCell<Vec<u8>>,
    pub last_command: Cell<&'static str>,
    pub is_monitor: Cell<bool>,
    /// True while a command waits for something to happen, or for the end of a pause.
    pub is_blocked: Cell<bool>,
    pub no_evict: Cell<bool>,
    pub no_touch: Cell<bool>,
    /// Queued calls of a MULTI, -1 without one; and the bytes of their arguments.
    pub queued: Cell<i64>,
    pub queued_bytes: Cell<usize>,
    /// Watched keys, and what it takes to remember them.
    pub watched: Cell<usize>,
    pub watched_bytes: Cell<usize>,
    /// What was kept when it was last counted, and all of it together.
    pub kept: Cell<Kept>,
    pub bytes_kept: Cell<usize>,
    /// Of the arguments of a call that tells of its own client.
    pub args_bytes: Cell<usize>,
}

/// Whether replies are sent: CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    On,
    Off,
    /// The command after the present one is not answered.
    SkipNext,
    /// The present command is not answered.
    Skip,
}

/// What a client waits for: its state. Nothing else of it is handled until then.
pub enum Awaits {
    /// Its next request, or its turn where there are more.
    Request,
    /// The end of a pause: then its request is looked at again.
    PauseEnd,
    /// A lane's answer to a run of calls. All of them count as ended: what depends on that was settled when they were admitted.
    Run(Running),
    /// That others had their turn: then the rest of the run goes to its lane.
    RunTurn(Running, Job),
    /// A lane's answer to a WATCH of these keys.
    Watch(Vec<(u64, Watched)>),
    /// A lane's answer to an EXEC.
    Exec(Box<Execution>),
    /// That others had their turn: then the next calls of the EXEC have theirs.
    ExecTurn(Box<Execution>),
    /// Something that a call of the EXEC waits for.
    ExecEvent(Box<Execution>, Wait),
    /// Something that a command on the loop waits for.
    Event(Wait),
}

/// A run that was admitted and is not answered yet.
pub struct Running {
    /// Where the calls are that are on their way.
    pub lane: LaneId,
    /// Calls of a run that was cut, behind those that are on their way.
    pub rest: Calls,
    pub riders: Riders,
}

impl Running {
    /// All of it is on this lane, and nothing rides.
    #[must_use]
    pub fn on(lane: LaneId) -> Running {
        Running { lane, rest: Calls::default(), riders: Riders::default() }
    }
}

/// A command that answers later: `poll` is asked at each wake-up and at the deadline.
pub struct Wait {
    pub until: Option<Instant>,
    /// The client counts as blocked: what it waits for may take long.
    pub is_blocking: bool,
    pub poll: Box<dyn FnMut(&mut SessionCall<'_>) -> Polled>,
}

#[expect(clippy::large_enum_variant, reason = "made once for a command, and moved into the session at once")]
pub enum Polled {
    /// The command's outcome; not another wait.
    Ready(Outcome),
    /// Ask again when woken, or then.
    Pending(Option<Instant>),
}

/// What a command on the loop can see and do.
pub struct SessionCall<'a> {
    pub session: &'a mut Session,
    pub worker: &'a mut WorkerState,
    pub effects: &'a mut Effects,
    /// True inside EXEC: what would change the transaction itself can't come here.
    pub is_executing: bool,
}

/// What a command on the loop comes to.
#[expect(clippy::large_enum_variant, reason = "made once for a command, and moved into the session at once")]
pub enum Outcome {
    Reply(Reply),
    /// The reply, but not before then: nothing that counts as being blocked.
    ReplyAt(Instant, Reply),
    /// No reply at all, whatever the reply mode is.
    Silent,
    /// The reply, then the end of the connection.
    Close(Reply),
    Submit(LaneId, Job, Awaits),
    /// An EXEC without anything for a lane.
    Execute(Box<Execution>),
    /// The reply, once something has happened.
    Wait(Wait),
}

impl Wait {
    /// Nothing but that time has passed.
    #[must_use]
    pub fn until(until: Instant, reply: Reply) -> Wait {
        let mut reply = Some(reply);
        let poll = move |_: &mut SessionCall<'_>| match clock::monotonic() >= until {
            true => Polled::Ready(reply.take().map_or(Outcome::Silent, Outcome::Reply)),
            false => Polled::Pending(Some(until)),
        };
        Wait { until: Some(until), is_blocking: false, poll: Box::new(poll) }
    }
}

impl Outcome {
    /// The error reply with this text.
    #[must_use]
    pub fn error(text: impl Into<std::borrow::Cow<'static, str>>) -> Outcome {
        Outcome::Reply(Reply::Error(text.into()))
    }
}

impl Session {
    /// The session of a new connection.
    #[must_use]
    pub fn new(peer: &Peer, now_ms: i64) -> Session {
        let client = Client {
            id: peer.id,
            number: peer.number,
            address: peer.address,
            local: peer.local,
            descriptor: peer.descriptor,
            created_ms: now_ms,
            active_ms: Cell::new(now_ms),
            database: Cell::new(0),
            version: Cell::new(Version::Resp2),
            name: RefCell::default(),
            library_name: RefCell::default(),
            library_version: RefCell::default(),
            last_command: Cell::new("NULL"),
            is_monitor: Cell::new(false),
            is_blocked: Cell::new(false),
            no_evict: Cell::new(false),
            no_touch: Cell::new(false),
            queued: Cell::new(-1),
            queued_bytes: Cell::new(0),
            watched: Cell::new(0),
            watched_bytes: Cell::new(0),
            kept: Cell::default(),
            bytes_kept: Cell::new(0),
            args_bytes: Cell::new(0),
        };
        Session {
            client: Rc::new(client),
            version: Version::Resp2,
            is_authenticated: false,
            login_failures: 0,
            reply_mode: ReplyMode::On,
            transaction: Transaction::default(),
            awaits: Awaits::Request,
        }
    }

    /// True while replies are dropped.
    #[must_use]
    pub fn is_muted(&self) -> bool {
        matches!(self.reply_mode, ReplyMode::Off | ReplyMode::Skip)
    }

    /// What is settled of a call that comes now.
    #[must_use]
    pub fn admits(&self, unit: Unit) -> Admitted {
        Admitted { database: self.database(), is_muted: self.is_muted(), unit }
    }

    /// After each command: a skip lasts for one.
    pub fn command_ended(&mut self) {
        self.reply_mode = match self.reply_mode {
            ReplyMode::SkipNext => ReplyMode::Skip,
            ReplyMode::Skip => ReplyMode::On,
            lasting => lasting,
        };
        // EXEC is shown as a part of its transaction to the end.
        if !self.transaction.is_open() {
            self.client.queued.set(-1);
            self.client.queued_bytes.set(0);
        }
    }

    #[must_use]
    pub fn database(&self) -> u8 {
        self.client.database.get()
    }

    /// As a new connection is: RESET, apart from what identifies the client.
    pub fn reset(&mut self, is_authenticated: bool) {
        self.transaction = Transaction::default();
        self.set_version(Version::Resp2);
        // A skip of this very reply stays one.
        if self.reply_mode != ReplyMode::Skip {
            self.reply_mode = ReplyMode::On;
        }
        self.is_authenticated = is_authenticated;
        let client = &self.client;
        client.database.set(0);
        client.name.borrow_mut().clear();
        client.is_monitor.set(false);
        client.no_evict.set(false);
        client.no_touch.set(false);
        client.queued.set(-1);
        client.queued_bytes.set(0);
        client.watched.set(0);
        client.watched_bytes.set(0);
    }

    pub fn set_version(&mut self, version: Version) {
        self.version = version;
        self.client.version.set(version);
    }
}

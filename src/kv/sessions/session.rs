//! kv's memory of one client, and what the commands that run on the loop are called with.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::kv::jobs::job::{Admitted, Calls, Job, Unit, Watched};
use crate::kv::sessions::pushes::HeldPushes;
use crate::kv::sessions::riders::Riders;
use crate::kv::sessions::subscriptions::Subscribed;
use crate::kv::sessions::tracking::ClientTracking;
use crate::kv::sessions::transaction::{Execution, Transaction};
use crate::kv::sessions::worker_state::WorkerState;
use crate::kv::shared::Shared;
use crate::kv::shared::runtime::Knob;
use crate::kv::users::{Rights, User};
use crate::resp::reply::{Reply, Version};
use crate::server::tls::Secured;
use crate::server::{Address, ConnectionId, Effects, Kept, LaneId, Peer};
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
    pub address: Address,
    pub local: Address,
    /// What TLS has to say of it; the name of its certificate, too.
    pub secured: Option<Secured>,
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
    pub user: RefCell<Arc<User>>,
    /// The same as a number, and as of which users.
    pub rights: Cell<Rights>,
    /// True exactly when the user may not do everything.
    pub is_restricted: Cell<bool>,
    /// The user is gone, or may not listen to this any more: it is closed once it has its answer.
    pub is_doomed: Cell<bool>,
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
    pub subscribed: RefCell<Subscribed>,
    /// True while a reply is being made, or waited for: pushes are held meanwhile.
    pub is_amid_reply: Cell<bool>,
    pub held: RefCell<HeldPushes>,
    pub tracking: ClientTracking,
    /// Since when a subscriber has as many unsent bytes as it may have for a while only; 0: it has not.
    pub behind_since_ms: Cell<i64>,
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
    /// The writer's answer to a call that may wait for keys, or the word that it was cancelled before.
    Waiting(Box<WaitingCall>),
}

/// A call that may wait for keys. Its arguments are on its lane.
pub struct WaitingCall {
    /// The number of its row.
    pub row: u16,
    /// By which it was admitted: whoever runs it, and when, looks again where the users have changed since.
    pub rights: Rights,
    /// Its reply is not sent.
    pub is_muted: bool,
    /// When its time is over.
    pub until: Option<Instant>,
    /// How many arguments it has: about as many keys the writer has it in its queues for.
    pub arguments: usize,
    /// As the slow log shows it, where that shows calls that take next to no time.
    pub slow: Option<Vec<Vec<u8>>>,
}

/// A run that was admitted and is not answered yet.
pub struct Running {
    /// Where the calls are that are on their way.
    pub lane: LaneId,
    /// By whose rights they were admitted.
    pub rights: Rights,
    /// Calls of a run that was cut, behind those that are on their way.
    pub rest: Calls,
    pub riders: Riders,
}

impl Running {
    /// All of it is on this lane, and nothing rides.
    #[must_use]
    pub fn on(lane: LaneId, rights: Rights) -> Running {
        Running { lane, rights, rest: Calls::default(), riders: Riders::default() }
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
    /// These bytes, whatever the reply mode is: pushes that confirm.
    Pushes(Vec<u8>),
    /// The reply, then the end of the connection.
    Close(Reply),
    Submit(LaneId, Job, Awaits),
    /// An EXEC without anything for a lane.
    Execute(Box<Execution>),
    /// The reply, once something has happened.
    Wait(Wait),
}

impl Client {
    /// True while it is subscribed to anything.
    #[must_use]
    pub fn is_subscriber(&self) -> bool {
        !self.subscribed.borrow().is_empty()
    }

    /// True while a RESP2 client may do nothing but change its subscriptions.
    #[must_use]
    pub fn only_listens(&self) -> bool {
        self.version.get() == Version::Resp2 && self.is_subscriber()
    }

    /// Over so many unsent bytes it is closed.
    #[must_use]
    pub fn output_bytes_max(&self, shared: &Shared) -> usize {
        let limit = shared.settings.output_bytes_max;
        match shared.runtime.read(Knob::SubscriberOutputBytesMax) {
            own if own > 0 && self.is_subscriber() => limit.min(usize::try_from(own).unwrap_or(usize::MAX)),
            _ => limit,
        }
    }
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
            address: peer.address.clone(),
            local: peer.local.clone(),
            secured: peer.secured.clone(),
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
            user: RefCell::new(User::nobody()),
            rights: Cell::default(),
            is_restricted: Cell::new(true),
            is_doomed: Cell::new(false),
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
            subscribed: RefCell::default(),
            is_amid_reply: Cell::new(false),
            held: RefCell::default(),
            tracking: ClientTracking::default(),
            behind_since_ms: Cell::new(0),
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
        self.client.tracking.command_ended(self.transaction.is_open());
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

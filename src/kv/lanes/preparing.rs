//! The thread beside the writer that prepares calls: each on a view of its own, from before which on its keys are watched. It knows no group.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use crate::kv::call::{Classes, Event};
use crate::kv::commands::table::{Either, Handler};
use crate::kv::errors::CommandError;
use crate::kv::jobs::job::{Calls, Presence, Watched};
use crate::kv::lanes::calls::write_call;
use crate::kv::lanes::file_watch;
use crate::kv::shared::Shared;
use crate::kv::users::User;
use crate::resp::{Version, encode};
use crate::storage::{Options, Order, Orders, Prepared, Preparer, StorageError};
use crate::sys::clock;

/// A call, and what its handler has to know.
pub(super) struct Request {
    /// One.
    pub(super) calls: Calls,
    pub(super) version: Version,
    pub(super) reply_bytes_max: usize,
    pub(super) user: Arc<User>,
    pub(super) wanted: Classes,
}

/// What came of a request.
pub(super) struct Outcome {
    pub(super) done: Attempt,
    /// The ids that the writer has given for it.
    pub(super) ids: Vec<i64>,
}

pub(super) enum Attempt {
    Prepared(Box<PreparedCall>),
    /// Another one may come further.
    ViewLost,
    /// It has to run in a group, to fail there for what it fails of, or since this can't be prepared.
    Failed,
}

pub(super) struct PreparedCall {
    pub(super) change: Prepared,
    /// The call's keys, before any of them was looked at.
    watched: Vec<Watched>,
    pub(super) reply: Vec<u8>,
    pub(super) told: Vec<Event>,
    pub(super) duration_us: u64,
}

impl PreparedCall {
    /// Whether it holds for a group that begins now.
    pub(super) fn holds(&self, shared: &Shared, now_ms: i64) -> bool {
        self.watched.iter().all(|watched| watched.is_unchanged(&shared.versions, now_ms))
    }
}

/// The thread, as the writer has it. One request at a time.
pub(super) struct Bench {
    requests: Option<Sender<Request>>,
    outcomes: Receiver<Outcome>,
    pub(super) orders: Option<Orders>,
    must_end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bench {
    /// # Errors
    /// There is no thread.
    pub(super) fn start(shared: &Arc<Shared>, options: &Options) -> io::Result<Bench> {
        let (order, orders) = Orders::new();
        let (requests, asked) = bounded(1);
        let (done, outcomes) = bounded(1);
        let must_end = Arc::new(AtomicBool::new(false));
        let opening =
            Opening { shared: Arc::clone(shared), options: options.clone(), order, must_end: Arc::clone(&must_end) };
        let thread = std::thread::Builder::new().name("prepare".into()).spawn(move || opening.serve(&asked, &done))?;
        Ok(Bench { requests: Some(requests), outcomes, orders: Some(orders), must_end, thread: Some(thread) })
    }

    /// False: the thread is gone.
    pub(super) fn ask(&self, request: Request) -> bool {
        self.requests.as_ref().is_some_and(|requests| requests.send(request).is_ok())
    }

    /// What came of the request, if it has come. The thread may be gone, with it.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        match self.outcomes.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Outcome { done: Attempt::Failed, ids: Vec::new() }),
        }
    }
}

impl Drop for Bench {
    /// What it is at is not needed any more.
    fn drop(&mut self) {
        self.must_end.store(true, Ordering::Relaxed);
        drop((self.requests.take(), self.orders.take()));
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that prepares calls has panicked");
        }
    }
}

/// What the thread begins with.
struct Opening {
    shared: Arc<Shared>,
    options: Options,
    order: Sender<Order>,
    must_end: Arc<AtomicBool>,
}

impl Opening {
    fn open(&self) -> Result<Preparer, StorageError> {
        if file_watch::are_lost(&self.shared) {
            return Err(StorageError::FilesLost);
        }
        let preparer = Preparer::open(&self.options, self.shared.memory, self.order.clone())?;
        let must_end = Arc::clone(&self.must_end);
        preparer.keyspace.limit_reads(move || must_end.load(Ordering::Relaxed));
        Ok(preparer)
    }

    /// The thread's body.
    fn serve(self, asked: &Receiver<Request>, done: &Sender<Outcome>) {
        let mut preparer = None;
        while let Ok(request) = asked.recv() {
            if done.send(self.outcome(&mut preparer, &request)).is_err() {
                return;
            }
        }
    }

    /// The preparer is opened for the first request, and after a panic.
    fn outcome(&self, opened: &mut Option<Preparer>, request: &Request) -> Outcome {
        let preparer = match opened {
            Some(preparer) => preparer,
            None => match self.open() {
                Ok(preparer) => opened.insert(preparer),
                Err(error) => {
                    tracing::warn!(%error, "the data can't be opened to prepare a call");
                    return Outcome { done: Attempt::Failed, ids: Vec::new() };
                }
            },
        };
        let attempt = catch_unwind(AssertUnwindSafe(|| attempt(preparer, &self.shared, request)));
        let ids = preparer.ids();
        let done = attempt.unwrap_or_else(|_| {
            tracing::error!("a handler panicked while its call was prepared");
            *opened = None;
            Attempt::Failed
        });
        Outcome { done, ids }
    }
}

fn attempt(preparer: &mut Preparer, shared: &Shared, request: &Request) -> Attempt {
    let error = match prepare(preparer, shared, request) {
        Ok(Some(prepared)) => return Attempt::Prepared(Box::new(prepared)),
        Ok(None) => None,
        Err(error) => Some(error),
    };
    if let Err(error) = preparer.abandon() {
        tracing::warn!(%error, "the view of a call that was prepared can't be let go of");
    }
    tracing::debug!(?error, "a call can't be prepared");
    match error {
        Some(CommandError::Storage(StorageError::ViewLost)) => Attempt::ViewLost,
        _ => Attempt::Failed,
    }
}

fn prepare(preparer: &mut Preparer, shared: &Shared, request: &Request) -> Result<Option<PreparedCall>, CommandError> {
    let Some((call, _)) = request.calls.at(0) else { return Ok(None) };
    let (Handler::Write(handler) | Handler::Either(Either { write: handler, .. })) = call.command().handler else {
        return Ok(None);
    };
    let begun = clock::monotonic();
    let keys = call.command().keys.positions(&call.args);
    let versions = &shared.versions;
    // Before the view begins.
    let watch = |key: &[u8]| Watched::now(versions, call.database, versions.hash_of(call.database, key));
    let mut watched: Vec<Watched> = keys.iter().map(|key| watch(call.args[key.index])).collect();
    preparer.begin(shared.clock.now_ms())?;
    let keyspace = &mut preparer.keyspace;
    keyspace.set_thresholds(shared.runtime.thresholds());
    keyspace.select(call.database);
    for (watched, key) in watched.iter_mut().zip(&keys) {
        watched.found = match keyspace.entry(call.args[key.index])? {
            None => Presence::Absent,
            Some(entry) => entry.expires_at_ms.map_or(Presence::Lasting, Presence::Until),
        };
    }
    let Request { version, reply_bytes_max, user, wanted, .. } = request;
    let mut write = write_call(keyspace, &call.args, user, *version, *reply_bytes_max, *wanted);
    let result = handler(&mut write)?;
    let told = std::mem::take(&mut write.events).told();
    let mut reply = Vec::new();
    encode::encode(&result, *version, &mut reply);
    let Some(change) = preparer.finish()? else { return Ok(None) };
    let is_watched = |key: &[u8]| keys.iter().any(|watched| call.args[watched.index] == key);
    if !change.keys().all(|(database, key)| database == call.database && is_watched(key)) {
        return Ok(None);
    }
    let duration_us = u64::try_from(clock::monotonic().duration_since(begun).as_micros()).unwrap_or(u64::MAX);
    Ok(Some(PreparedCall { change, watched, reply, told, duration_us }))
}

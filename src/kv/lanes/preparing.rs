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
use crate::kv::jobs::job::{Call, Calls, Presence, Watched};
use crate::kv::lanes::calls::write_call;
use crate::kv::lanes::file_watch;
use crate::kv::shared::Shared;
use crate::kv::users::User;
use crate::resp::{Version, encode};
use crate::storage::{Keyspace, Options, Order, Orders, Prepared, Preparer, StorageError};
use crate::sys::{clock, thread};

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
    /// The view was lost, or keys have changed: another one may come further.
    Overtaken,
    /// There is no room on the disk.
    Full,
    /// It has to run in a group, to fail there for what it fails of, or since this can't be prepared.
    Failed,
}

pub(super) struct PreparedCall {
    pub(super) change: Prepared,
    watched: WatchedKeys,
    pub(super) reply: Vec<u8>,
    pub(super) told: Vec<Event>,
    pub(super) duration_us: u64,
}

/// A call's keys, by their places among its arguments, from before any of them was looked at.
struct WatchedKeys(Vec<(usize, Watched)>);

impl PreparedCall {
    /// Whether it holds for a group that begins now and has changed nothing yet.
    pub(super) fn holds(&self, shared: &Shared, now_ms: i64) -> bool {
        self.watched.are_unchanged(shared, now_ms)
    }
}

impl WatchedKeys {
    /// Before the view begins.
    fn of(call: &Call<'_>, shared: &Shared) -> WatchedKeys {
        let versions = &shared.versions;
        let watch = |key: &[u8]| Watched::now(versions, call.database, versions.hash_of(call.database, key));
        let keys = call.command().keys.positions(&call.args);
        WatchedKeys(keys.iter().map(|key| (key.index, watch(call.args[key.index]))).collect())
    }

    /// Once there is a view: which are there, and until when.
    fn look(&mut self, call: &Call<'_>, keyspace: &Keyspace) -> Result<(), StorageError> {
        for (index, watched) in &mut self.0 {
            watched.found = Presence::of(keyspace.entry(call.args[*index])?.as_ref());
        }
        Ok(())
    }

    fn has(&self, call: &Call<'_>, database: u8, key: &[u8]) -> bool {
        database == call.database && self.0.iter().any(|(index, _)| call.args[*index] == key)
    }

    fn are_unchanged(&self, shared: &Shared, now_ms: i64) -> bool {
        // Also a key that is not there: after a flush the database lies elsewhere.
        let is_flushed = |watched: &Watched| shared.versions.of_database(watched.database).0 != watched.flushes;
        self.0.iter().all(|(_, watched)| watched.is_unchanged(&shared.versions, now_ms) && !is_flushed(watched))
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
        let thread = thread::spawn("prepare", move || opening.serve(&asked, &done))?;
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
        let Some((call, _)) = request.calls.at(0) else { return Outcome { done: Attempt::Failed, ids: Vec::new() } };
        let shared = &self.shared;
        let mut watched = WatchedKeys::of(&call, shared);
        let prepared = catch_unwind(AssertUnwindSafe(|| prepare(preparer, shared, request, &call, &mut watched)));
        let ids = preparer.ids();
        let done = match prepared {
            Ok(Ok(Some(made))) => {
                let Made { change, reply, told, duration_us } = made;
                let prepared = PreparedCall { change, watched, reply, told, duration_us };
                return Outcome { done: Attempt::Prepared(Box::new(prepared)), ids };
            }
            // What is read in pieces may make no sense where it has changed.
            _ if !watched.are_unchanged(shared, shared.clock.now_ms()) => Attempt::Overtaken,
            Ok(Err(CommandError::Storage(StorageError::ViewLost))) => Attempt::Overtaken,
            Ok(Err(CommandError::Storage(StorageError::Full))) => Attempt::Full,
            Ok(Ok(None) | Err(_)) | Err(_) => Attempt::Failed,
        };
        if let Ok(unprepared) = prepared {
            tracing::debug!(error = ?unprepared.err(), "a call can't be prepared");
        } else {
            tracing::error!("a handler panicked while its call was prepared");
            *opened = None;
        }
        if let Some(Err(error)) = opened.as_mut().map(Preparer::abandon) {
            tracing::warn!(%error, "the view of a call that was prepared can't be let go of");
        }
        Outcome { done, ids }
    }
}

/// What a handler has made of its call.
struct Made {
    change: Prepared,
    reply: Vec<u8>,
    told: Vec<Event>,
    duration_us: u64,
}

fn prepare(
    preparer: &mut Preparer,
    shared: &Shared,
    request: &Request,
    call: &Call<'_>,
    watched: &mut WatchedKeys,
) -> Result<Option<Made>, CommandError> {
    let (Handler::Write(handler) | Handler::Either(Either { write: handler, .. })) = call.command().handler else {
        return Ok(None);
    };
    let begun = clock::monotonic();
    preparer.begin(shared.clock.now_ms())?;
    let keyspace = &mut preparer.keyspace;
    keyspace.set_thresholds(shared.runtime.thresholds());
    keyspace.select(call.database);
    watched.look(call, keyspace)?;
    let Request { version, reply_bytes_max, user, wanted, .. } = request;
    let mut write = write_call(keyspace, &call.args, user, *version, *reply_bytes_max, *wanted);
    let result = handler(&mut write)?;
    let told = std::mem::take(&mut write.events).told();
    let mut reply = Vec::new();
    encode::encode(&result, *version, &mut reply);
    let Some(change) = preparer.finish()? else { return Ok(None) };
    if !change.keys().all(|(database, key)| watched.has(call, database, key)) {
        return Ok(None);
    }
    let duration_us = u64::try_from(clock::monotonic().duration_since(begun).as_micros()).unwrap_or(u64::MAX);
    Ok(Some(Made { change, reply, told, duration_us }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::application::share;
    use crate::kv::commands::table;
    use crate::kv::fixture::settings;
    use crate::kv::jobs::job::Admitted;
    use crate::kv::shared::versions::Marks;
    use crate::storage::Change;

    /// A change of each kind, and whether a copy that was prepared before holds after it.
    #[test]
    fn what_was_prepared_holds_until_one_of_its_keys_or_its_database_changes() {
        let data = tempfile::tempdir().unwrap();
        let shared = share(settings(data.path())).unwrap();
        let mut calls = Calls::default();
        let copy = table::lookup(b"copy").unwrap();
        calls.push(table::number(copy), Admitted::to(3), &[b"copy", b"from", b"to"]);
        let (call, _) = calls.at(0).unwrap();
        let key = |database, key| Change::Key { database, key };
        for (change, holds) in [
            (key(3, &b"from"[..]), false),
            (key(3, b"to"), false),
            (key(3, b"other"), true),
            (key(2, b"from"), true),
            // Though neither is there: the database lies elsewhere then.
            (Change::Flush { databases: 1 << 3 }, false),
            (Change::Flush { databases: 1 << 2 }, true),
            (Change::Swap { a: 0, b: 3 }, false),
            (Change::Swap { a: 0, b: 1 }, true),
        ] {
            let watched = WatchedKeys::of(&call, &shared);
            assert!(watched.are_unchanged(&shared, 0));
            let mut marks = Marks::of(shared.versions.clone());
            match change {
                Change::Key { database, key } | Change::Quiet { database, key } => marks.mark(database, key),
                Change::Flush { databases } => marks.mark_flush(databases),
                Change::Swap { a, b } => marks.mark_swap(a, b),
            }
            assert_eq!(watched.are_unchanged(&shared, 0), holds, "amid {change:?}");
            marks.unmark();
            assert_eq!(watched.are_unchanged(&shared, 0), holds, "after {change:?}");
        }
    }
}

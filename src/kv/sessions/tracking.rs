//! Client-side caching (CLIENT TRACKING): which clients of this worker are told of keys that they have read or whose prefix they named, and
//! how they are told. A key is noted before it is read; that it has changed comes from the writer, for all keys where its word may be lost.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;

use crate::kv::metrics::statistics::Counted;
use crate::kv::sessions::pushes;
use crate::kv::sessions::questions::{self, Notice};
use crate::kv::sessions::scatter_gather::{self, MessageKind};
use crate::kv::sessions::session::Client;
use crate::kv::sessions::tracked_keys::{Prefixes, TrackedKeys};
use crate::kv::sessions::wire;
use crate::kv::sessions::worker_state::WorkerState;
use crate::kv::shared::broken::{self, Variant};
use crate::kv::shared::runtime::Knob;
use crate::kv::shared::settings::Settings;
use crate::resp::encode;
use crate::resp::reply::Version;
use crate::server::{ConnectionId, Effects, Slot};
use crate::sys::atomic::{Ordering, fence};

/// What a client has asked for.
#[derive(Debug, Default)]
pub struct Tracked {
    pub mode: Mode,
    /// It is not told of its own changes.
    pub no_loop: bool,
    /// Another client is told in its place.
    pub redirect: Option<Redirect>,
    pub prefixes: BTreeSet<Box<[u8]>>,
    /// It was to be told by a client that is gone.
    pub is_broken: Cell<bool>,
}

/// Of which keys a client is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Those that it reads.
    #[default]
    Read,
    /// Those that it reads right behind CLIENT CACHING YES.
    OptIn,
    /// Those that it reads, but not right behind CLIENT CACHING NO.
    OptOut,
    /// Those with its prefixes.
    Broadcast,
}

/// The client that is told, and on which worker it is.
#[derive(Debug)]
pub struct Redirect {
    pub number: u64,
    pub slot: Slot,
    /// It is on another worker, which has said that it is gone.
    pub is_gone: Cell<bool>,
}

/// Whether CLIENT CACHING was said of the command at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Caching {
    #[default]
    NotSaid,
    /// By the command at hand, of the next one.
    JustSaid,
    Said,
}

/// What a client's session has of it.
#[derive(Default)]
pub struct ClientTracking {
    pub tracked: RefCell<Option<Box<Tracked>>>,
    pub caching: Cell<Caching>,
    /// A client of another worker has its invalidations sent here.
    pub is_redirect_target: Cell<bool>,
}

impl ClientTracking {
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.tracked.borrow().is_some()
    }

    /// True when the client is to be told of what it reads; `is_said`: by CLIENT CACHING.
    #[must_use]
    pub fn tracks_reads(&self, is_said: bool) -> bool {
        self.tracked.borrow().as_ref().is_some_and(|tracked| match tracked.mode {
            Mode::Read => true,
            Mode::OptIn => is_said,
            Mode::OptOut => !is_said,
            Mode::Broadcast => false,
        })
    }

    /// It was to be told by a client that is gone.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.tracked.borrow().as_ref().is_some_and(|tracked| tracked.is_broken.get())
    }

    #[must_use]
    pub fn is_broadcast(&self) -> bool {
        self.tracked.borrow().as_ref().is_some_and(|tracked| tracked.mode == Mode::Broadcast)
    }

    /// As the number of the client that is told in its place; 0: it is told itself, -1: it tracks nothing.
    #[must_use]
    pub fn redirect(&self) -> i64 {
        match &*self.tracked.borrow() {
            None => -1,
            Some(tracked) => tracked.redirect.as_ref().map_or(0, |redirect| redirect.number.cast_signed()),
        }
    }

    /// The memory that it takes.
    #[must_use]
    pub fn bytes_kept(&self) -> usize {
        const PREFIX_BYTES: usize = 160;
        self.tracked.borrow().as_ref().map_or(0, |tracked| {
            size_of::<Tracked>() + tracked.prefixes.iter().map(|prefix| PREFIX_BYTES + prefix.len()).sum::<usize>()
        })
    }

    /// What CLIENT CACHING said holds beyond other commands of the family CLIENT, run or refused.
    pub fn command_begins(&self, is_client_command: bool) {
        if is_client_command && self.caching.get() == Caching::Said {
            self.caching.set(Caching::JustSaid);
        }
    }

    /// After each command of the client.
    pub fn command_ended(&self, is_in_transaction: bool) {
        match self.caching.get() {
            Caching::NotSaid => {}
            Caching::JustSaid => self.caching.set(Caching::Said),
            Caching::Said if is_in_transaction => {}
            Caching::Said => self.caching.set(Caching::NotSaid),
        }
    }
}

/// Keys that have changed, with who changed them last.
type ChangedKeys = BTreeMap<Vec<u8>, Option<ConnectionId>>;

/// What a worker keeps of it.
#[derive(Default)]
pub struct Tracking {
    keys: TrackedKeys,
    prefixes: Prefixes,
    /// The numbers of the clients that track.
    clients: BTreeSet<u64>,
    /// Those that have read more keys at once than are noted: the next change of any key is a change of all of theirs.
    of_all_keys: BTreeSet<u64>,
    /// By prefix, until its clients are told.
    broadcast: BTreeMap<Rc<[u8]>, ChangedKeys>,
    /// Workers that a message was lost to: clients there are to be told that all has changed.
    owed: BTreeSet<usize>,
    /// With the broken variant: keys that were read, by whom, and are noted when the reply is there.
    late: Vec<(u64, Vec<u8>)>,
}

/// Keys of one call, or of one transaction, that are noted one by one.
pub const NOTED_AT_ONCE_MAX: usize = 10_000;
/// Prefixes of one client: they are compared with each other.
pub const PREFIXES_MAX: usize = 1024;
/// Keys that are given up at once where there are too many: after a call, and at each tick.
const GIVEN_UP_MAX: usize = 100;
const GIVEN_UP_PER_TICK_MAX: usize = 10_000;
/// What the keys of all workers may take: a part of the memory, within bounds.
const TABLE_SHARE: u64 = 16;
const TABLE_BYTES_MIN: u64 = 8 << 20;
const TABLE_BYTES_MAX: u64 = 256 << 20;

/// The channel on which a client of RESP2 hears what is redirected to it.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// A worker starts: what the one before it in its place had counted is over.
pub fn start(worker: &WorkerState) {
    publish(worker);
}

/// The client begins to track, or tracks otherwise from now on.
pub fn begin(worker: &mut WorkerState, client: &Client, mut asked: Tracked) {
    let mut tracked = client.tracking.tracked.borrow_mut();
    for prefix in &asked.prefixes {
        worker.tracking.prefixes.add(prefix, client.number);
    }
    if let Some(before) = tracked.take() {
        asked.prefixes.extend(before.prefixes);
    }
    *tracked = Some(Box::new(asked));
    worker.tracking.clients.insert(client.number);
    drop(tracked);
    publish(worker);
    // The writer sees it before this client reads anything.
    fence(Ordering::SeqCst);
}

/// It has begun within an EXEC, which has read its keys before any of its calls ran here: what it has read may have changed since.
pub fn begun_late(worker: &WorkerState, client: &Client, effects: &mut Effects) {
    tell(worker, client, None, effects);
}

/// The client tracks nothing any more. That keys were noted for it is forgotten with the keys.
pub fn end(worker: &mut WorkerState, client: &Client) {
    let Some(tracked) = client.tracking.tracked.take() else { return };
    tracked.prefixes.iter().for_each(|prefix| worker.tracking.prefixes.remove(prefix, client.number));
    client.tracking.caching.set(Caching::NotSaid);
    worker.tracking.clients.remove(&client.number);
    worker.tracking.of_all_keys.remove(&client.number);
    if worker.tracking.clients.is_empty() {
        worker.tracking.keys.clear();
    }
    publish(worker);
}

/// The client is gone.
pub fn forget(worker: &mut WorkerState, client: &Client, effects: &mut Effects) {
    end(worker, client);
    if client.tracking.is_redirect_target.get() {
        questions::tell(worker, &Notice::RedirectGone(client.number), effects);
    }
}

/// A client that is told of what it reads reads these keys now.
pub fn note<'k>(
    worker: &mut WorkerState,
    client: &Client,
    keys: impl ExactSizeIterator<Item = &'k [u8]>,
    effects: &mut Effects,
) {
    if keys.len() > NOTED_AT_ONCE_MAX {
        return note_all(worker, client);
    }
    for key in keys {
        if broken::is(Variant::TrackedAfterReading) {
            worker.tracking.late.push((client.number, key.to_vec()));
        } else {
            worker.tracking.keys.add(key, client.number);
        }
    }
    publish(worker);
    give_up(worker, GIVEN_UP_MAX, effects);
}

/// It reads more keys than are noted.
pub fn note_all(worker: &mut WorkerState, client: &Client) {
    worker.tracking.of_all_keys.insert(client.number);
}

/// With the broken variant: the client has the replies to what it has read.
pub fn note_late(worker: &mut WorkerState, client: &Client) {
    let number = client.number;
    for (_, key) in worker.tracking.late.extract_if(.., |(reader, _)| *reader == number) {
        worker.tracking.keys.add(&key, number);
    }
}

/// A key has changed, or has ended; `by`: a call of that client of this worker. What those hear who named a prefix waits for `tell_prefixes`.
pub fn changed(worker: &mut WorkerState, key: &[u8], by: Option<ConnectionId>, effects: &mut Effects) {
    if worker.tracking.clients.is_empty() {
        return;
    }
    let tracking = &mut worker.tracking;
    for prefix in tracking.prefixes.of(key) {
        tracking.broadcast.entry(Rc::clone(prefix)).or_default().insert(key.to_vec(), by);
    }
    for number in tracking.keys.take(key) {
        let Some(client) = tracking_reader(worker, number) else { continue };
        match is_own(&client, by) {
            // It has its own value at hand, and is still to hear of others'.
            true => worker.tracking.keys.add(key, number),
            false => tell(worker, &client, Some(&[key]), effects),
        }
    }
    for number in std::mem::take(&mut worker.tracking.of_all_keys) {
        match tracking_reader(worker, number) {
            Some(client) if is_own(&client, by) => _ = worker.tracking.of_all_keys.insert(number),
            Some(client) => tell(worker, &client, None, effects),
            None => {}
        }
    }
}

/// Behind the changes of one notice: those who named prefixes hear of all of them together.
pub fn tell_prefixes(worker: &mut WorkerState, effects: &mut Effects) {
    for (prefix, keys) in std::mem::take(&mut worker.tracking.broadcast) {
        for client in clients(worker, worker.tracking.prefixes.clients(&prefix)) {
            let is_wanted = |by: &Option<ConnectionId>| !is_own(&client, *by);
            let keys: Vec<&[u8]> = keys.iter().filter(|(_, by)| is_wanted(by)).map(|(key, _)| &key[..]).collect();
            if !keys.is_empty() {
                tell(worker, &client, Some(&keys), effects);
            }
        }
    }
    publish(worker);
}

/// Any key may have changed.
pub fn all_changed(worker: &mut WorkerState, effects: &mut Effects) {
    tell_prefixes(worker, effects);
    worker.tracking.keys.clear();
    worker.tracking.of_all_keys.clear();
    for client in clients(worker, worker.tracking.clients.iter().copied()) {
        tell(worker, &client, None, effects);
    }
    publish(worker);
}

/// Another worker's client is to be told by this one's: of these keys, or of all.
pub fn hear_redirected(worker: &mut WorkerState, target: u64, keys: Option<&[Vec<u8>]>, effects: &mut Effects) {
    let Some(client) = worker.clients.get(&target).map(Rc::clone) else {
        return questions::tell(worker, &Notice::Undelivered(target), effects);
    };
    let keys: Option<Vec<&[u8]>> = keys.map(|keys| keys.iter().map(|key| &key[..]).collect());
    give_redirected(worker, &client, keys.as_deref(), effects);
}

/// A client that others' invalidations were sent to is gone.
pub fn redirect_gone(worker: &WorkerState, target: u64) {
    each_redirect(worker, |redirect| {
        if redirect.number == target {
            redirect.is_gone.set(true);
        }
    });
}

/// So are those of a worker, perhaps with what they were to be sent: who has them told in its place hears at once that it was told nothing.
pub fn worker_gone(worker: &mut WorkerState, slot: Slot, effects: &mut Effects) {
    worker.tracking.owed.remove(&slot.0);
    tell_broken(worker, |redirect| redirect.slot == slot, effects);
}

/// A change was to be told to a client that was gone by then.
pub fn undelivered(worker: &WorkerState, target: u64, effects: &mut Effects) {
    tell_broken(worker, |redirect| redirect.number == target, effects);
}

fn tell_broken(worker: &WorkerState, is_meant: impl Fn(&Redirect) -> bool, effects: &mut Effects) {
    for client in clients(worker, worker.tracking.clients.iter().copied()) {
        let tracked = client.tracking.tracked.borrow();
        if let Some(tracked) = tracked.as_deref()
            && let Some(redirect) = tracked.redirect.as_ref().filter(|redirect| is_meant(redirect))
        {
            redirect.is_gone.set(true);
            push_broken(worker, &client, tracked, redirect, effects);
        }
    }
}

/// A message to that worker is lost. Whom it may have been for is looked for at the next tick.
pub fn unsent(worker: &mut WorkerState, to: Slot) {
    worker.tracking.owed.insert(to.0);
}

/// About twenty times a second: what there is too much of is given up, and what was lost is made good.
pub fn look_around(worker: &mut WorkerState, effects: &mut Effects) {
    let owed = std::mem::take(&mut worker.tracking.owed);
    if worker.tracking.clients.is_empty() && worker.tracking.keys.is_empty() {
        return;
    }
    if !owed.is_empty() {
        for client in clients(worker, worker.tracking.clients.iter().copied()) {
            let is_owed = |redirect: &Redirect| owed.contains(&redirect.slot.0);
            let is_owed = client
                .tracking
                .tracked
                .borrow()
                .as_ref()
                .is_some_and(|tracked| tracked.redirect.as_ref().is_some_and(is_owed));
            if is_owed {
                tell(worker, &client, None, effects);
            }
        }
    }
    give_up(worker, GIVEN_UP_PER_TICK_MAX, effects);
}

/// Where there are too many keys, chance chooses which are given up: for who has read them they have changed.
fn give_up(worker: &mut WorkerState, count: usize, effects: &mut Effects) {
    for _ in 0..count {
        if !has_too_many(worker) {
            break;
        }
        let Some(key) = worker.tracking.keys.any() else { break };
        for number in worker.tracking.keys.take(&key) {
            if let Some(client) = tracking_reader(worker, number) {
                tell(worker, &client, Some(&[&key]), effects);
            }
        }
        publish(worker);
    }
}

/// All workers together may have so many; a worker gives up only what is beyond its own part.
fn has_too_many(worker: &WorkerState) -> bool {
    let workers = worker.shared.settings.workers.max(1) as u64;
    let (own, keys_max) = (worker.tracking.keys.len() as u64, worker.shared.runtime.read(Knob::TrackingKeysMax));
    let is_over = keys_max > 0 && own > keys_max / workers && worker.totals.sum(Counted::TrackedKeys) > keys_max;
    is_over || worker.tracking.keys.bytes() as u64 > table_bytes_max(&worker.shared.settings) / workers
}

fn table_bytes_max(settings: &Settings) -> u64 {
    (settings.memory_bytes / TABLE_SHARE).clamp(TABLE_BYTES_MIN, TABLE_BYTES_MAX)
}

/// The client of this number, if it is there and is told of what it reads.
fn tracking_reader(worker: &WorkerState, number: u64) -> Option<Rc<Client>> {
    let client = worker.clients.get(&number)?;
    let is_reader = client.tracking.tracked.borrow().as_ref().is_some_and(|tracked| tracked.mode != Mode::Broadcast);
    is_reader.then(|| Rc::clone(client))
}

fn clients(worker: &WorkerState, numbers: impl Iterator<Item = u64>) -> Vec<Rc<Client>> {
    numbers.filter_map(|number| worker.clients.get(&number)).map(Rc::clone).collect()
}

fn each_redirect(worker: &WorkerState, mut visit: impl FnMut(&Redirect)) {
    for number in &worker.tracking.clients {
        if let Some(client) = worker.clients.get(number)
            && let Some(tracked) = &*client.tracking.tracked.borrow()
            && let Some(redirect) = &tracked.redirect
        {
            visit(redirect);
        }
    }
}

/// True when it was the client's own change, and it does not want to hear of those.
fn is_own(client: &Client, by: Option<ConnectionId>) -> bool {
    by == Some(client.id) && client.tracking.tracked.borrow().as_ref().is_some_and(|tracked| tracked.no_loop)
}

/// Tells a client, or who is told in its place, that these keys have changed; `None`: all.
fn tell(worker: &WorkerState, client: &Client, keys: Option<&[&[u8]]>, effects: &mut Effects) {
    let tracked = client.tracking.tracked.borrow();
    let Some(tracked) = tracked.as_ref() else { return };
    let Some(redirect) = &tracked.redirect else {
        if client.version.get() == Version::Resp3 {
            pushes::push(worker, client, &invalidation(keys, Version::Resp3), effects);
        }
        return;
    };
    if redirect.slot == worker.context.slot {
        if let Some(target) = worker.clients.get(&redirect.number) {
            return give_redirected(worker, target, keys, effects);
        }
    } else if !redirect.is_gone.get() {
        let keys = keys.map(|keys| keys.iter().map(|key| key.to_vec()).collect());
        let notice = wire::encode(&Notice::Invalidated { target: redirect.number, keys });
        return effects.send(redirect.slot, scatter_gather::message(MessageKind::Notice, 0, &notice));
    }
    push_broken(worker, client, tracked, redirect, effects);
}

fn push_broken(worker: &WorkerState, client: &Client, tracked: &Tracked, redirect: &Redirect, effects: &mut Effects) {
    tracked.is_broken.set(true);
    if client.version.get() == Version::Resp3 {
        let mut out = Vec::new();
        encode::push_header(2, Version::Resp3, &mut out);
        encode::bulk(b"tracking-redir-broken", &mut out);
        encode::integer(redirect.number.cast_signed(), &mut out);
        pushes::push(worker, client, &out.into(), effects);
    }
}

/// In RESP2 it comes as a message of a channel, to who listens to any.
fn give_redirected(worker: &WorkerState, target: &Client, keys: Option<&[&[u8]]>, effects: &mut Effects) {
    let version = target.version.get();
    if version == Version::Resp3 || !target.subscribed.borrow().is_empty() {
        pushes::push(worker, target, &invalidation(keys, version), effects);
    }
}

fn invalidation(keys: Option<&[&[u8]]>, version: Version) -> Bytes {
    let mut out = Vec::new();
    match version {
        Version::Resp3 => {
            encode::push_header(2, version, &mut out);
            encode::bulk(b"invalidate", &mut out);
        }
        Version::Resp2 => {
            encode::push_header(3, version, &mut out);
            encode::bulk(b"message", &mut out);
            encode::bulk(CHANNEL, &mut out);
        }
    }
    match keys {
        Some(keys) => {
            encode::array_header(keys.len(), &mut out);
            keys.iter().for_each(|key| encode::bulk(key, &mut out));
        }
        None => encode::null(version, &mut out),
    }
    out.into()
}

/// As INFO shows it, and as the writer sees whether anybody tracks.
fn publish(worker: &WorkerState) {
    let tracking = &worker.tracking;
    for (which, count) in [
        (Counted::TrackingClients, tracking.clients.len()),
        (Counted::TrackedKeys, tracking.keys.len()),
        (Counted::TrackedItems, tracking.keys.items()),
        (Counted::TrackedPrefixes, tracking.prefixes.len()),
    ] {
        worker.statistics.set(which, count as u64);
    }
}

//! Messages of channels over all workers: what a worker's clients are subscribed to stands in shared memory before they are told so, who
//! publishes sends the message to the workers where somebody wants it, and a worker that has missed one closes its subscribers.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::kv::call::{Classes, Notifications};
use crate::kv::errors::{self, CommandError};
use crate::kv::metrics::statistics::Counted;
use crate::kv::sessions::on_their_way::OnTheirWay;
use crate::kv::sessions::pattern_index::PatternIndex;
use crate::kv::sessions::scatter_gather::{self, MessageKind};
use crate::kv::sessions::session::Client;
use crate::kv::sessions::subscriptions::{ChannelKind, Count, Subscribable, Subscribed, deliver};
use crate::kv::sessions::worker_state::WorkerState;
use crate::kv::shared::Shared;
use crate::kv::shared::message_numbers::MessageNumbers;
use crate::kv::shared::pattern_lists::OwnPatterns;
use crate::kv::shared::runtime::Knob;
use crate::server::{Effects, LogLimit, Slot, WorkerContext};

/// What a worker keeps for that.
pub struct Publishing {
    own_patterns: OwnPatterns,
    /// Followed whenever it is needed, also by who only looks.
    index: RefCell<PatternIndex>,
    /// By worker: the number of the last message that came from there, and whether one to it is lost, of which it is to be told.
    others: Vec<Other>,
    on_their_way: OnTheirWay,
    /// The sum of all workers' changes when the channels were last counted.
    counted_at: u64,
}

#[derive(Clone, Copy)]
struct Other {
    heard: u64,
    is_owed: bool,
}

impl Publishing {
    /// Before the worker has clients.
    #[must_use]
    pub fn begin(context: &WorkerContext, shared: &Arc<Shared>) -> Publishing {
        let (own, scoreboard) = (context.slot, context.scoreboard);
        shared.channels.begin(own, context.incarnation);
        shared.message_numbers.begin(own);
        let heard = |slot| shared.message_numbers.last(slot, own);
        Publishing {
            own_patterns: shared.patterns.begin(own),
            index: RefCell::new(PatternIndex::of(scoreboard.workers().filter(|slot| *slot != own))),
            others: scoreboard.workers().map(|slot| Other { heard: heard(slot), is_owed: false }).collect(),
            on_their_way: OnTheirWay::default(),
            counted_at: 0,
        }
    }

    #[must_use]
    pub fn on_their_way(&self) -> &OnTheirWay {
        &self.on_their_way
    }
}

/// Subscribes a client. Other workers know it when this returns.
///
/// # Errors
/// There is no room, or the pattern is too long: nothing is changed.
pub fn subscribe(
    worker: &mut WorkerState,
    client: &Rc<Client>,
    what: Subscribable,
    name: &[u8],
) -> Result<(), CommandError> {
    let Some(count) = worker.subscriptions.add(client, what, name)? else { return Ok(()) };
    if publish_count(worker, what, name, count).is_err() {
        worker.subscriptions.remove(client, what, name);
        return Err(errors::NO_ROOM_TO_SUBSCRIBE.into());
    }
    // From here on all is sent that is published. What was sent before is none of the client's.
    let last: smallvec::SmallVec<[u64; 16]> =
        worker.context.scoreboard.workers().map(|slot| on_its_way(worker, slot).unwrap_or(0)).collect();
    if last.iter().any(|number| *number > 0) {
        worker.publishing.on_their_way.add(what, name, client.number, last.as_slice().into());
    }
    Ok(())
}

/// The number of the last message of this worker that has not come yet.
fn on_its_way(worker: &WorkerState, from: Slot) -> Option<u64> {
    let own = worker.context.slot;
    let (last, heard) = (worker.shared.message_numbers.last(from, own), worker.publishing.others[from.0].heard);
    let is_all_heard = last == heard || is_begun_anew(worker, from, heard, last);
    (from != own && !is_all_heard).then_some(last)
}

/// Whether `number` is what comes before the first message of the worker that started next, and all of the one before has come.
fn is_begun_anew(worker: &WorkerState, from: Slot, heard: u64, number: u64) -> bool {
    number == MessageNumbers::before_next_start(heard) && sent_beside(worker, from, heard) == heard
}

/// Called at each tick.
pub fn forget_what_came(worker: &mut WorkerState) {
    let Publishing { others, on_their_way, .. } = &mut worker.publishing;
    on_their_way.forget(|from| others[from].heard);
}

pub fn unsubscribe(worker: &mut WorkerState, client: &Client, what: Subscribable, name: &[u8]) {
    if let Some(count) = worker.subscriptions.remove(client, what, name) {
        let is_told = publish_count(worker, what, name, count);
        debug_assert!(is_told.is_ok(), "less needs no room");
    }
}

/// The client is subscribed to nothing any more: it is reset, or gone.
pub fn unsubscribe_from_all(worker: &mut WorkerState, client: &Client) {
    for what in Subscribable::ALL {
        for name in client.names(what) {
            unsubscribe(worker, client, what, &name);
        }
    }
}

fn publish_count(
    worker: &mut WorkerState,
    what: Subscribable,
    name: &[u8],
    Count(count): Count,
) -> Result<(), crate::kv::shared::channel_counts::NoRoom> {
    match what {
        Subscribable::Channel(kind) => {
            let channels = &worker.shared.channels;
            channels.set(worker.context.slot, kind, channels.hash_of(kind, name), count)
        }
        Subscribable::Pattern => worker.publishing.own_patterns.set(name, count),
    }
}

/// How many clients of all workers are subscribed to the channel itself.
#[must_use]
pub fn subscribers(worker: &WorkerState, kind: ChannelKind, channel: &[u8]) -> u64 {
    let channels = &worker.shared.channels;
    let hash = channels.hash_of(kind, channel);
    let slots = worker.context.scoreboard.workers().filter(|slot| worker.has_clients(*slot));
    slots.map(|slot| channels.subscribers(slot, kind, hash)).sum()
}

/// How many different patterns clients of all workers are subscribed to.
#[must_use]
pub fn patterns(worker: &WorkerState) -> u64 {
    let mut index = worker.publishing.index.borrow_mut();
    index.count_with(&worker.shared.patterns, worker.subscriptions.patterns())
}

/// Gives a message to all who are subscribed, on whichever worker. How many that are; who is in several ways counts as often.
pub fn publish(worker: &WorkerState, kind: ChannelKind, channel: &[u8], message: &[u8], effects: &mut Effects) -> u64 {
    let own = worker.context.slot;
    let counts = &worker.shared.channels;
    // By worker: how many want it, and whether it is sent.
    let mut wanted: smallvec::SmallVec<[(u64, bool); 16]> =
        smallvec::smallvec![(0, false); worker.publishing.others.len()];
    let others = worker.context.scoreboard.workers().filter(|slot| *slot != own);
    let mut hash = None;
    for slot in others.filter(|slot| counts.channels(*slot, kind) > 0) {
        let hash = *hash.get_or_insert_with(|| counts.hash_of(kind, channel));
        let count = counts.subscribers(slot, kind, hash);
        wanted[slot.0] = (count, count > 0);
    }
    if kind == ChannelKind::Plain {
        worker.publishing.index.borrow_mut().matching(&worker.shared.patterns, channel, |slot, count| {
            wanted[slot.0].0 += count;
            wanted[slot.0].1 = true;
        });
    }
    let mut count = deliver(worker, kind, channel, message, None, effects);
    let mut bodies = None;
    for (place, (wanting, _)) in wanted.into_iter().enumerate().filter(|(_, (_, is_sent))| *is_sent) {
        // Its clients are gone with it.
        if !worker.has_clients(Slot(place)) {
            continue;
        }
        count += wanting;
        let body = bodies.get_or_insert_with(|| body_of(kind, channel, message));
        let number = worker.shared.message_numbers.next(own, Slot(place));
        effects.send(Slot(place), scatter_gather::message(MessageKind::Published, number, body));
        worker.statistics.add(Counted::BusMessagesTotal, 1);
    }
    worker.statistics.add(Counted::PublishedTotal, 1);
    count
}

/// Kind, length of the channel (u32), channel, message.
fn body_of(kind: ChannelKind, channel: &[u8], message: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(5 + channel.len() + message.len());
    body.push(kind as u8);
    body.extend_from_slice(&(channel.len() as u32).to_le_bytes());
    body.extend_from_slice(channel);
    body.extend_from_slice(message);
    body
}

/// The parts of `body_of`.
fn parse(body: &[u8]) -> Option<(ChannelKind, &[u8], &[u8])> {
    let (&kind, rest) = body.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (channel, message) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((if kind == ChannelKind::Shard as u8 { ChannelKind::Shard } else { ChannelKind::Plain }, channel, message))
}

/// Another worker's client has published something.
pub fn hear(worker: &mut WorkerState, from: Slot, number: u64, body: &[u8], effects: &mut Effects) {
    if !has_all_before(worker, from, number - 1, number) {
        return missed(worker, effects);
    }
    match parse(body) {
        Some((kind, channel, message)) => {
            deliver(worker, kind, channel, message, Some((from, number)), effects);
        }
        None => tracing::error!("what was published on another worker can't be read"),
    }
}

/// Another worker says which was its last message.
pub fn hear_number(worker: &mut WorkerState, from: Slot, number: u64, effects: &mut Effects) {
    if !has_all_before(worker, from, number, number) {
        missed(worker, effects);
    }
}

/// Whether the message before was the last one that was heard; from here on `number` is.
fn has_all_before(worker: &mut WorkerState, from: Slot, before: u64, number: u64) -> bool {
    let heard = std::mem::replace(&mut worker.publishing.others[from.0].heard, number);
    // It may have started after this one did.
    before == heard || is_begun_anew(worker, from, heard, before)
}

/// The number of the last message of the start that this number is of.
fn sent_beside(worker: &WorkerState, from: Slot, number: u64) -> u64 {
    worker.shared.message_numbers.last_beside(from, worker.context.slot, number)
}

/// Another worker is gone, and all that came from it was heard: was that all that it had sent?
pub fn lost(worker: &mut WorkerState, from: Slot, effects: &mut Effects) {
    let heard = worker.publishing.others[from.0].heard;
    worker.publishing.others[from.0].heard = MessageNumbers::before_next_start(heard);
    if sent_beside(worker, from, heard) != heard {
        missed(worker, effects);
    }
}

/// A message to another worker is lost: it is told as soon as it can be.
pub fn unsent(worker: &mut WorkerState, to: Slot) {
    worker.publishing.others[to.0].is_owed = true;
}

/// Tells the workers that have missed something. Called at each tick.
pub fn tell_numbers(worker: &mut WorkerState, effects: &mut Effects) {
    for place in 0..worker.publishing.others.len() {
        let slot = Slot(place);
        if worker.publishing.others[place].is_owed && worker.has_clients(slot) {
            worker.publishing.others[place].is_owed = false;
            let number = worker.shared.message_numbers.last(worker.context.slot, slot);
            effects.send(slot, scatter_gather::message(MessageKind::Numbered, number, &[]));
        }
    }
}

/// Counts the channels for INFO and the metrics: each on the first worker that has it, so that the sum over all is their number. Of very many
/// all count. Called at each tick.
pub fn count_channels(worker: &mut WorkerState) {
    let (channels, own) = (&worker.shared.channels, worker.context.slot);
    let changes = worker.context.scoreboard.workers().map(|slot| channels.changes(slot)).sum();
    if std::mem::replace(&mut worker.publishing.counted_at, changes) == changes {
        return;
    }
    for (kind, counted) in [(ChannelKind::Plain, Counted::Channels), (ChannelKind::Shard, Counted::ShardChannels)] {
        let names = worker.subscriptions.channels_of(kind);
        let before = (0..own.0).map(Slot).filter(|slot| channels.channels(*slot, kind) > 0);
        let before: smallvec::SmallVec<[Slot; 16]> = before.collect();
        let is_elsewhere = |name: &[u8]| {
            let hash = channels.hash_of(kind, name);
            before.iter().any(|slot| channels.subscribers(*slot, kind, hash) > 0)
        };
        let count = match names.len() {
            0..=CHANNELS_COUNTED_MAX if !before.is_empty() => names.keys().filter(|name| !is_elsewhere(name)).count(),
            all => all,
        };
        worker.statistics.set(counted, count as u64);
    }
}

/// Of one worker, that are looked for at those before it: a millisecond or two, when some have changed.
const CHANNELS_COUNTED_MAX: usize = 4096;

/// Messages are lost that this worker was to give to all: everybody's subscribers are closed.
pub fn owes_all(worker: &mut WorkerState, effects: &mut Effects) {
    let own = worker.context.slot;
    for place in (0..worker.publishing.others.len()).filter(|place| *place != own.0) {
        // Nothing is sent under this number, which the others see once they are told the last one.
        _ = worker.shared.message_numbers.next(own, Slot(place));
        worker.publishing.others[place].is_owed = true;
    }
    missed(worker, effects);
}

/// This worker's clients have missed messages: its subscribers are closed rather than left to believe that there were none.
pub fn missed(worker: &WorkerState, effects: &mut Effects) {
    close_subscribers(worker, |_| true, effects);
}

/// The same of events of keys: of those who may listen to them.
pub fn events_missed(worker: &WorkerState, effects: &mut Effects) {
    if Notifications::from_word(worker.shared.runtime.read(Knob::KeyspaceEvents)).classes() != Classes::NONE {
        close_subscribers(worker, Subscribed::may_hear_events, effects);
    }
}

fn close_subscribers(worker: &WorkerState, are_meant: impl Fn(&Subscribed) -> bool, effects: &mut Effects) {
    let is_meant = |client: &&Rc<Client>| client.is_subscriber() && are_meant(&client.subscribed.borrow());
    let count = worker.clients.values().filter(is_meant).map(|client| effects.close(client.id)).count();
    if count == 0 {
        return;
    }
    worker.statistics.add(Counted::SubscribersClosedTotal, count as u64);
    static MISSED: LogLimit = LogLimit::new();
    if let Some(left_out) = MISSED.admit() {
        tracing::warn!(count, left_out, "subscribers are closed: messages of another process did not get here");
    }
}

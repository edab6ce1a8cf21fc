//! Which clients of this worker listen to which channels, and how a message gets to them. Other workers are `publishing`'s affair.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::kv::formats::glob::{Pattern, PatternTooLong};
use crate::kv::metrics::statistics::Counted;
use crate::kv::sessions::on_their_way::{Late, Sent};
use crate::kv::sessions::pushes;
use crate::kv::sessions::session::Client;
use crate::kv::sessions::worker_state::WorkerState;
pub use crate::kv::shared::channel_counts::ChannelKind;
use crate::resp::encode;
use crate::resp::reply::Version;
use crate::server::Effects;

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribable {
    Channel(ChannelKind),
    Pattern,
}

impl Subscribable {
    pub const ALL: [Subscribable; 3] =
        [Subscribable::Channel(ChannelKind::Plain), Subscribable::Channel(ChannelKind::Shard), Subscribable::Pattern];

    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Subscribable::Channel(kind) => kind as u8,
            Subscribable::Pattern => u8::MAX,
        }
    }

    /// The first word of its confirmations.
    #[must_use]
    pub fn subscribe_word(self) -> &'static str {
        match self {
            Subscribable::Channel(ChannelKind::Plain) => "subscribe",
            Subscribable::Channel(ChannelKind::Shard) => "ssubscribe",
            Subscribable::Pattern => "psubscribe",
        }
    }

    #[must_use]
    pub fn unsubscribe_word(self) -> &'static str {
        match self {
            Subscribable::Channel(ChannelKind::Plain) => "unsubscribe",
            Subscribable::Channel(ChannelKind::Shard) => "sunsubscribe",
            Subscribable::Pattern => "punsubscribe",
        }
    }
}

/// What one client is subscribed to.
#[derive(Default)]
pub struct Subscribed {
    pub channels: BTreeSet<Rc<[u8]>>,
    pub shard_channels: BTreeSet<Rc<[u8]>>,
    pub patterns: BTreeSet<Rc<[u8]>>,
    bytes: usize,
}

/// Subscriptions of one client. One that leaves takes its loop some milliseconds for so many.
pub const SUBSCRIPTIONS_MAX: usize = 1 << 17;
/// What a subscription takes beside its name, which is kept once for all clients of the worker.
const SUBSCRIPTION_BYTES: usize = 160;
/// The same for a pattern, without its automaton.
const AUTOMATON_BYTES: usize = 2048;

/// By name, the clients in the order of their numbers.
type Members = SmallVec<[Rc<Client>; 1]>;

/// Who is subscribed to what, of one worker's clients.
#[derive(Default)]
pub struct Subscriptions {
    channels: HashMap<Rc<[u8]>, Members>,
    shard_channels: HashMap<Rc<[u8]>, Members>,
    /// In an order, so that who matches several is told in it.
    patterns: BTreeMap<Rc<[u8]>, Matching>,
}

struct Matching {
    pattern: Pattern,
    members: Members,
}

impl Subscribed {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    #[must_use]
    pub fn of(&self, what: Subscribable) -> &BTreeSet<Rc<[u8]>> {
        match what {
            Subscribable::Channel(ChannelKind::Plain) => &self.channels,
            Subscribable::Channel(ChannelKind::Shard) => &self.shard_channels,
            Subscribable::Pattern => &self.patterns,
        }
    }

    fn of_mut(&mut self, what: Subscribable) -> &mut BTreeSet<Rc<[u8]>> {
        match what {
            Subscribable::Channel(ChannelKind::Plain) => &mut self.channels,
            Subscribable::Channel(ChannelKind::Shard) => &mut self.shard_channels,
            Subscribable::Pattern => &mut self.patterns,
        }
    }

    /// As a confirmation counts them: shard channels by themselves.
    #[must_use]
    pub fn count_beside(&self, what: Subscribable) -> usize {
        match what {
            Subscribable::Channel(ChannelKind::Shard) => self.shard_channels.len(),
            _ => self.channels.len() + self.patterns.len(),
        }
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.channels.len() + self.shard_channels.len() + self.patterns.len()
    }

    /// True unless no channel that events of keys are published on is among them.
    #[must_use]
    pub fn may_hear_events(&self) -> bool {
        !self.patterns.is_empty() || self.channels.iter().any(|name| name.starts_with(b"__key"))
    }

    /// The memory that it takes, with this client's part of what the worker keeps for it.
    #[must_use]
    pub fn bytes_kept(&self) -> usize {
        self.bytes
    }
}

fn bytes_of(what: Subscribable, name: &[u8]) -> usize {
    let automaton = match what {
        Subscribable::Pattern => AUTOMATON_BYTES * (name.len() / 64 + 1),
        Subscribable::Channel(_) => 0,
    };
    SUBSCRIPTION_BYTES + name.len() + automaton
}

/// How many subscribers of this worker a name has after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub usize);

impl Subscriptions {
    /// `None`: it was subscribed already.
    pub fn add(
        &mut self,
        client: &Rc<Client>,
        what: Subscribable,
        name: &[u8],
    ) -> Result<Option<Count>, PatternTooLong> {
        let mut subscribed = client.subscribed.borrow_mut();
        if subscribed.of(what).contains(name) {
            return Ok(None);
        }
        let known = match what {
            Subscribable::Channel(kind) => self.channels_of(kind).get_key_value(name).map(|(name, _)| name),
            Subscribable::Pattern => self.patterns.get_key_value(name).map(|(name, _)| name),
        };
        let name: Rc<[u8]> = known.map_or_else(|| Rc::from(name), Rc::clone);
        let members = match what {
            Subscribable::Channel(kind) => self.channels_of_mut(kind).entry(Rc::clone(&name)).or_default(),
            Subscribable::Pattern => {
                let pattern = Pattern::new(&name, false)?;
                let new = || Matching { pattern, members: Members::new() };
                &mut self.patterns.entry(Rc::clone(&name)).or_insert_with(new).members
            }
        };
        let place = members.partition_point(|member| member.number < client.number);
        members.insert(place, Rc::clone(client));
        let count = Count(members.len());
        subscribed.bytes += bytes_of(what, &name);
        subscribed.of_mut(what).insert(name);
        Ok(Some(count))
    }

    /// `None`: it was not subscribed.
    pub fn remove(&mut self, client: &Client, what: Subscribable, name: &[u8]) -> Option<Count> {
        let mut subscribed = client.subscribed.borrow_mut();
        if !subscribed.of_mut(what).remove(name) {
            return None;
        }
        subscribed.bytes -= bytes_of(what, name);
        let members = match what {
            Subscribable::Channel(kind) => self.channels_of_mut(kind).get_mut(name),
            Subscribable::Pattern => self.patterns.get_mut(name).map(|matching| &mut matching.members),
        };
        let members = members.expect("what a client is subscribed to has members");
        let place = members.partition_point(|member| member.number < client.number);
        debug_assert_eq!(members[place].number, client.number);
        members.remove(place);
        let count = members.len();
        if count == 0 {
            match what {
                Subscribable::Channel(kind) => _ = self.channels_of_mut(kind).remove(name),
                Subscribable::Pattern => _ = self.patterns.remove(name),
            }
        }
        Some(Count(count))
    }

    /// False: no message of a plain channel has to be made.
    #[must_use]
    pub fn is_somebody_there(&self) -> bool {
        !self.channels.is_empty() || !self.patterns.is_empty()
    }

    /// The names of channels with subscribers that match the pattern, if there is one.
    #[must_use]
    pub fn channels_matching(&self, kind: ChannelKind, pattern: Option<&[u8]>) -> Vec<&[u8]> {
        let pattern = pattern.map(|pattern| Pattern::new(pattern, false));
        let is_meant = |name: &[u8]| match &pattern {
            None => true,
            Some(pattern) => pattern.as_ref().is_ok_and(|pattern| pattern.matches(name)),
        };
        self.channels_of(kind).keys().map(|name| &name[..]).filter(|name| is_meant(name)).collect()
    }

    pub fn patterns(&self) -> impl Iterator<Item = &[u8]> {
        self.patterns.keys().map(|text| &text[..])
    }

    #[must_use]
    pub fn channels_of(&self, kind: ChannelKind) -> &HashMap<Rc<[u8]>, Members> {
        match kind {
            ChannelKind::Plain => &self.channels,
            ChannelKind::Shard => &self.shard_channels,
        }
    }

    fn channels_of_mut(&mut self, kind: ChannelKind) -> &mut HashMap<Rc<[u8]>, Members> {
        match kind {
            ChannelKind::Plain => &mut self.channels,
            ChannelKind::Shard => &mut self.shard_channels,
        }
    }
}

impl Client {
    /// What it is subscribed to.
    #[must_use]
    pub fn names(&self, what: Subscribable) -> Vec<Rc<[u8]>> {
        self.subscribed.borrow().of(what).iter().map(Rc::clone).collect()
    }
}

/// Gives a message to this worker's subscribers: to those of the channel, then to those of each pattern that it matches. How many got it;
/// who is subscribed in several ways gets it as often. `sent`: it comes from another worker.
pub fn deliver(
    worker: &WorkerState,
    kind: ChannelKind,
    channel: &[u8],
    message: &[u8],
    sent: Option<Sent>,
    effects: &mut Effects,
) -> u64 {
    let mut count = 0;
    let subscriptions = &worker.subscriptions;
    // It is none of those who have subscribed since it was sent.
    let late = |what, name| sent.map(|sent| (worker.publishing.on_their_way().late(what, name), sent));
    if let Some(members) = subscriptions.channels_of(kind).get(channel) {
        let word: &[u8] = if kind == ChannelKind::Shard { b"smessage" } else { b"message" };
        let late = late(Subscribable::Channel(kind), channel);
        count += send(worker, members, late, &[word, channel, message], effects);
    }
    if kind == ChannelKind::Plain {
        for (text, matching) in &subscriptions.patterns {
            if matching.pattern.matches(channel) {
                let late = late(Subscribable::Pattern, text);
                count += send(worker, &matching.members, late, &[b"pmessage", text, channel, message], effects);
            }
        }
    }
    worker.statistics.add(Counted::DeliveredTotal, count);
    count
}

fn send(
    worker: &WorkerState,
    members: &[Rc<Client>],
    late: Option<(&[Late], Sent)>,
    parts: &[&[u8]],
    effects: &mut Effects,
) -> u64 {
    let (resp2, resp3) = (OnceCell::new(), OnceCell::new());
    let mut count = 0;
    let is_late = |member: &Client| {
        late.is_some_and(|(late, sent)| late.iter().any(|late| late.passes_over(member.number, sent)))
    };
    for member in members.iter().filter(|member| !is_late(member)) {
        count += 1;
        let bytes = match member.version.get() {
            Version::Resp2 => resp2.get_or_init(|| push_of(parts, Version::Resp2)),
            Version::Resp3 => resp3.get_or_init(|| push_of(parts, Version::Resp3)),
        };
        pushes::push(worker, member, bytes, effects);
    }
    count
}

/// A push of bulk strings.
fn push_of(parts: &[&[u8]], version: Version) -> Bytes {
    const AROUND_BYTES: usize = 32;
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len() + AROUND_BYTES).sum());
    encode::push_header(parts.len(), version, &mut out);
    parts.iter().for_each(|part| encode::bulk(part, &mut out));
    out.into()
}

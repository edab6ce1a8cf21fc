//! What the writer tells all workers of its groups: events of keys for those who subscribe to them, and changed keys for those who track
//! them. It is collected call by call, lost with a call or a group that is undone, and told after the commit, before the answers.

use std::sync::Arc;

use crate::kv::call::{Class, Classes, Event, KEY_MISS, Notifications};
use crate::kv::jobs::job::{Call, Done};
use crate::kv::jobs::news::{Bulletin, Changer};
use crate::kv::lanes::marking::{Marking, Touched};
use crate::kv::metrics::statistics::{Counted, Totals};
use crate::kv::sessions::pattern_index::PatternIndex;
use crate::kv::shared::Shared;
use crate::kv::shared::channel_counts::ChannelKind;
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::runtime::Knob;
use crate::kv::table::KeyFlags;
use crate::kv::table::flags::Flags;
use crate::server::{Audience, Responder, Scoreboard, TaskId};
use crate::storage::{Keyspace, StorageError};
use crate::sys::atomic::{Ordering, fence};

pub struct Telling {
    shared: Arc<Shared>,
    totals: Totals,
    marking: Marking,
    /// As of the begin of the group, or of the step of upkeep.
    notifications: Notifications,
    is_tracking: bool,
    /// Whose call it is.
    by: Option<Changer>,
    bulletin: Bulletin,
    /// Where the call at hand begins in it.
    begun: (usize, usize),
    /// What scripts have published, by the incarnations of the workers whose clients called them.
    published: Vec<(u64, Bulletin)>,
    /// Those of all workers, for what a script publishes.
    patterns: PatternIndex,
}

/// How far what is told had come, to go back to.
#[derive(Clone, Copy)]
pub struct ToldPlace {
    bulletin: (usize, usize),
    /// Of the last worker in `published`, and how many there are.
    published: (usize, (usize, usize)),
}

impl Telling {
    #[must_use]
    pub fn new(shared: &Arc<Shared>, scoreboard: Scoreboard, marking: &Marking) -> Telling {
        Telling {
            shared: Arc::clone(shared),
            totals: Totals(scoreboard),
            marking: marking.clone(),
            notifications: Notifications::default(),
            is_tracking: false,
            by: None,
            bulletin: Bulletin::default(),
            begun: (0, 0),
            published: Vec::new(),
            patterns: PatternIndex::of(scoreboard.workers()),
        }
    }

    /// A group begins, or a step of upkeep, at a time that is settled: who begins to track a key later finds it ended as well.
    pub fn begin(&mut self, keyspace: &mut Keyspace) {
        self.bulletin.clear();
        self.published.clear();
        self.by = None;
        // Whoever subscribes later hears of what comes later.
        let asked = Notifications::from_word(self.shared.runtime.read(Knob::KeyspaceEvents));
        let is_wanted = asked.classes() != Classes::NONE && self.is_somebody_listening();
        self.notifications = if is_wanted { asked } else { Notifications::default() };
        self.is_tracking = self.is_somebody_tracking();
        let mut marked = self.marking.lock();
        marked.is_tracking = self.is_tracking;
        marked.touched.clear();
        marked.is_untracked = false;
        keyspace.take_unnoted();
        keyspace.want_ended(self.is_tracking || self.classes().has(Class::Expired));
    }

    /// The next call is of this job.
    pub fn is_of(&mut self, id: TaskId) {
        self.by = Some(Changer { incarnation: id.incarnation, connection: id.connection });
    }

    /// The classes of events that are wanted in the group.
    #[must_use]
    pub fn classes(&self) -> Classes {
        self.notifications.classes()
    }

    /// True when `before_call` may change something.
    #[must_use]
    pub fn ends_keys(&self) -> bool {
        self.classes().has(Class::Expired)
    }

    /// Ends what has expired of the keys that a call names: nothing may replace them, or find them gone, without that they are told of. And
    /// tells which of those that it reads are not there.
    ///
    /// # Errors
    /// A key can't be looked up.
    pub fn before_call(&mut self, keyspace: &mut Keyspace, call: &Call<'_>) -> Result<(), StorageError> {
        self.begun = self.bulletin.place();
        let tells_misses = self.classes().has(Class::Miss) && !call.command().flags.has(Flags::QUIET);
        if !self.ends_keys() && !tells_misses {
            return Ok(());
        }
        let positions = call.command().keys.positions(&call.args);
        if self.ends_keys() && !call.command().flags.has(Flags::READONLY) {
            for position in &positions {
                keyspace.end_if_expired(call.database, call.args[position.index])?;
            }
            self.take_ended(keyspace);
            self.begun = self.bulletin.place();
        }
        if tells_misses {
            if keyspace.database() != call.database {
                keyspace.select(call.database);
            }
            for position in positions.iter().filter(|position| position.flags.has(KeyFlags::RO)) {
                let key = call.args[position.index];
                if keyspace.entry(key)?.is_none() {
                    self.event(call.database, Class::Miss, KEY_MISS, key);
                }
            }
        }
        Ok(())
    }

    /// The call is done, and has told this.
    pub fn call_ended(&mut self, keyspace: &mut Keyspace, events: &[Event]) {
        self.take_ended(keyspace);
        events.iter().for_each(|event| self.bulletin.event(self.notifications, event));
        if self.is_tracking {
            self.take_touched();
        }
    }

    /// The call is undone.
    pub fn call_failed(&mut self, keyspace: &mut Keyspace) {
        self.bulletin.go_back(self.begun);
        drop(keyspace.take_ended());
        if self.is_tracking {
            self.marking.lock().touched.clear();
        }
    }

    // ---- scripts

    /// Before a script: what it tells goes with it where it is undone as a whole.
    #[must_use]
    pub fn place(&mut self) -> ToldPlace {
        // One that calls nothing and fails takes back nothing of the call before it.
        self.begun = self.bulletin.place();
        let last = self.published.last().map_or((0, 0), |(_, bulletin)| bulletin.place());
        ToldPlace { bulletin: self.bulletin.place(), published: (self.published.len(), last) }
    }

    /// The script is undone.
    pub fn go_back(&mut self, place: ToldPlace) {
        self.bulletin.go_back(place.bulletin);
        let (count, last) = place.published;
        self.published.truncate(count);
        if let Some((_, bulletin)) = self.published.last_mut() {
            bulletin.go_back(last);
        }
    }

    /// Bytes that the group has to tell so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bulletin.bytes_len() + self.published.iter().map(|(_, bulletin)| bulletin.bytes_len()).sum::<usize>()
    }

    /// Monitors are to see this, once it is committed.
    pub fn monitored(&mut self, line: &[u8]) {
        self.bulletin.monitored(line);
    }

    /// A script publishes something. Its client's worker gives it to all, behind the commit and before the answer. How many are subscribed
    /// now.
    pub fn publish(&mut self, is_shard: bool, channel: &[u8], message: &[u8]) -> u64 {
        let Some(by) = self.by else { return 0 };
        let Shared { channels, patterns, scoreboard, hand_offs, .. } = &*self.shared;
        let kind = if is_shard { ChannelKind::Shard } else { ChannelKind::Plain };
        let hash = channels.hash_of(kind, channel);
        let mut count: u64 = scoreboard.workers().map(|slot| channels.subscribers(slot, kind, hash)).sum();
        let mut is_heard = count > 0;
        if !is_shard {
            self.patterns.matching(patterns, channel, |_, matching| (is_heard, count) = (true, count + matching));
        }
        if !is_heard {
            return 0;
        }
        if self.published.last().is_none_or(|(incarnation, _)| *incarnation != by.incarnation) {
            self.published.push((by.incarnation, Bulletin::default()));
        }
        if let Some((_, bulletin)) = self.published.last_mut() {
            bulletin.published(is_shard, channel, message);
        }
        hand_offs.set(HandOff::ScriptsPublish, 1);
        count
    }

    /// A step of upkeep is done, or what of it was not undone.
    pub fn upkeep_ended(&mut self, keyspace: &mut Keyspace) {
        self.take_ended(keyspace);
    }

    /// After the commit: all of it leaves. `served`: who had waited and is answered by it, as the incarnation of its worker and the number of
    /// the client. Such a client may be sent pushes while it waits, and what its own call has caused comes behind its reply.
    pub fn tell(
        &mut self,
        keyspace: &mut Keyspace,
        served: impl Iterator<Item = (u64, u64)>,
        responder: &mut dyn Responder<Done>,
    ) {
        let was_unnoted = keyspace.take_unnoted();
        if !self.is_tracking && (std::mem::take(&mut self.marking.lock().is_untracked) || was_unnoted) {
            // Who began to track amid this may have read what was there before it.
            fence(Ordering::SeqCst);
            if self.is_somebody_tracking() {
                self.bulletin.all_changed();
            }
        }
        if !self.bulletin.is_empty() || !self.published.is_empty() {
            for (incarnation, client) in served {
                let mut bulletin = Bulletin::default();
                bulletin.served(client);
                bulletin.notices().for_each(|notice| responder.notify(Audience::Worker(incarnation), notice));
            }
        }
        if !self.bulletin.is_empty() {
            self.bulletin.notices().for_each(|notice| responder.notify(Audience::All, notice));
            self.bulletin.clear();
        }
        for (incarnation, bulletin) in self.published.drain(..) {
            bulletin.notices().for_each(|notice| responder.notify(Audience::Worker(incarnation), notice));
        }
    }

    /// Seen once the client that begins to track has its answer: whatever it reads then is read later than what this precedes.
    fn is_somebody_tracking(&self) -> bool {
        self.shared.scoreboard.workers().any(|slot| self.totals.of(slot, Counted::TrackingClients) > 0)
    }

    fn is_somebody_listening(&self) -> bool {
        let Shared { channels, patterns, scoreboard, .. } = &*self.shared;
        scoreboard.workers().any(|slot| channels.channels(slot, ChannelKind::Plain) > 0 || patterns.patterns(slot) > 0)
    }

    fn event(&mut self, database: u8, class: Class, name: &'static str, key: &[u8]) {
        if self.classes().has(class) {
            self.bulletin.event(self.notifications, &Event { database, class, name, key: key.to_vec() });
        }
    }

    fn take_ended(&mut self, keyspace: &mut Keyspace) {
        for ended in keyspace.take_ended() {
            self.event(ended.database, Class::Expired, "expired", &ended.key);
            if self.is_tracking {
                self.bulletin.changed(None, &ended.key);
            }
        }
    }

    fn take_touched(&mut self) {
        for touched in std::mem::take(&mut self.marking.lock().touched) {
            match touched {
                Touched::Key(key) => self.bulletin.changed(self.by, &key),
                Touched::All => self.bulletin.all_changed(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::application::share;
    use crate::kv::fixture::{Fixture, settings};
    use crate::kv::jobs::news::{News, each};
    use crate::kv::metrics::statistics::Statistics;
    use crate::kv::shared::versions::Marks;
    use crate::server::Slot;
    use crate::storage::Change;

    /// Who only listens.
    #[derive(Default)]
    struct Listener(Vec<Vec<u8>>);

    impl Responder<Done> for Listener {
        fn answer(&mut self, _id: TaskId, _done: Done) {}
        fn park(&mut self, _id: TaskId) {}
        fn notify(&mut self, _to: Audience, notice: &[u8]) {
            self.0.push(notice.to_vec());
        }
    }

    #[test]
    fn who_begins_to_track_amid_a_group_hears_that_all_may_have_changed() {
        let data = tempfile::tempdir().unwrap();
        let shared = share(settings(data.path())).unwrap();
        let marking = Marking::of(Marks::of(shared.versions.clone()));
        let mut telling = Telling::new(&shared, shared.scoreboard, &marking);
        let (mut fixture, mut listener) = (Fixture::new(), Listener::default());
        let change = Change::Key { database: 0, key: b"k" };
        telling.begin(&mut fixture.writer);
        marking.lock().note(change);
        telling.tell(&mut fixture.writer, std::iter::empty(), &mut listener);
        assert!(listener.0.is_empty());
        let set_tracking = |count| Statistics::new(shared.scoreboard, Slot(0)).set(Counted::TrackingClients, count);
        telling.begin(&mut fixture.writer);
        set_tracking(1);
        telling.tell(&mut fixture.writer, std::iter::empty(), &mut listener);
        assert!(listener.0.is_empty(), "nothing has changed");
        set_tracking(0);
        telling.begin(&mut fixture.writer);
        marking.lock().note(change);
        set_tracking(1);
        telling.tell(&mut fixture.writer, std::iter::empty(), &mut listener);
        assert_eq!(listener.0.iter().flat_map(|notice| each(notice)).collect::<Vec<_>>(), [News::AllChanged]);
        telling.begin(&mut fixture.writer);
        telling.tell(&mut fixture.writer, std::iter::empty(), &mut listener);
        assert_eq!(listener.0.len(), 1, "from here on it hears of each key");
    }
}

//! Which worker listens: the accept rule.
//!
//! All workers share one listener, and of those that wait for it the kernel wakes one, mostly the same one: left alone it gets
//! every connection. So a worker listens only while it has about as few connections as the one with the fewest. Counts are
//! in shared memory; a worker that shows no signs of life, or has no descriptors left, does not count. Somebody alive is always
//! listening: the one with the fewest connections of those that count is never above the smallest count. Who that is changes in
//! two ways, and each has somebody who looks: who listens gets one more and stops, and rings the one with the fewest; who does not
//! listen loses some, and looks at the end of its round.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{Ordering, fence};

use super::config::{ACCEPT_SLACK, DESCRIPTORS_RESERVED, HEARTBEAT_FRESH_MS};
use super::counters::{Counter, Scoreboard, Slot};
use super::listener::Listener;
use crate::sys::descriptors;
use crate::sys::epoll::{Epoll, Watch};

pub(super) struct Acceptor {
    /// By their place; each has the token `token` and its place.
    listeners: Vec<Listener>,
    own: Slot,
    scoreboard: Scoreboard,
    token: u64,
    is_listening: bool,
    /// How many connections this one had when it last looked.
    evaluated_at: u64,
    /// As many connections as the limit of descriptors lets this process have.
    connections_max: u64,
    /// Not before then, since nothing could be accepted.
    muted_until_ms: u64,
    /// When the operator was last told of that.
    warned_at_ms: Option<u64>,
    is_draining: bool,
}

/// Who has to listen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ring {
    pub(super) slot: Slot,
    /// True when connections wait for which the one that rings may have been woken: whoever listens already is not woken again.
    pub(super) leaves_some: bool,
}

/// After a connection could not be accepted.
const MUTE_MS: u64 = 100;
/// The operator is told at most so often.
const WARN_EVERY_MS: u64 = 10_000;

impl Acceptor {
    pub(super) fn new(listeners: Vec<Listener>, own: Slot, scoreboard: Scoreboard, token: u64) -> Acceptor {
        Acceptor {
            listeners,
            own,
            scoreboard,
            token,
            is_listening: false,
            evaluated_at: 0,
            connections_max: u64::MAX,
            muted_until_ms: 0,
            warned_at_ms: None,
            is_draining: false,
        }
    }

    pub(super) fn listener(&self, place: usize) -> &Listener {
        &self.listeners[place]
    }

    /// The listeners' places.
    pub(super) fn places(&self) -> std::ops::Range<usize> {
        0..self.listeners.len()
    }

    /// Reads the limit of descriptors again: it may be changed from outside.
    pub(super) fn refresh_limit(&mut self) -> io::Result<()> {
        self.connections_max = connections_within(descriptors::limit()?);
        Ok(())
    }

    /// Begins or stops listening as the counts say. Returns whom to ring: the one that now has to listen in this one's place.
    pub(super) fn evaluate(&mut self, epoll: &Epoll, now_ms: u64) -> io::Result<Option<Ring>> {
        let own = self.scoreboard.read(self.own, Counter::Connections);
        self.evaluated_at = own;
        // Of two that look at once, one sees what the other has written before.
        fence(Ordering::SeqCst);
        // One more than there is room for is accepted still, to be told that there are too many.
        let has_room = own <= self.connections_max && now_ms >= self.muted_until_ms;
        self.scoreboard.set(self.own, Counter::HasRoom, u64::from(has_room));
        let counts = |slot: &Slot| {
            *slot != self.own && self.is_alive(*slot, now_ms) && self.scoreboard.read(*slot, Counter::HasRoom) == 1
        };
        let others = self.scoreboard.workers().filter(counts);
        let fewest = others.map(|slot| (self.scoreboard.read(slot, Counter::Connections), slot)).min();
        let should_listen = !self.is_draining && has_room && is_fair(own, fewest.map(|(count, _)| count));
        if should_listen == self.is_listening {
            return Ok(None);
        }
        self.is_listening = should_listen;
        self.scoreboard.set(self.own, Counter::Listening, u64::from(should_listen));
        if should_listen {
            for (place, listener) in self.listeners.iter().enumerate() {
                epoll.add(listener, self.token + place as u64, Watch::ReadableExclusive)?;
            }
            return Ok(None);
        }
        for listener in &self.listeners {
            epoll.remove(listener)?;
        }
        Ok(fewest.map(|(_, slot)| Ring { slot, leaves_some: self.places().any(|place| self.is_readable(place)) }))
    }

    /// True when this worker has lost connections and may have become the one that has to listen. Whoever rang it before may have
    /// been told no, and rings once.
    pub(super) fn has_fallen(&self) -> bool {
        !self.is_listening && self.scoreboard.read(self.own, Counter::Connections) < self.evaluated_at
    }

    /// True when a connection may be waiting for a worker that was woken for it but does not run (stopped, or dead): then
    /// one that runs has to look by itself, for the kernel wakes only one.
    pub(super) fn must_look(&self, now_ms: u64) -> bool {
        let is_missing = |slot| slot != self.own && !self.is_alive(slot, now_ms);
        self.scoreboard.workers().any(is_missing) && self.places().any(|place| self.has_waiting(place))
    }

    /// True when this worker listens and a connection waits there, whoever was woken for it.
    pub(super) fn has_waiting(&self, place: usize) -> bool {
        self.is_listening && self.is_readable(place)
    }

    fn is_readable(&self, place: usize) -> bool {
        crate::sys::socket::is_readable(self.listeners[place].as_fd())
    }

    /// Nothing can be accepted (no descriptors, no memory): others may be able to, and this one tries again later.
    pub(super) fn mute(&mut self, error: &io::Error, now_ms: u64) {
        self.muted_until_ms = now_ms + MUTE_MS;
        if self.warned_at_ms.is_none_or(|at| now_ms >= at + WARN_EVERY_MS) {
            self.warned_at_ms = Some(now_ms);
            tracing::warn!(%error, worker = self.own.0, "no connection can be accepted");
        }
    }

    pub(super) fn drain(&mut self) {
        self.is_draining = true;
    }

    fn is_alive(&self, slot: Slot, now_ms: u64) -> bool {
        self.scoreboard.is_fresh(slot, now_ms, HEARTBEAT_FRESH_MS)
    }
}

/// The rule: `own` connections are fair beside the `fewest` of the others, if there are others.
fn is_fair(own: u64, fewest: Option<u64>) -> bool {
    fewest.is_none_or(|fewest| own <= fewest.saturating_add(ACCEPT_SLACK))
}

/// How many connections a process may have with so many descriptors; a share is kept for files and links.
pub(super) fn connections_within(descriptors: u64) -> u64 {
    descriptors - DESCRIPTORS_RESERVED.min(descriptors / 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::counters::SERVING;
    use super::super::listener::ListenerKind;
    use super::*;
    use crate::sys::socket;

    const NOW_MS: u64 = 1_000_000;

    struct Fixture {
        acceptor: Acceptor,
        epoll: Epoll,
        scoreboard: Scoreboard,
    }

    /// Worker 0 of as many as there are counts, all alive, with these connections.
    fn workers(counts: &[u64]) -> Fixture {
        let scoreboard = Scoreboard::new(counts.len(), 0).unwrap();
        for (slot, &count) in scoreboard.workers().zip(counts) {
            scoreboard.set(slot, Counter::State, SERVING);
            scoreboard.set(slot, Counter::HeartbeatMs, NOW_MS);
            scoreboard.set(slot, Counter::HasRoom, 1);
            scoreboard.set(slot, Counter::Connections, count);
        }
        let listener =
            || Listener { fd: socket::listen_on(([127, 0, 0, 1], 0).into(), 8).unwrap(), kind: ListenerKind::Tcp };
        let listeners = vec![listener(), listener()];
        Fixture {
            acceptor: Acceptor::new(listeners, Slot(0), scoreboard, 1),
            epoll: Epoll::new(4).unwrap(),
            scoreboard,
        }
    }

    impl Fixture {
        fn evaluate(&mut self, now_ms: u64) -> (bool, Option<Slot>) {
            let ring = self.acceptor.evaluate(&self.epoll, now_ms).unwrap();
            assert!(ring.is_none_or(|ring| !ring.leaves_some));
            (self.acceptor.is_listening, ring.map(|ring| ring.slot))
        }
    }

    #[test]
    fn a_worker_stops_listening_over_the_slack_and_rings_the_one_with_the_fewest() {
        let mut here = workers(&[10, 7, 6, 9]);
        assert_eq!(here.evaluate(NOW_MS), (true, None));
        here.scoreboard.set(Slot(0), Counter::Connections, 6 + ACCEPT_SLACK + 1);
        assert_eq!(here.evaluate(NOW_MS), (false, Some(Slot(2))));
        assert_eq!(here.evaluate(NOW_MS), (false, None), "one ring is enough");
        here.scoreboard.set(Slot(2), Counter::Connections, 7);
        assert_eq!(here.evaluate(NOW_MS), (true, None));
    }

    #[test]
    fn whatever_the_counts_somebody_listens() {
        for counts in [[0, 0, 0], [500, 0, 3], [7, 100, 100], [u64::MAX, 5, 5], [1, 2, 3]] {
            let fewest_of_others = |own| (0..3).filter(|&other| other != own).map(|other: usize| counts[other]).min();
            assert!((0..3).any(|own| is_fair(counts[own], fewest_of_others(own))), "{counts:?}");
        }
    }

    const WORKERS: usize = 2;

    /// One thing that happens to a worker, in any order.
    #[derive(Clone, Copy, Debug)]
    enum Happens {
        /// A connection comes to it, if it listens.
        Comes(usize),
        /// It closes so many.
        Go(usize, u64),
        /// The oldest ring of those that it was sent is heard.
        Ring(usize),
        RoundEnds(usize),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        let worker = || 0..WORKERS;
        prop_oneof![
            12 => worker().prop_map(Happens::Comes),
            2 => (worker(), 1..20u64).prop_map(|(worker, count)| Happens::Go(worker, count)),
            2 => worker().prop_map(Happens::Ring),
            2 => worker().prop_map(Happens::RoundEnds),
        ]
    }

    /// Several workers that look at the same counts, and what has been rung and not heard.
    struct Workers {
        all: Vec<Fixture>,
        unheard: [u32; WORKERS],
    }

    impl Workers {
        fn new() -> Workers {
            let scoreboard = workers(&[0; WORKERS]).scoreboard;
            let mut all = Workers { all: Vec::new(), unheard: [0; WORKERS] };
            for slot in scoreboard.workers() {
                let mut one = workers(&[0; WORKERS]);
                one.acceptor.own = slot;
                one.acceptor.scoreboard = scoreboard;
                one.scoreboard = scoreboard;
                all.all.push(one);
                all.look(slot.0);
            }
            all
        }

        fn look(&mut self, worker: usize) {
            if let (_, Some(ring)) = self.all[worker].evaluate(NOW_MS) {
                self.unheard[ring.0] += 1;
            }
        }

        fn happens(&mut self, what: Happens) {
            let count = |here: &Fixture, change: i64| {
                let own = here.scoreboard.read(here.acceptor.own, Counter::Connections);
                here.scoreboard.set(here.acceptor.own, Counter::Connections, own.saturating_add_signed(change));
            };
            match what {
                Happens::Comes(worker) if self.all[worker].acceptor.is_listening => {
                    count(&self.all[worker], 1);
                    self.look(worker);
                }
                Happens::Comes(_) => {}
                Happens::Go(worker, lost) => count(&self.all[worker], -lost.cast_signed()),
                Happens::Ring(worker) if self.unheard[worker] > 0 => {
                    self.unheard[worker] -= 1;
                    self.look(worker);
                }
                Happens::Ring(_) => {}
                Happens::RoundEnds(worker) => {
                    if self.all[worker].acceptor.has_fallen() {
                        self.look(worker);
                    }
                }
            }
        }

        /// Each worker ends its round and hears what was rung, until nothing more happens.
        fn settle(&mut self) {
            for worker in (0..WORKERS).cycle().take(WORKERS * 64) {
                self.happens(Happens::Ring(worker));
                self.happens(Happens::RoundEnds(worker));
            }
            assert_eq!(self.unheard, [0; WORKERS], "they ring one another for ever");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn somebody_listens_once_all_rounds_have_ended(runs in prop::collection::vec(prop::collection::vec(happens(), 1..200), 1..6)) {
            let mut workers = Workers::new();
            for run in runs {
                run.into_iter().for_each(|what| workers.happens(what));
                workers.settle();
                let count = workers.all.iter().filter(|one| one.acceptor.is_listening).count();
                prop_assert!(count > 0, "nobody listens");
            }
        }
    }

    #[test]
    fn a_stopped_worker_and_one_without_descriptors_are_not_waited_for() {
        let mut here = workers(&[100, 0, 90]);
        assert!(!here.evaluate(NOW_MS).0);
        here.scoreboard.set(Slot(1), Counter::HeartbeatMs, NOW_MS - HEARTBEAT_FRESH_MS - 1);
        assert!(!here.evaluate(NOW_MS).0, "the third is alive and has fewer");
        here.scoreboard.set(Slot(2), Counter::HasRoom, 0);
        assert!(here.evaluate(NOW_MS).0);
        assert!(!here.acceptor.must_look(NOW_MS), "nothing waits");
        let _client =
            std::net::TcpStream::connect(socket::local_address(here.acceptor.listener(1).as_fd()).unwrap()).unwrap();
        assert!(here.acceptor.must_look(NOW_MS), "one was perhaps woken and is stopped");
    }

    #[test]
    fn who_can_not_accept_says_so_and_tries_again_later() {
        let mut here = workers(&[3, 3]);
        assert_eq!(here.evaluate(NOW_MS), (true, None));
        here.acceptor.mute(&io::ErrorKind::OutOfMemory.into(), NOW_MS);
        assert_eq!(here.evaluate(NOW_MS), (false, Some(Slot(1))));
        assert_eq!(here.scoreboard.read(Slot(0), Counter::HasRoom), 0);
        assert_eq!(here.evaluate(NOW_MS + MUTE_MS), (true, None));
        here.scoreboard.set(Slot(0), Counter::Connections, 4);
        here.acceptor.connections_max = 3;
        assert_eq!(here.evaluate(NOW_MS + MUTE_MS), (false, Some(Slot(1))));
    }

    #[test]
    fn a_share_of_the_descriptors_is_kept_for_other_things() {
        assert_eq!(connections_within(20_000), 20_000 - DESCRIPTORS_RESERVED);
        assert_eq!(connections_within(40), 30);
    }
}
